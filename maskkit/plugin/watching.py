"""Watching the calls into plugins: how long each takes, and an end to those that hang."""

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["TIMEOUT_VARIABLE", "TRACE_VARIABLE", "GivenUp", "time_limit", "traced"]

TRACE_VARIABLE = "MASKKIT_TRACE_PLUGINS"
TIMEOUT_VARIABLE = "MASKKIT_PLUGIN_TIMEOUT"
_PATIENCE = 30.0  # seconds; a plugin that imports torch from a slow disk is not broken


class GivenUp(BaseException):
    """A plugin gave no answer in time; no Exception, since a plugin may swallow those."""


def _patience(environment: Mapping[str, str]) -> float:
    """Return how many seconds a plugin may take, 30 unless the environment holds another number above 0."""
    try:
        asked = float(environment.get(TIMEOUT_VARIABLE, ""))
    except ValueError:
        return _PATIENCE
    return asked if 0 < asked < math.inf else _PATIENCE


@contextmanager
def time_limit(environment: Mapping[str, str]) -> Iterator[None]:
    """Interrupt what takes longer than $MASKKIT_PLUGIN_TIMEOUT seconds, or 30.

    Only the main thread can be interrupted; elsewhere there is no limit.

    Raises:
        GivenUp: the time is over.
    """
    seconds = _patience(environment)
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def give_up(*_: object) -> None:
        raise GivenUp(f"no answer within {seconds:g} s; {TIMEOUT_VARIABLE}={2 * seconds:g} would wait longer")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def traced(plugin: str, call: str, environment: Mapping[str, str]) -> Iterator[None]:
    """Print how long one call into a plugin took, also when it fails, where $MASKKIT_TRACE_PLUGINS asks for it."""
    started = time.perf_counter()
    try:
        yield
    finally:
        if environment.get(TRACE_VARIABLE, "") not in {"", "0"}:
            print(f"trace: {plugin} {call} {1000 * (time.perf_counter() - started):.1f} ms", file=sys.stderr)
