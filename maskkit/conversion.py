"""From text or JSON to the type that a flag or an option declares: one converter for all of them."""

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

__all__ = ["CONVERTIBLE", "convert", "describe", "is_convertible", "read_json"]

_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}
_SIZE = re.compile(r"\s*(\d+)(?:\s*[,xX× ]\s*(\d+))?\s*", re.ASCII)


CONVERTIBLE = "use bool, int, float, str, Path, Literal, dict, tuple[int, int] or tuple[T, ...], or a union of these"


def convert(value: object, annotation: Any) -> Any:
    """Return `value`, a text or a value from JSON, as the annotated type.

    Known are bool, int, float, str, Path, Literal, unions, `tuple[T, ...]` (from commas), `tuple[int, int]` (height
    and width: "128,96", "128x96", or one number for a square) and `dict[str, Any]` (JSON, or `key=value,key=value`).
    Any other annotation lets the value pass as it is.

    Raises:
        ValueError: the value is none of that type; the message says what is valid.
    """
    origin = get_origin(annotation)
    if origin in {Union, UnionType}:
        return _convert_union(value, annotation)
    if origin is Literal:
        return _convert_literal(value, annotation)
    if origin is tuple:
        return _convert_tuple(value, get_args(annotation))
    if origin is dict or annotation is dict:
        return _convert_mapping(value)
    if annotation in _SCALARS:
        return _SCALARS[annotation](value)
    return value


def is_convertible(annotation: Any) -> bool:
    """Return whether `convert` knows the type, instead of letting any value pass."""
    origin, members = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        return all(is_convertible(member) for member in members if member is not NoneType)
    if origin is tuple:
        return members == (int, int) or (members[1:] == (...,) and is_convertible(members[0]))
    return origin in {Literal, dict} or annotation is dict or annotation in _SCALARS


def describe(annotation: Any) -> str:
    """Return the annotated type as help and errors name it."""
    origin = get_origin(annotation)
    if origin in {Union, UnionType}:
        return "|".join(dict.fromkeys(map(describe, _members(annotation))))
    if origin is Literal:
        return "|".join(str(choice) for choice in get_args(annotation))
    if origin is tuple:
        kinds = get_args(annotation)
        return "HxW" if kinds == (int, int) else f"{describe(kinds[0])},.."
    if origin is dict or annotation is dict:
        return "OPTIONS"
    return _WORDS.get(annotation, "VALUE")


def read_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is none, is nested too deeply, or gives a name twice, of which JSON readers take the last.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON ({error.msg} at character {error.pos + 1})") from None
    except RecursionError:
        raise ValueError("is no JSON that can be read: it is nested too deeply") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"gives {name} twice")
    return dict(pairs)


def _convert_union(value: object, annotation: Any) -> Any:
    """Try the members in the order written, fixed words first, since any text would do as a path."""
    members = _members(annotation)
    if value is None and NoneType in get_args(annotation):
        return None
    if len(members) == 1:
        return convert(value, members[0])
    for member in members:
        try:
            return convert(value, member)
        except ValueError:
            continue
    raise ValueError(f"must be {describe(annotation)}")


def _members(annotation: Any) -> list[Any]:
    members = [member for member in get_args(annotation) if member is not NoneType]
    words = [member for member in members if get_origin(member) is Literal]
    return words + [member for member in members if member not in words]


def _convert_literal(value: object, annotation: Any) -> Any:
    choices = get_args(annotation)
    for choice in choices:
        if isinstance(value, str) and value.strip().casefold() == str(choice).casefold():
            return choice
        if value == choice and type(value) is type(choice):
            return choice
    raise ValueError(f"must be one of: {', '.join(map(str, choices))}")


def _convert_tuple(value: object, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    if kinds == (int, int):
        return _convert_size(value)
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError(  # noqa: TRY004  every refusal of this room is a ValueError
            f"must be {describe(kinds[0])}, several separated by commas"
        )
    cleaned = [part.strip() if isinstance(part, str) else part for part in parts]
    if "" in cleaned:
        raise ValueError("has an empty part between its commas")
    return tuple(convert(part, kinds[0]) for part in cleaned)


def _convert_size(value: object) -> tuple[int, int]:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError("must be height and width: 128,96 or 128x96, or one number for a square")
    height = int(found[1])
    return height, int(found[2] or height)


def _convert_mapping(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    text = str(value).strip()
    if text.startswith("{"):
        return dict(read_json(text))
    options: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, option = part.partition("=")
        if not equals or not key.strip().isidentifier():
            raise ValueError("must be key=value,key=value or a JSON object")
        if key.strip() in options:
            raise ValueError(f"gives {key.strip()} twice")
        options[key.strip()] = _json_or_text(option.strip())
    return options


def _json_or_text(text: str) -> Any:
    try:
        return read_json(text)
    except ValueError:
        return text


def _bool(value: object) -> bool:
    word = str(value).strip().casefold()
    if word in _TRUE | _FALSE and not isinstance(value, float):
        return word in _TRUE
    raise ValueError("must be true or false")


def _int(value: object) -> int:
    if isinstance(value, float) and value.is_integer():  # as a tuner gives them
        return int(value)
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError("must be a whole number" + _of_ascii(text))
    return int(text)


def _of_ascii(text: str) -> str:
    """Return what to add to a refusal of signs and digits that look right, such as those of a word processor."""
    return "" if text.isascii() else ", typed with plain - . and 0-9"


def _float(value: object) -> float:
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII):
        raise ValueError("must be a number" + _of_ascii(text))
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")  # noqa: TRY004  every refusal of this room is a ValueError
    return value


def _path(value: object) -> Path:
    if not str(value).strip():
        raise ValueError("must be a path, but is empty")
    return Path(_str(value) if not isinstance(value, Path) else value).expanduser()


_SCALARS: dict[Any, Callable[[object], Any]] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    Path: _path,
}
_WORDS = {bool: "true|false", int: "INT", float: "FLOAT", str: "NAME", Path: "PATH"}
