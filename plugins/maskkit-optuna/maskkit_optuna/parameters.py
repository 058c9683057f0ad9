"""What NNI's search space means in Optuna: the same values can be proposed, no others.

A parameter of Optuna has the name of the flag, and an option of a nested choice is `criterion/focal/gamma`. It holds
what is drawn; the arithmetic of NNI that follows, its rounding to steps for example, is done here.
"""

import json
import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, Protocol

__all__ = ["Label", "Suggests", "is_nested", "labels", "options_of", "suggest"]

Label = str | int | float | bool | None

_TAIL = 1e-16  # of a bell, each end beyond which nothing is drawn; NNI's generator draws from no further in practice
_LARGEST = 700.0  # whose exponential is a number yet


class Suggests(Protocol):
    """What a trial of Optuna can be asked for."""

    def suggest_categorical(self, name: str, choices: Sequence[Label]) -> Any: ...

    def suggest_int(self, name: str, low: int, high: int) -> int: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...


def suggest(trial: Suggests, space: Mapping[str, Mapping[str, Any]], place: str = "") -> dict[str, Any]:
    """Return the parameters of a trial in the form of NNI; `place` is what their names begin with in the study."""
    return {name: _one(trial, f"{place}{name}", entry["_type"], entry["_value"]) for name, entry in space.items()}


def labels(values: Sequence[Any]) -> list[Label]:
    """Return what stands for each value of a choice in the study: a value itself, where that can be, or its text.

    Values that are equal stay apart, since one that is given twice is chosen twice as often.
    """
    names = [value["_name"] if is_nested(value) else value for value in values]
    if all(isinstance(name, Label) for name in names) and len({*names}) == len(names):
        return names
    texts = [name if isinstance(name, str) else json.dumps(name) for name in names]
    return [text if texts.count(text) == 1 else f"{text} #{number}" for number, text in enumerate(texts)]


def is_nested(value: object) -> bool:
    """Return whether a choice brings options with it."""
    return isinstance(value, Mapping) and "_name" in value


def options_of(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a nested choice, a space themselves."""
    return {name: entry for name, entry in value.items() if name != "_name"}


def _one(trial: Suggests, name: str, kind: str, values: Sequence[Any]) -> Any:
    if kind != "choice":
        return _number(trial, name, kind, values)
    every = labels(values)
    label = trial.suggest_categorical(name, every)
    value = values[every.index(label)]
    if not is_nested(value):
        return value
    return {"_name": value["_name"], **suggest(trial, options_of(value), f"{name}/{label}/")}


def _number(trial: Suggests, name: str, kind: str, values: Sequence[float]) -> float:
    first, second, *step = map(float, values)
    if kind == "randint":
        return trial.suggest_int(name, int(first), int(second) - 1)
    is_bell = "normal" in kind
    if is_bell:
        share = trial.suggest_float(f"{name} (quantile)", _TAIL, 1 - _TAIL)
        number = NormalDist(first, second).inv_cdf(share)
        number = math.exp(min(number, _LARGEST)) if "log" in kind else number
    else:
        number = trial.suggest_float(name, first, second, log="log" in kind)
    if not step:
        return number
    number = round(number / step[0]) * step[0]
    return number if is_bell else min(max(number, first), second)
