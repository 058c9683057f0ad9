"""The user's options of a component, checked against its factory's own signature before anything is written."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, get_type_hints

from maskkit.conversion import convert
from maskkit.errors import UsageError, nearest
from maskkit.plugin.contracts import RESERVED
from maskkit.plugin.registry import Offer

__all__ = ["annotation_of", "bound", "options_of"]


def options_of(offer: Offer) -> dict[str, inspect.Parameter]:
    """Return the keywords of the factory that are the user's to set; the factory is imported."""
    parameters = inspect.signature(offer.load()).parameters.values()
    closed = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY}
    return {one.name: one for one in parameters if one.name not in RESERVED[offer.kind] and one.kind not in closed}


def bound(offer: Offer, options: Mapping[str, object]) -> Callable[..., Any]:
    """Return the factory with the options bound to it, each converted to the type that the factory declares.

    Raises:
        UsageError: the factory has no such option, or the value is not of its type.
        PluginError: the factory cannot be imported.
    """
    factory = offer.load()
    known = options_of(offer)
    values = {}
    for name, value in options.items():
        if name not in known:
            raise _unknown_option(offer, name, known)
        try:
            values[name] = convert(value, annotation_of(factory, known[name]))
        except ValueError as error:
            raise UsageError(
                f"option {name} of {offer.kind} {offer.component.name} {error}; received {value!r}"
            ) from None
    needed = [name for name, one in known.items() if one.default is inspect.Parameter.empty and name not in values]
    if needed:
        raise UsageError(f"{offer.kind} {offer.component.name} needs the option {', '.join(needed)}")
    return partial(factory, **values)


def annotation_of(factory: Any, option: inspect.Parameter) -> Any:
    """Return the type that an option declares, Any when it declares none or imports it for type checkers alone."""
    function = factory.__init__ if inspect.isclass(factory) else inspect.unwrap(factory)
    if not isinstance(option.annotation, str):
        return Any if option.annotation is inspect.Parameter.empty else option.annotation
    holder = SimpleNamespace(__annotations__={option.name: option.annotation})
    try:
        return get_type_hints(holder, globalns=getattr(function, "__globals__", {}))[option.name]
    except (NameError, TypeError, AttributeError, SyntaxError):
        return Any


def _unknown_option(offer: Offer, name: str, known: Mapping[str, object]) -> UsageError:
    title = f"{offer.kind} {offer.component.name} has no option {name!r}"
    if name in RESERVED[offer.kind]:
        return UsageError(title, hint=f"{name} is set by maskkit itself.")
    near = nearest(name, known)
    advice = f"Did you mean {near}? " if near else ""
    return UsageError(title, hint=f"{advice}It takes: {', '.join(known) or 'none'}.")
