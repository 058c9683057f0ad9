"""How `check-plugin` runs the checks of a plugin, and what it prints of each."""

import io
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from enum import StrEnum
from unittest import SkipTest

from rich.console import Console
from rich.text import Text

from maskkit.config import CheckPluginConfig
from maskkit.testing.check import Check, CheckError
from maskkit.testing.collecting import checks_of_package
from maskkit.testing.packages import Package, find_package

__all__ = ["check_and_print"]


class _End(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "FAILED"
    SKIPPED = "skipped"


_COLORS = {_End.OK: "green", _End.FAILED: "red", _End.SKIPPED: "yellow"}
_INDENT = " " * 11


def check_and_print(config: CheckPluginConfig) -> int:
    """Run every check of the plugin, print a line for each, and return 1 when one failed."""
    # Its file is named, or what it prints during a check would be kept back with what the plugin prints.
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True, emoji=False)
    package = find_package(config.plugin)
    _print_title(console, package)
    ends = Counter(_run_all(console, checks_of_package(package, config.data_dir), debug=config.debug))
    _print_sum(console, ends)
    return 1 if ends[_End.FAILED] else 0


def _run_all(console: Console, checks: Iterable[Check], *, debug: bool) -> Iterator[_End]:
    subject = ""
    for check in checks:
        if check.subject != subject:
            subject = check.subject
            console.print(Text(subject, style="cyan"))
        with _shown_while_it_runs(console, check):
            end, text, error = _run(check)
        reason = f": {text}" if end is _End.SKIPPED else ""
        console.print(Text("  ") + Text(f"{end:<9}", style=_COLORS[end]) + Text(f"{check.name}{reason}"))
        for line in text.splitlines() if end is _End.FAILED else ():
            console.print(Text(f"{_INDENT}{line}"))
        if debug and end is _End.FAILED:
            traceback.print_exception(error)
        yield end


def _run(check: Check) -> tuple[_End, str, BaseException | None]:
    """Return how a check ended, what there is to say about that, and what it raised."""
    # What a component prints, as reporters do, would tear the lines apart.
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            check()
        except KeyboardInterrupt:
            raise
        except SkipTest as skip:
            return _End.SKIPPED, str(skip), skip
        except CheckError as error:
            return _End.FAILED, str(error), error
        except BaseException as error:  # noqa: BLE001  a plugin may raise anything, SystemExit included
            return _End.FAILED, f"{type(error).__name__}: {error}", error
    return _End.OK, "", None


@contextmanager
def _shown_while_it_runs(console: Console, check: Check) -> Iterator[None]:
    if not console.is_terminal:
        yield
        return
    with console.status(Text(check.name)):
        yield


def _print_title(console: Console, package: Package) -> None:
    for guest in package.guests:
        plugin = guest.plugin
        title = Text(f"{plugin.name}  {plugin.distribution} {plugin.version}", style="bold")
        console.print(title + Text(f"  {plugin.file}" if plugin.file else "", style="not bold"))


def _print_sum(console: Console, ends: Counter[_End]) -> None:
    parts = [f"{ends[_End.OK]} passed", f"{ends[_End.FAILED]} failed"]
    if ends[_End.SKIPPED]:
        parts.append(f"{ends[_End.SKIPPED]} skipped")
    color = "red" if ends[_End.FAILED] else "green"
    console.print(Text(f"{ends.total()} checks: {', '.join(parts)}", style=color))
