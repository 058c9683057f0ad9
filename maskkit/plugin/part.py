"""A component as it is used: found by name in the registry, with the user's options bound."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from maskkit.errors import MaskkitError, PluginError, UsageError
from maskkit.plugin.component import Component
from maskkit.plugin.options import bound
from maskkit.plugin.registry import Offer, Registry

__all__ = ["Part"]

Made = TypeVar("Made")


@dataclass(frozen=True)
class Part:
    """An offer, its factory with options bound, and what to write down about it."""

    offer: Offer
    options: Mapping[str, Any]
    make: Callable[..., Any]

    @classmethod
    def find(cls, registry: Registry, kind: str, name: str, options: Mapping[str, Any]) -> "Part":
        """Return the part; an unknown name or option is a UsageError."""
        return cls.of(registry.find(kind, name), options)

    @classmethod
    def of(cls, offer: Offer, options: Mapping[str, Any]) -> "Part":
        """Return the part that an offer makes with options; an unknown option is a UsageError."""
        return cls(offer, options, bound(offer, options))

    def build(self, *arguments: Any, **keywords: Any) -> Any:
        """Return what the factory makes of the engine's arguments and the user's options.

        Raises:
            UsageError: the factory refuses the value of an option, by a ValueError.
            PluginError: the factory of a plugin fails.
        """
        try:
            return self.make(*arguments, **keywords)
        except MaskkitError:
            raise
        except (Exception, SystemExit) as error:
            if not isinstance(error, ValueError) or not self.options:
                raise self.offer.failure(error) from error
            given = ", ".join(f"{name}={value}" for name, value in self.options.items())
            raise UsageError(f"{self.offer.kind} {self.component.name} refuses its options {given}: {error}") from error

    def build_a(self, expected: type[Made], *arguments: Any, **keywords: Any) -> Made:
        """Return what the factory makes, which its contract says is of that type.

        Raises:
            PluginError: it is not; and as of `build`.
        """
        made = self.build(*arguments, **keywords)
        if not isinstance(made, expected):
            raise self._gave(made, expected.__name__)
        return made

    def build_function(self, *arguments: Any, **keywords: Any) -> Callable[..., Any]:
        """Return the function that the factory makes.

        Raises:
            PluginError: it makes none; and as of `build`.
        """
        made = self.build(*arguments, **keywords)
        if not callable(made):
            raise self._gave(made, "a function")
        return made  # type: ignore[no-any-return]

    def _gave(self, made: object, expected: str) -> PluginError:
        return self.offer.failure(TypeError(f"its factory gave {type(made).__name__} instead of {expected}"))

    def guarded(self, function: Callable[..., Made]) -> Callable[..., Made]:
        """Return a function of the plugin's whose failures name it.

        Raises, when called:
            PluginError: the function fails.
        """

        def call(*arguments: Any, **keywords: Any) -> Made:
            try:
                return function(*arguments, **keywords)
            except MaskkitError:
                raise
            except (Exception, SystemExit) as error:
                raise self.offer.failure(error) from error

        return call

    @property
    def component(self) -> Component:
        return self.offer.component

    @property
    def record(self) -> dict[str, Any]:
        """Everything that finding the same part again needs, as JSON can hold it."""
        plugin = self.offer.plugin
        return {
            "name": self.component.name,
            "options": dict(self.options),
            "plugin": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
        }
