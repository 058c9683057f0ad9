"""What is true of every factory's signature: it takes what maskkit passes, and its options can be typed as text."""

import inspect
from collections.abc import Callable, Iterator
from types import NoneType
from typing import Any, get_args

from maskkit.conversion import CONVERTIBLE, convert, describe, is_convertible
from maskkit.plugin.contracts import RESERVED
from maskkit.plugin.options import annotation_of
from maskkit.testing.candidate import Candidate
from maskkit.testing.check import CheckError, expect

__all__ = ["CHECKS"]

_POSITIONAL = {"num_outputs", "data_dir", "parameters", "optimizer"}  # the engine passes them without their names


def _takes_what_maskkit_passes(candidate: Candidate) -> None:
    factory, passed = candidate.factory(), RESERVED[candidate.offer.kind]
    first = [name for name in passed if name in _POSITIONAL]
    named = sorted(passed - _POSITIONAL)
    call = f"({', '.join([*first, *(f'{name}=..' for name in named)])})"
    signature = inspect.signature(factory)
    missing = [name for name in (*first, *named) if name not in signature.parameters]
    expect(
        not missing,
        f"maskkit calls it with {call}, but it takes {signature}; add the argument {', '.join(missing)}",
    )
    try:
        signature.bind_partial(*first, **dict.fromkeys(named))
    except TypeError as error:
        raise CheckError(f"maskkit calls it with {call}, but it takes {signature}: {error}") from error


def _spells_its_options_out(candidate: Candidate) -> None:
    for option in _options(candidate):
        swallows = option.kind in {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
        expect(
            not swallows,
            f"it must spell its options out, but {option} would swallow a mistyped one; name each option instead",
        )
        expect(
            option.kind is inspect.Parameter.KEYWORD_ONLY,
            f"its option {option.name} must be keyword-only, or a new argument of maskkit's could fall into it;"
            " put a * before it",
        )


def _has_defaults(candidate: Candidate) -> None:
    for option in _options(candidate):
        expect(
            option.default is not inspect.Parameter.empty or _is_open(option),
            f"its option {option.name} must have a default, since it is used by its name alone; give it one",
        )


def _options_can_be_typed(candidate: Candidate) -> None:
    for option in _options(candidate):
        if _is_open(option):
            continue
        expect(
            option.annotation is not inspect.Parameter.empty,
            f"its option {option.name} must have a type, or its value stays whatever was typed; annotate it",
        )
        annotation = annotation_of(candidate.factory(), option)
        expect(
            is_convertible(annotation),
            f"its option {option.name} must be of a type that text can be turned into, but is {option.annotation};"
            f" {CONVERTIBLE}",
        )
        if option.default is not inspect.Parameter.empty:
            _expect_fitting_default(option, annotation)


def _expect_fitting_default(option: inspect.Parameter, annotation: Any) -> None:
    sentence = f"the default of its option {option.name} must be of its type, {_title(annotation)}, but is"
    try:
        converted = convert(option.default, annotation)
    except ValueError as error:
        raise CheckError(f"{sentence} {option.default!r}, which {error}; mend one of the two") from error
    expect(
        bool(converted == option.default),
        f"{sentence} {option.default!r}, which becomes {converted!r} when it is typed; mend one of the two",
    )


def _options(candidate: Candidate) -> Iterator[inspect.Parameter]:
    parameters = inspect.signature(candidate.factory()).parameters.values()
    return (one for one in parameters if one.name not in RESERVED[candidate.offer.kind])


def _is_open(option: inspect.Parameter) -> bool:
    return option.kind in {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}


def _title(annotation: Any) -> str:
    can_be_none = NoneType in get_args(annotation)
    return f"{describe(annotation)}{' or None' if can_be_none else ''}"


CHECKS: dict[str, Callable[[Candidate], None]] = {
    "it takes what maskkit passes": _takes_what_maskkit_passes,
    "its options are spelled out": _spells_its_options_out,
    "its options have defaults": _has_defaults,
    "its options can be typed": _options_can_be_typed,
}
