"""Every point of a space whose parameters have an end of values, in an order that the seed decides.

Optuna's own GridSampler knows no nested choices, and may give a point to several workers at once.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from random import Random
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from maskkit_optuna.parameters import is_nested, labels, options_of

__all__ = ["Point", "PointSampler", "is_endless", "points", "size"]

Point = Mapping[str, Any]
"""By the name of a parameter in the study, what is drawn for it."""

Space = Mapping[str, Mapping[str, Any]]


def is_endless(entry: Mapping[str, Any]) -> bool:
    """Return whether a parameter, or an option of its choices, has no end of values."""
    if entry["_type"] == "choice":
        nested = [value for value in entry["_value"] if is_nested(value)]
        return any(is_endless(one) for value in nested for one in options_of(value).values())
    return entry["_type"] not in {"randint", "quniform", "qloguniform"}


def size(space: Space) -> int:
    """Return how many points a space has."""
    return math.prod(map(_size, space.values()))


def points(space: Space, seed: int) -> list[Point]:
    """Return all points."""
    every = _points(space, "")
    Random(seed).shuffle(every)
    return every


class PointSampler(BaseSampler):
    """Gives a trial one point."""

    def __init__(self, point: Point) -> None:
        self._point = point

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:  # noqa: ARG002
        return {}

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        param_name: str,
        param_distribution: BaseDistribution,  # noqa: ARG002
    ) -> Any:
        return self._point[param_name]


def _size(entry: Mapping[str, Any]) -> int:
    if entry["_type"] == "choice":
        return sum(size(options_of(value)) if is_nested(value) else 1 for value in entry["_value"])
    return len(_numbers(entry["_type"], entry["_value"]))


def _points(space: Space, place: str) -> list[Point]:
    parts = [_points_of(f"{place}{name}", entry) for name, entry in space.items()]
    return [{name: value for part in chosen for name, value in part.items()} for chosen in product(*parts)]


def _points_of(name: str, entry: Mapping[str, Any]) -> list[Point]:
    values = entry["_value"]
    if entry["_type"] != "choice":
        return [{name: _at(number, entry["_type"], values)} for number in _numbers(entry["_type"], values)]
    found: list[Point] = []
    for label, value in zip(labels(values), values, strict=True):
        inner = _points(options_of(value), f"{name}/{label}/") if is_nested(value) else [{}]
        found += [{name: label, **point} for point in inner]
    return found


def _numbers(kind: str, values: Sequence[float]) -> range:
    """Return the whole numbers that a parameter goes through: itself, or how many steps it is from 0."""
    low, high, *step = values
    return range(int(low), int(high)) if kind == "randint" else range(round(low / step[0]), round(high / step[0]) + 1)


def _at(number: int, kind: str, values: Sequence[float]) -> float:
    return number if kind == "randint" else min(max(number * values[2], values[0]), values[1])
