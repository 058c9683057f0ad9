"""The base class of reporters, and the fan-out that keeps one reporter's failure from the others."""

import warnings
from collections.abc import Iterable
from contextlib import suppress
from typing import ClassVar, Literal

from maskkit.errors import PluginError, nearest
from maskkit.reporting.events import EpochEnd, EpochStart, RunEnd, RunStart, StepEnd

__all__ = ["Reporter", "Reporters", "StopRun"]

_Event = RunStart | EpochStart | StepEnd | EpochEnd | RunEnd
_Moment = Literal["on_run_start", "on_epoch_start", "on_step_end", "on_epoch_end", "on_run_end"]


class StopRun(Exception):  # noqa: N818  it is no error
    """Raised by a reporter in on_epoch_end: the run ends after this epoch as after its last, with its predictions."""


class Reporter:
    """Watches a run and changes nothing in it; override the events that matter.

    `is_needed` says that a run which it cannot report is worth nothing, though nobody asked for it by name.
    """

    is_needed: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Refuse a method that looks like an event and is none, which would never be called.

        Raises:
            TypeError: it names the method, and the event that is near.
        """
        super().__init_subclass__()
        for name, value in vars(cls).items():
            if name.startswith("on_") and callable(value) and not hasattr(Reporter, name):
                near = nearest(name, (event for event in vars(Reporter) if event.startswith("on_")))
                raise TypeError(f"{cls.__name__}.{name} is no event of a run; did you mean {near}?")

    def on_run_start(self, run: RunStart) -> None:
        """Called once, after the run folder exists and before the first step."""

    def on_epoch_start(self, epoch: EpochStart) -> None:
        """Called before the first step of an epoch."""

    def on_step_end(self, step: StepEnd) -> None:
        """Called after every training step."""

    def on_epoch_end(self, result: EpochEnd) -> None:
        """Called after validation, with the figures of the epoch; to raise StopRun ends the run with it."""

    def on_run_end(self, outcome: RunEnd) -> None:
        """Called once at the end, also after a failure or Ctrl-C: close files here."""


class Reporters:
    """Hands each event to every reporter.

    A reporter that raises is dropped with one warning, unless it is needed or somebody asked for it by name: then the
    run fails. Either way it still hears of the end, where it closes its files.
    """

    def __init__(self, reporters: Iterable[tuple[str, Reporter]], *, required: bool) -> None:
        self._reporters = dict(reporters)
        self._dropped: list[Reporter] = []
        self._required = required
        self.wants_to_stop = False  # a reporter raised StopRun

    def on_run_start(self, run: RunStart) -> None:
        self._tell("on_run_start", run)

    def on_epoch_start(self, epoch: EpochStart) -> None:
        self._tell("on_epoch_start", epoch)

    def on_step_end(self, step: StepEnd) -> None:
        self._tell("on_step_end", step)

    def on_epoch_end(self, result: EpochEnd) -> None:
        self._tell("on_epoch_end", result)

    def on_run_end(self, outcome: RunEnd) -> None:
        """Tell everybody, and raise a needed reporter's failure only after all have heard."""
        failures = []
        for reporter in self._dropped:
            with suppress(Exception):  # it failed before, and was reported then
                reporter.on_run_end(outcome)
        for name in list(self._reporters):
            try:
                self._tell_one(name, "on_run_end", outcome)
            except PluginError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _tell(self, moment: _Moment, event: _Event) -> None:
        for name in list(self._reporters):
            self._tell_one(name, moment, event)

    def _tell_one(self, name: str, moment: _Moment, event: _Event) -> None:
        reporter = self._reporters[name]
        try:
            getattr(reporter, moment)(event)
        except StopRun:
            self.wants_to_stop = True
        except (Exception, SystemExit) as error:
            self._dropped.append(self._reporters.pop(name))
            text = f"reporter {name} failed in {moment}: {type(error).__name__}: {error}"
            if self._required or reporter.is_needed:
                raise PluginError(text, hint="Leave it out of --reporters to go on without it.") from error
            warnings.warn(f"{text}; the run goes on without it", stacklevel=2)
