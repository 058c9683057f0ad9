"""Commands of plugins: a function's signature gives words, flags and help, as a config does for those in the box."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import make_dataclass
from types import GenericAlias
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from maskkit.cli.command import Command
from maskkit.conversion import CONVERTIBLE, is_convertible
from maskkit.errors import MaskkitError
from maskkit.flags import MISSING, flag
from maskkit.plugin.registry import Offer

__all__ = ["guest_command"]

_RESERVED = {"help", "debug"}


def guest_command(offer: Offer, name: str) -> Command:
    """Return the command that a plugin's function makes, under the name that was typed.

    Raises:
        PluginError: the function cannot be imported, or its signature is none of a command.
    """
    function = offer.load()
    try:
        places = _places(function)
        fields = [(parameter.name, annotation, declared) for parameter, annotation, declared in places]
        config = make_dataclass("GuestConfig", fields, frozen=True, kw_only=True)
    except (TypeError, ValueError, NameError) as error:
        raise offer.failure(error) from error
    config.__doc__ = offer.component.summary
    lines = (line.strip() for line in (inspect.getdoc(function) or "").splitlines())
    examples = tuple(line for line in lines if line.startswith("maskkit "))
    return Command(name, config, _runner(offer, function, [parameter for parameter, _, _ in places]), examples)


def _places(function: Callable[..., Any]) -> list[tuple[inspect.Parameter, Any, Any]]:
    """Return each parameter with its type and the flag or word that it makes.

    Raises:
        TypeError: a parameter is neither word nor flag, or lacks its type or its sentence.
        NameError: an annotation names nothing.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return [(parameter, *_place(parameter, hints.get(parameter.name))) for parameter in parameters]


def _place(parameter: inspect.Parameter, hint: Any) -> tuple[Any, Any]:
    words = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL}
    if parameter.kind not in words | {inspect.Parameter.KEYWORD_ONLY}:
        raise TypeError(f"{parameter.name} must be positional-only, to be a word, or keyword-only, to be a flag")
    if parameter.name in _RESERVED:
        raise TypeError(f"--{parameter.name} is maskkit's own")
    if get_origin(hint) is not Annotated or not isinstance(get_args(hint)[1], str):
        raise TypeError(f'{parameter.name} must be annotated with a type and a sentence: Annotated[int, ".."]')
    annotation, text = get_args(hint)[:2]
    if not text.strip():
        raise TypeError(f"the sentence of {parameter.name} is empty")
    if not is_convertible(annotation):
        raise TypeError(f"text cannot be turned into the type of {parameter.name}, {annotation}; {CONVERTIBLE}")
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return GenericAlias(tuple, (annotation, ...)), flag((), text, word=True)
    default = MISSING if parameter.default is inspect.Parameter.empty else parameter.default
    return annotation, flag(default, text, word=parameter.kind in words)


def _runner(
    offer: Offer, function: Callable[..., Any], parameters: list[inspect.Parameter]
) -> Callable[[Any, Mapping[str, str]], int]:
    def run(config: Any, _: Mapping[str, str]) -> int:
        words: list[Any] = []
        flags = {}
        for one in parameters:
            value = getattr(config, one.name)
            if one.kind is inspect.Parameter.KEYWORD_ONLY:
                flags[one.name] = value
            else:
                words += value if one.kind is inspect.Parameter.VAR_POSITIONAL else [value]
        try:
            code = function(*words, **flags)
        except (MaskkitError, OSError):
            raise
        except Exception as error:
            raise offer.failure(error) from error
        if code is not None and code not in range(256):
            raise offer.failure(TypeError(f"an exit code is a number from 0 to 255, or None; it gave {code!r}"))
        return code or 0

    return run
