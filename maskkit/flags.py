"""Flags declared as the fields of a dataclass: their types, bounds and layers."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from maskkit.conversion import convert, describe, read_json
from maskkit.criterion import terms_of
from maskkit.errors import UsageError, nearest

__all__ = ["MISSING", "Flag", "Layer", "as_json", "as_words", "build", "flag", "flags_of", "read_config_file"]
__all__ += ["read_preset"]

Config = TypeVar("Config")

_LONGEST_SHOWN = 1000


def flag(
    default: Any,
    text: str,
    *,
    section: str = "",
    kind: str = "",
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    word: bool = False,
) -> Any:
    """Declare a flag: default and one sentence; for component names their kind; for numbers their bounds.

    `word` makes it a word without dashes instead: one, or all that are left when its type is a tuple.
    """
    metadata = {
        "text": text,
        "section": section,
        "kind": kind,
        "minimum": minimum,
        "above": above,
        "maximum": maximum,
        "word": word,
    }
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Flag:
    """A field of a config as the command line sees it."""

    name: str
    annotation: Any
    default: Any
    text: str
    section: str
    kind: str
    minimum: float | None
    above: float | None
    maximum: float | None
    word: bool

    @property
    def is_switch(self) -> bool:
        """Whether the flag alone, without a value, means true."""
        return bool in (self.annotation, *getattr(self.annotation, "__args__", ()))

    @property
    def takes_many_words(self) -> bool:
        return self.word and self.default == ()

    @property
    def spelling(self) -> str:
        """How help and errors name it."""
        return self.name.upper() if self.word else f"--{self.name}"

    @property
    def type_name(self) -> str:
        return describe(self.annotation)

    def names_in(self, value: Any) -> list[str]:
        """Return the names of components that a converted value of this flag holds.

        Raises:
            UsageError: it is a sum of losses, and not well formed.
        """
        if not self.kind or not value:
            return []
        if isinstance(value, str):
            return [term.name for term in terms_of(value)] if self.kind == "loss" else [value]
        return list(value)

    def convert(self, value: object) -> Any:
        """Return `value` as this flag's type, within its bounds.

        Raises:
            UsageError: names the flag, what was received and what is valid.
        """
        try:
            converted = convert(value, self.annotation)
            self._check_bounds(converted)
        except ValueError as error:
            received = repr(value)
            shown = received if len(received) <= _LONGEST_SHOWN else f"{received[:_LONGEST_SHOWN]}.."
            raise UsageError(f"{self.spelling} {error}; received {shown}") from None
        return converted

    def _check_bounds(self, value: Any) -> None:
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(number, int | float) or isinstance(number, bool):
                continue
            if self.minimum is not None and number < self.minimum:
                raise ValueError(f"must be at least {self.minimum:g}")
            if self.above is not None and number <= self.above:
                raise ValueError(f"must be above {self.above:g}")
            if self.maximum is not None and number > self.maximum:
                raise ValueError(f"must be at most {self.maximum:g}")


@dataclass(frozen=True)
class Layer:
    """Values of one origin, such as the flags or a config file, by flag name."""

    source: str
    values: Mapping[str, object]
    is_file: bool = False

    def convert(self, one: Flag) -> Any:
        """Return this layer's value of a flag as its type.

        Raises:
            UsageError: the value does not fit; a file is named too, since people do not see its flags.
        """
        try:
            return one.convert(self.values[one.name])
        except UsageError as error:
            raise UsageError(f"{self.source}: {error.message}" if self.is_file else error.message) from None


def flags_of(config: type) -> dict[str, Flag]:
    """Return the flags of a config class by name, in the order declared."""
    hints = get_type_hints(config)
    return {
        one.name: Flag(name=one.name, annotation=hints[one.name], default=_default(one), **one.metadata)
        for one in dataclasses.fields(config)
    }


def build(config: type[Config], layers: Iterable[Layer]) -> tuple[Config, dict[str, str]]:
    """Return the config that the layers make, later ones winning, and where each value came from.

    Raises:
        UsageError: a name is unknown, a value is not of its type, or a needed word is missing.
    """
    flags = flags_of(config)
    values: dict[str, Any] = {}
    sources = dict.fromkeys(flags, "default")
    for layer in layers:
        for name in layer.values:
            if name not in flags:
                near = nearest(name, flags)
                advice = f"Did you mean {near}?" if near else f"Valid: {', '.join(flags)}."
                raise UsageError(f"unknown name {name!r} in {layer.source}", hint=advice)
            values[name] = layer.convert(flags[name])
            sources[name] = layer.source
    for one in flags.values():
        if one.default is MISSING and one.name not in values:
            advice = "" if one.word else f"Type {one.spelling}={one.type_name}"
            raise UsageError(f"{one.spelling} is missing: {one.text}", hint=advice)
    return config(**values), sources


def as_json(config: Any) -> dict[str, Any]:
    """Return the values of a config as JSON can hold them; `build` takes them back."""
    return {name: _plain(getattr(config, name)) for name in flags_of(type(config))}


def as_words(values: Mapping[str, Any]) -> list[str]:
    """Return the words of a command line that give these values, by flag, on any of which `build` agrees.

    None has no words: it is the default of every flag that takes it.
    """
    return [f"--{name}={_as_text(value)}" for name, value in values.items() if value is not None]


def read_config_file(path: Path) -> Layer:
    """Return the values that a config.json, or a plain JSON object of flags, holds.

    Raises:
        UsageError: the file cannot be read, or is no such object.
    """
    try:
        content = read_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"--config: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--config: {path} is no JSON: it is no text in UTF-8") from None
    except ValueError as error:
        raise UsageError(f"--config: {path} {error}") from None
    values = content.get("values", content) if isinstance(content, dict) else None
    if not isinstance(values, dict):
        raise UsageError(f"--config: {path} must hold a JSON object of flags and values")
    return Layer(str(path), {name.replace("-", "_"): value for name, value in values.items()}, is_file=True)


def read_preset(name: str) -> Layer:
    """Return the values of one of the recipes in the folder `presets`."""
    path = files("maskkit") / "presets" / f"{name}.json"
    return Layer(f"preset {name}", read_json(path.read_text(encoding="utf-8")), is_file=True)


def _default(one: dataclasses.Field[Any]) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _as_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps({name: _plain(one) for name, one in value.items()})
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value
