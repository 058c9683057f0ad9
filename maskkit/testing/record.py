"""What is true of every component's record and factory, whatever its kind."""

import inspect
from collections.abc import Callable
from functools import partial

from maskkit.errors import PluginError
from maskkit.plugin.registry import same_name
from maskkit.testing.candidate import Candidate
from maskkit.testing.check import CheckError, expect

__all__ = ["CHECKS"]

_LONGEST_NAME = 40
_LONGEST_SUMMARY = 100


def _fits_in_the_list(candidate: Candidate) -> None:
    component = candidate.offer.component
    for what, text, longest in (
        ("name", component.name, _LONGEST_NAME),
        ("summary", component.summary, _LONGEST_SUMMARY),
    ):
        expect(
            len(text) <= longest,
            f"its {what} must fit in a line of list-plugins, {longest} characters, but has {len(text)}; shorten it",
        )


def _is_told_apart(candidate: Candidate) -> None:
    kind, name = candidate.offer.kind, candidate.offer.component.name
    for plugin in candidate.registry.plugins:
        for other in plugin.components.get(kind, ()):
            expect(
                same_name(kind, other.name) == same_name(kind, name) or other.name.casefold() != name.casefold(),
                f"its name must differ from others by more than case, but {plugin.distribution} offers the {kind}"
                f" {other.name}; choose another name",
            )


def _is_there(candidate: Candidate) -> None:
    try:
        factory = candidate.offer.load()
    except PluginError as error:
        cause = error.__cause__
        raise CheckError(
            f"its target {candidate.offer.component.target} must be importable, but that raised"
            f" {type(cause).__name__}: {cause}"
        ) from error
    expect(
        callable(factory),
        f"its target {candidate.offer.component.target} must be a function or a class, but is {factory!r}",
    )


def _is_documented(candidate: Candidate) -> None:
    factory = candidate.factory()
    function = factory.func if isinstance(factory, partial) else factory
    text = inspect.cleandoc(function.__doc__ or "").strip()
    expect(
        text,
        f"the {'class' if inspect.isclass(function) else 'function'} {candidate.offer.component.target} must have a"
        " docstring that says what it does; write one",
    )


CHECKS: dict[str, Callable[[Candidate], None]] = {
    "its name and summary fit in the list": _fits_in_the_list,
    "its name is not another's in other letters": _is_told_apart,
    "its factory can be imported": _is_there,
    "its factory has a docstring": _is_documented,
}
