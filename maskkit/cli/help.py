"""The text of `--help`, made from the same dataclass as the flags."""

import shutil
import textwrap
from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from maskkit.conversion import describe
from maskkit.flags import MISSING, Flag, flags_of

if TYPE_CHECKING:
    from maskkit.cli.command import Command
    from maskkit.plugin.registry import Registry

__all__ = ["command_help", "overview"]

_INDENT = 30


def overview(commands: Mapping[str, str], guests: Mapping[str, str]) -> str:
    """Return the help of `maskkit` itself: by name, the summary of its own commands and of those of plugins."""
    rows = [f"  {name:<13} {summary}" for name, summary in commands.items()]
    if guests:
        rows += ["", "Commands of plugins:", *(f"  {name:<13} {summary}" for name, summary in guests.items())]
    return "\n".join(
        [
            "maskkit: train, predict and vote on the 18-class mask task; everything is a plugin.",
            "",
            "Usage: maskkit COMMAND [WORDS] [--flag=value ..]",
            "",
            "Commands:",
            *rows,
            "",
            "maskkit COMMAND --help shows the flags of one; --debug anywhere shows a traceback on failure.",
            "",
            "Example:",
            "  maskkit train --data_dir=train/images --model=Efficientnet_b3 --epochs=30 --batch_size=16",
        ]
    )


def command_help(command: "Command", registry: "Registry") -> str:
    """Return the help of one command: every flag with its type, its sentence and its default."""
    flags = list(flags_of(command.config).values())
    words = [_word_usage(flag) for flag in flags if flag.word]
    usage = " ".join(["Usage: maskkit", command.name, *words, "[--flag=value ..]"])
    lines = [command.summary, "", usage, "", "Example:", *(f"  {example}" for example in command.examples)]
    if any(flag.word for flag in flags):
        lines += ["", "Words:", *_rows([flag for flag in flags if flag.word], registry)]
    for section, group in groupby((flag for flag in flags if not flag.word), key=lambda flag: flag.section):
        lines += ["", f"{section or 'Flags'}:", *_rows(list(group), registry)]
    if command.takes_config_file:
        lines += [
            "",
            "Layers:",
            *_row(
                "--preset=baseline|strong", "Values of a recipe of maskkit's own: the defaults, or the best one found."
            ),
            *_row("--config=PATH", "Values from a config.json of a run, or any JSON of flags; flags win."),
        ]
    return "\n".join(lines)


def _word_usage(flag: Flag) -> str:
    return f"{flag.name.upper()} .." if flag.takes_many_words else flag.name.upper()


def _rows(flags: list[Flag], registry: "Registry") -> list[str]:
    lines = []
    for flag in flags:
        title = _word_usage(flag) if flag.word else f"--{flag.name}={describe(flag.annotation)}"
        text = flag.text
        if flag.kind:
            text += f" One of: {', '.join(registry.names(flag.kind))}."
        if not flag.word:
            text += " Must be given." if flag.default is MISSING else f" Default: {_shown(flag)}."
        lines += _row(title, text)
    return lines


def _row(title: str, text: str) -> list[str]:
    width = max(60, min(110, shutil.get_terminal_size((100, 24)).columns))
    wrapped = textwrap.wrap(text, width - _INDENT - 2, break_on_hyphens=False, break_long_words=False)
    if len(title) >= _INDENT - 1:
        return [f"  {title}", *(" " * (_INDENT + 2) + line for line in wrapped)]
    first, *others = wrapped
    return [f"  {title:<{_INDENT}}{first}", *(" " * (_INDENT + 2) + line for line in others)]


def _shown(flag: Flag) -> str:
    default = flag.default
    if default is None or default in ({}, ()):
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)
