"""The words of a command line, checked against the flags of a command before anything runs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from maskkit.errors import UnknownNameError, UsageError, nearest
from maskkit.flags import MISSING, Flag

__all__ = ["Arguments", "read_arguments"]

_NUMBER = re.compile(r"-\.?\d.*")


@dataclass
class Arguments:
    """The text given for each flag, and the words without dashes."""

    words: list[str] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)


def read_arguments(tokens: Sequence[str], flags: Mapping[str, Flag], command: str) -> Arguments:
    """Return what the tokens after a command's name say; values stay the exact text that was typed.

    Dashes and underscores in a flag are the same; `--flag value`, `--flag=value`, `--switch` and `--no-switch` work.

    Raises:
        UsageError: a flag is unknown, given twice or lacks its value, or a word has no place.
    """
    arguments = Arguments()
    waiting = list(tokens)
    while waiting:
        token = waiting.pop(0)
        if _is_flag(token):
            name, text = _read_flag(token, waiting, flags, command)
            if name in arguments.flags:
                raise UsageError(f"--{name} is given twice: {arguments.flags[name]!r} and {text!r}")
            arguments.flags[name] = text
        else:
            arguments.words.append(token)
    _check_words(arguments.words, flags, command)
    return arguments


def _is_flag(token: str) -> bool:
    return token.startswith("-") and not _NUMBER.fullmatch(token)


def _read_flag(token: str, waiting: list[str], flags: Mapping[str, Flag], command: str) -> tuple[str, str]:
    spelled, equals, text = token.partition("=")
    name = spelled.removeprefix("--").replace("-", "_")
    negated = name.removeprefix("no_")
    if not spelled.startswith("--") or not name:
        raise UsageError(f"{token!r} is no flag", hint=_advice(name, flags, command))
    if name != negated and name not in flags and negated in flags and flags[negated].is_switch:
        if equals:
            raise UsageError(f"{spelled} takes no value; received {text!r}")
        return negated, "false"
    if name not in flags or flags[name].word:
        raise UnknownNameError(f"unknown flag {spelled}", hint=_advice(name, flags, command))
    return name, text if equals else _value_after(flags[name], waiting)


def _value_after(flag: Flag, waiting: list[str]) -> str:
    """Take the value of `--flag value` from the tokens that follow it."""
    following = waiting[0] if waiting and not _is_flag(waiting[0]) else None
    if flag.is_switch:
        return waiting.pop(0) if following is not None and _converts(flag, following) else "true"
    if following is None:
        raise UsageError(f"--{flag.name} needs a value", hint=f"Type --{flag.name}={flag.type_name}. {flag.text}")
    text = waiting.pop(0)
    is_pair = flag.type_name == "HxW" and waiting and text.isdecimal() and waiting[0].isdecimal()
    return f"{text},{waiting.pop(0)}" if is_pair else text


def _converts(flag: Flag, text: str) -> bool:
    try:
        flag.convert(text)
    except UsageError:
        return False
    return True


def _check_words(words: list[str], flags: Mapping[str, Flag], command: str) -> None:
    places = [flag for flag in flags.values() if flag.word]
    if len(words) > len(places) and not any(place.takes_many_words for place in places):
        extra = words[len(places)]
        near = nearest(extra.partition("=")[0], flags)
        advice = f"Did you mean --{near}?" if near else f"Flags begin with --; see: maskkit {command} --help"
        raise UsageError(f"unexpected word {extra!r}", hint=advice)
    for place in places[len(words) :]:
        if place.default is MISSING:
            usage = " ".join(one.name.upper() for one in places)
            raise UsageError(f"{place.name.upper()} is missing: {place.text}", hint=f"Type: maskkit {command} {usage}")


def _advice(name: str, flags: Mapping[str, Flag], command: str) -> str:
    near = nearest(name, (flag.name for flag in flags.values() if not flag.word))
    return f"Did you mean --{near}?" if near else f"All flags: maskkit {command} --help"
