"""The contract of commands: `maskkit.plugin.contracts.CommandFunction`."""

import shlex
from collections.abc import Callable
from itertools import takewhile
from unittest import SkipTest

from maskkit.cli.arguments import read_arguments
from maskkit.cli.command import Command
from maskkit.cli.guests import guest_command
from maskkit.cli.help import command_help
from maskkit.errors import PluginError, UsageError
from maskkit.flags import MISSING, flags_of
from maskkit.plugin.registry import same_name
from maskkit.testing.candidate import Candidate
from maskkit.testing.check import CheckError, expect

__all__ = ["CHECKS"]

_SHELL = {"|", ">", ">>", "<", "&&", ";", "2>"}


def _has_the_form_of_a_command(candidate: Candidate) -> None:
    candidate.factory()
    try:
        _command(candidate)
    except PluginError as error:
        raise CheckError(
            f"its signature must make words and flags: {error.__cause__}; see maskkit.plugin.contracts.CommandFunction"
        ) from error


def _shows_its_help(candidate: Candidate) -> None:
    command = _required(candidate)
    text = command_help(command, candidate.registry)
    expect(command.summary in text, "its help must begin with its summary")
    expect(
        command.examples,
        f'its help must have an example; add a line to its docstring that begins with "maskkit {command.name}"',
    )


def _has_examples_that_can_be_typed(candidate: Candidate) -> None:
    command = _required(candidate)
    for example in command.examples:
        sentence = f"its example {example!r} must be a line that can be typed, but"
        try:
            tokens = shlex.split(example)
            program, name, *words = takewhile(lambda token: token not in _SHELL, tokens)
            is_own = same_name("command", name) == same_name("command", command.name)
            expect(is_own, f"{sentence} it begins with {program} {name}")
            read_arguments(words, flags_of(command.config), command.name)
        except UsageError as error:
            raise CheckError(f"{sentence} {error.message}") from error
        except ValueError as error:
            raise CheckError(f"{sentence} it is {error}") from error


def _has_flags_that_differ(candidate: Candidate) -> None:
    flags = flags_of(_required(candidate).config)
    clashes = [name for name, one in flags.items() if one.is_switch and f"no_{name}" in flags]
    expect(
        not clashes,
        f"its flags must differ, but --no-{''.join(clashes[:1])} is also how --{''.join(clashes[:1])} is switched off;"
        " rename one",
    )


def _has_defaults_of_their_types(candidate: Candidate) -> None:
    for one in flags_of(_required(candidate).config).values():
        if one.default is MISSING or one.takes_many_words:
            continue
        try:
            converted = one.convert(one.default)
        except UsageError as error:
            raise CheckError(f"the default of {one.spelling} must be of its type, but: {error.message}") from error
        expect(
            converted == one.default,
            f"the default of {one.spelling} must be of its type, {one.type_name}, but is {one.default!r}",
        )


def _command(candidate: Candidate) -> Command:
    return guest_command(candidate.offer, candidate.offer.component.name)


def _required(candidate: Candidate) -> Command:
    candidate.factory()
    try:
        return _command(candidate)
    except PluginError as error:
        raise SkipTest("it has not the form of a command") from error


CHECKS: dict[str, Callable[[Candidate], None]] = {
    "it has the form of a command": _has_the_form_of_a_command,
    "its help has an example": _shows_its_help,
    "its examples can be typed": _has_examples_that_can_be_typed,
    "its flags differ": _has_flags_that_differ,
    "its defaults are of their types": _has_defaults_of_their_types,
}
