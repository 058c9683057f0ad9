"""A component under test."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import SkipTest

from maskkit.errors import PluginError
from maskkit.plugin.registry import Offer, Registry
from maskkit.testing.check import CheckError

__all__ = ["Candidate"]

Built = TypeVar("Built")


@dataclass(frozen=True, eq=False)
class Candidate:
    """A component under test, the registry that it stands in, and the user's folder of data when one was given."""

    offer: Offer
    registry: Registry
    data_dir: Path | None

    def factory(self) -> Any:
        """Return the factory.

        Raises:
            SkipTest: it cannot be imported or called, which another check tells.
        """
        try:
            factory = self.offer.load()
        except PluginError as error:
            raise SkipTest("it cannot be imported") from error
        if not callable(factory):
            raise SkipTest("it cannot be called")
        return factory

    def build(self, *arguments: Any, **keywords: Any) -> Any:
        """Return what the factory makes of the engine's arguments, with its options as they are by default.

        Raises:
            CheckError: it raises something.
            SkipTest: it cannot be imported or called, which another check tells.
        """
        factory = self.factory()
        try:
            return factory(*arguments, **keywords)
        except Exception as error:
            words = [_short(value) for value in arguments]
            words += [f"{name}={_short(value)}" for name, value in keywords.items()]
            raise CheckError(
                f"its factory, called with ({', '.join(words)}), must give a {self.offer.kind}, but raised"
                f" {type(error).__name__}: {error}"
            ) from error

    def require(self, expected: type[Built], *arguments: Any, **keywords: Any) -> Built:
        """Return what the factory makes, for a check that is about something else.

        Raises:
            SkipTest: it makes nothing of that type, which another check tells.
        """
        try:
            built = self.build(*arguments, **keywords)
        except CheckError as failure:
            raise SkipTest("it cannot be built") from failure
        if not isinstance(built, expected):
            raise SkipTest(f"it is no {expected.__name__}")
        return built

    def require_function(self, *arguments: Any, **keywords: Any) -> Callable[..., Any]:
        """Return the function that the factory makes, for a check that is about something else.

        Raises:
            SkipTest: it makes none, which another check tells.
        """
        built = self.require(object, *arguments, **keywords)
        if not callable(built):
            raise SkipTest("it is no function")
        return built


def _short(value: object) -> str:
    """Return a value as a message names it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{type(value).__name__}(..)"
