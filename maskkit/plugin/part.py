"""A component as it is used: found by name in the registry, with the user's options bound."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from maskkit.errors import MaskkitError, UsageError
from maskkit.plugin.component import Component
from maskkit.plugin.options import bound
from maskkit.plugin.registry import Offer, Registry

__all__ = ["Part"]


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
        except Exception as error:
            if not isinstance(error, ValueError) or not self.options:
                raise self.offer.failure(error) from error
            given = ", ".join(f"{name}={value}" for name, value in self.options.items())
            raise UsageError(f"{self.offer.kind} {self.component.name} refuses its options {given}: {error}") from error

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
