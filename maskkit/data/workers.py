"""The processes that decode images, when one cannot start or dies: torch's many ways to say so, told as one error."""

import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader

from maskkit.errors import MaskkitError, WorkerError

__all__ = ["end_quietly", "explain_worker_failures", "received", "started"]

# What torch or the system says of the processes that decode, what it means, and the way on.
_FAILURES = (
    (
        "Bus error|shared memory|No space left",
        "there is too little shared memory (/dev/shm) for the processes that decode images",
        "Use --num_workers=0, or give more of it, as docker run --shm-size=8g does.",
    ),
    (
        "Too many open files",
        "too many files are open for the processes that decode images",
        "Use fewer: --num_workers=1, or 0; or raise the limit, as ulimit -n 4096 does.",
    ),
    (
        "Cannot allocate memory|Resource temporarily unavailable|can't start new thread",
        "the system has no room for so many processes that decode images",
        "Use fewer: --num_workers=1, or 0 to decode in this process.",
    ),
    (
        "killed by signal|exited unexpectedly",
        "a process that decodes images died, most often because the memory ran out",
        "Use fewer: --num_workers=1, or 0 to decode in this process; or a smaller --batch_size.",
    ),
    ("", "a process that decodes images failed", "To see where: --num_workers=0 --debug"),
)


def started(loader: DataLoader[Any]) -> Iterator[Any]:
    """Return the batches to come, for which processes are started unless they run already.

    Raises:
        WorkerError: the system has no room for them.
    """
    try:
        return iter(loader)
    except (OSError, RuntimeError) as error:
        with _silent_destructors():
            traceback.clear_frames(error.__traceback__)  # lets go of the iterator, which ends its processes
        raise _worker_error(str(error)) from error


def received(batches: Iterator[Any], *, num_workers: int) -> Any:
    """Return the next batch, None at the end.

    Raises:
        WorkerError: the process that sent it died while it was fetched.
    """
    try:
        return next(batches, None)
    except (EOFError, ConnectionError, FileNotFoundError) as error:
        if not num_workers or str(error).startswith("Caught "):  # here, or in a process that lives and sent it
            raise
        raise _worker_error(f"DataLoader worker exited unexpectedly: {type(error).__name__}") from error


def end_quietly(_: int) -> None:
    """Keep a process that decodes from printing that the main one has gone; its failures travel as exceptions."""
    sys.excepthook = lambda *_: None


@contextmanager
def _silent_destructors() -> Iterator[None]:
    """Keep Python from printing what destructors raise, as that of torch's half made iterator does."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook


@contextmanager
def explain_worker_failures() -> Iterator[None]:
    """Turn what torch raises when a process that decodes fails into an error with a way on.

    torch raises it from a signal handler too, anywhere in the main thread, so this belongs around a whole training.

    Raises:
        WorkerError: says what torch said, what it means and what to try; any other error passes as it is.
    """
    try:
        yield
    except (MaskkitError, torch.OutOfMemoryError):  # told already; of the GPU
        raise
    except Exception as error:
        if re.search("DataLoader worker|Communication with the workers", str(error)):
            raise _worker_error(str(error)) from error
        raise


def _worker_error(text: str) -> WorkerError:
    """Return the error for what torch said, of which one sentence is kept, or the last line of a traceback."""
    said = text.strip().splitlines()[-1] if text.startswith("Caught ") else text.partition(". ")[0]
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, lambda *_: None)  # torch would raise for the same process once more
    meaning, hint = next((meaning, hint) for pattern, meaning, hint in _FAILURES if re.search(pattern, text))
    return WorkerError(f"{meaning} ({said.strip()})", hint=hint)
