"""How far a command has come: a bar with the time left on a terminal, and otherwise a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

__all__ = ["showing_progress"]

_SECONDS_BETWEEN_LINES = 10


Told = Callable[[int, int], None]


@contextmanager
def showing_progress() -> Iterator[Callable[[str, str], Told]]:
    """Yield a function of what is done and in which unit, which returns one to be told (done, in all).

    All goes to standard error, and bars leave no trace.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines
        return
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:

        def bar(what: str, unit: str) -> Told:
            task = progress.add_task(f"{what} {unit}")
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield bar


def _lines(what: str, unit: str) -> Told:
    printed = time.monotonic()

    def on_progress(done: int, total: int) -> None:
        nonlocal printed
        if time.monotonic() >= printed + _SECONDS_BETWEEN_LINES:
            printed = time.monotonic()
            print(f"{what}: {done:,} of {total:,} {unit}", file=sys.stderr, flush=True)

    return on_progress
