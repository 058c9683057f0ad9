"""The search space: the flags that a search chooses, and from what."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from maskkit.config import RunFlags
from maskkit.conversion import read_json
from maskkit.errors import UnknownNameError, UsageError, nearest
from maskkit.flags import Flag, flags_of
from maskkit.plugin.registry import Registry
from maskkit.tuning.trainings import as_flags

__all__ = ["Objection", "Space", "examples", "search_space"]

Space = Mapping[str, Mapping[str, Any]]

Objection = Callable[[str, Mapping[str, Any]], str]
"""(parameter, its entry in a space) -> why an engine cannot search it, as in "lr is ..", "" where it can."""

_DEFAULT: Space = {
    "lr": {"_type": "loguniform", "_value": [1e-4, 1e-2]},
    "batch_size": {"_type": "choice", "_value": [16, 32, 64]},
    "criterion": {"_type": "choice", "_value": ["cross_entropy", "focal", "label_smoothing"]},
    "augmentation": {"_type": "choice", "_value": ["BaseAugmentation", "AffineAugmentation"]},
}
_NUMBERS = {"choice": 1, "randint": 2, "uniform": 2, "loguniform": 2, "quniform": 3, "qloguniform": 3} | {
    "normal": 2,
    "lognormal": 2,
    "qnormal": 3,
    "qlognormal": 3,
}
"""How many values each type of NNI takes; a choice takes any number from one on."""

_OWN = {"name", "model_dir"}  # the folder of a trial is named by its experiment and its id
_LARGEST = 700.0  # whose exponential is a number yet
_BETWEEN = 0.618  # a number so far between two ends is round in no way but its type's own


def search_space(path: Path | None, given: Iterable[str], registry: Registry, objection: Objection) -> Space:
    """Return the space of a file, or of the flags that are usual and not given, once all of it is known to be good.

    `objection` is what the engine says against a parameter; of the usual ones, those are left out.

    Raises:
        UsageError: the file, a name or a value in it does not fit, or a flag in it is given too.
    """
    fixed = set(given)
    if path is None:
        return {name: one for name, one in _DEFAULT.items() if name not in fixed and not objection(name, one)}
    space = _read(path)
    flags = flags_of(RunFlags)
    for parameter, one in space.items():
        name = parameter.replace("-", "_")
        if name not in flags or name in _OWN:
            near = nearest(name, {*flags} - _OWN)
            hint = f"Did you mean {near}?" if near else "A space holds flags of maskkit train: see maskkit train --help"
            raise UnknownNameError(f"{path}: {parameter!r} cannot be searched", hint=hint)
        if name in fixed:
            raise UsageError(f"--{name} is given, and searched in {path} too", hint="Leave one of them out.")
        _check_form(f"{path}: {parameter}", one)
        _check_values(path, parameter, one, flags, registry)
        if said := objection(name, one):
            raise UsageError(
                f"{path}: {parameter} {said}", hint="Choose another --tuner, or leave it out of the space."
            )
    return space


def examples(space: Space) -> list[dict[str, Any]]:
    """Return flags as an engine may choose them: together, they have all values of choices, and the ends of numbers."""
    values = {name: _values(one) for name, one in space.items()}
    first = {name: of_name[0] for name, of_name in values.items()}
    others = [{**first, name: value} for name, of_name in values.items() for value in of_name[1:]]
    return [as_flags(chosen) for chosen in (first, *others)]


def _read(path: Path) -> Space:
    try:
        space = read_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"--space: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--space: {path} is no JSON: it is no text in UTF-8") from None
    except ValueError as error:
        raise UsageError(f"--space: {path} {error}") from None
    if not isinstance(space, dict) or not space:
        raise UsageError(f"--space: {path} must hold a JSON object of flags", hint=_EXAMPLE)
    return space


def _check_form(place: str, one: Any) -> None:
    """Refuse an entry that NNI does not understand."""
    kind, values = (one.get("_type"), one.get("_value")) if isinstance(one, Mapping) else (None, None)
    if kind not in _NUMBERS or not isinstance(values, list) or not values:
        raise UsageError(f"{place} must have a _type of {', '.join(_NUMBERS)} and a _value", hint=_EXAMPLE)
    if kind == "choice":
        _check_nested(place, values)
        return
    is_number = _is_whole if kind == "randint" else _is_number
    if len(values) != _NUMBERS[kind] or not all(map(is_number, values)):
        numbers = "whole numbers" if kind == "randint" else "numbers"
        raise UsageError(f"{place} of _type {kind} takes {_NUMBERS[kind]} {numbers}; received {values}")
    if "normal" not in kind and values[0] >= values[1]:
        raise UsageError(f"{place} must go from a smaller to a larger number; received {values}")
    if "loguniform" in kind and values[0] <= 0:
        raise UsageError(f"{place} of _type {kind} must begin above 0; received {values}")
    if kind.startswith("q") and values[2] <= 0:
        raise UsageError(f"{place} of _type {kind} must have a step above 0; received {values}")


def _check_nested(place: str, values: list[Any]) -> None:
    """Refuse choices some of which have options and some not, and options that NNI does not understand."""
    nested = [value for value in values if _is_nested(value)]
    if nested and len(nested) < len(values):
        hint = 'A name without options is {"_name": "focal"} beside others that have some.'
        raise UsageError(f"{place} has choices with a _name and without one", hint=hint)
    for value in nested:
        for option, one in value.items():
            if option != "_name":
                _check_form(f"{place}: {value['_name']}: {option}", one)


def _check_values(path: Path, name: str, one: Any, flags: Mapping[str, Flag], registry: Registry) -> None:
    """Refuse a value that a trial would refuse."""
    for value in _values(one):
        for flag, given in as_flags({name: value}).items():
            if flag not in flags:
                raise UsageError(f"{path}: {name} has no options, but its choices have", hint=_EXAMPLE)
            try:
                components = flags[flag].names_in(flags[flag].convert(given))
            except UsageError as error:
                raise UsageError(f"{path}: {error.message}") from None
            for component in components:
                registry.find(flags[flag].kind, component)


def _values(one: Mapping[str, Any]) -> list[Any]:
    """Return every value of a choice, each of its options at its first and then its others; a few of numbers."""
    kind, values = one["_type"], one["_value"]
    if kind == "choice":
        return [value for given in values for value in (_with_options(given) if _is_nested(given) else [given])]
    return list(_numbers(kind, *values))


def _with_options(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    values = {option: [one] if option == "_name" else _values(one) for option, one in given.items()}
    first = {option: of_option[0] for option, of_option in values.items()}
    return [first, *({**first, option: value} for option, of_option in values.items() for value in of_option[1:])]


def _numbers(kind: str, first: float, second: float, step: float | None = None) -> Iterator[float]:
    """Yield the ends of a type of numbers, and what lies within: of a bell, its middle and beside it."""
    if kind == "randint":
        yield from (first, second - 1)
        return
    is_bell = "normal" in kind
    numbers = [first, first + _BETWEEN * second] if is_bell else [first, first + _BETWEEN * (second - first), second]
    for number in [math.exp(min(number, _LARGEST)) for number in numbers] if kind.endswith("lognormal") else numbers:
        if step is None:
            yield number
            continue
        near = round(number / step)
        for stepped in (near * step, (near + 1) * step):
            yield stepped if is_bell else min(max(stepped, first), second)


def _is_nested(value: object) -> bool:
    return isinstance(value, Mapping) and "_name" in value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_EXAMPLE = """For example: {"lr": {"_type": "loguniform", "_value": [0.0001, 0.01]}}"""
