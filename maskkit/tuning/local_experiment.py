"""An experiment whose trials are all trained on this machine: an engine built on it only has to choose."""

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from maskkit.errors import CheckpointError
from maskkit.files import write_text
from maskkit.tuning.local import LocalTraining
from maskkit.tuning.search import Search
from maskkit.tuning.trainings import as_flags
from maskkit.tuning.trials import Trial

__all__ = ["Choose", "LocalExperiment"]

_FILE = "trials.json"

Choose = Callable[[int, Sequence[Trial]], Mapping[str, Any] | None]
"""(number of a trial, the trials before it) -> its parameters in the form of NNI, None where no more are to come."""


class LocalExperiment:
    """Trains what `choose` chooses, as many trials at once as the search wants; it keeps them in trials.json.

    Given the name of one that was stopped, or died, it goes on with that: what had not ended goes on with its run.

    Raises:
        CheckpointError: nothing, or nothing whole, is kept of such an experiment.
    """

    def __init__(self, search: Search, choose: Choose, name: str | None = None) -> None:
        self._search, self._choose = search, choose
        self.id = name or secrets.token_hex(4)
        self.memory: Mapping[str, Any] = {}
        self._trials = [] if name is None else _read(self._file)
        self._trainings: dict[int, LocalTraining] = {}
        self._slots: dict[int, int] = {}
        self._errors: dict[str, str] = {}
        self._clocks = {trial.number: time.monotonic() - (trial.seconds or 0) for trial in self._trials}
        self._is_exhausted = False

    @property
    def _file(self) -> Path:
        return self._search.folder(self.id) / _FILE

    def opening(self) -> Sequence[str]:
        return []

    def closing(self) -> Sequence[str]:
        return []

    def trials(self) -> Sequence[Trial]:
        return [self._current(trial) for trial in self._trials]

    def error_of(self, trial: Trial) -> str:
        return self._errors.get(trial.id, "")

    def advance(self) -> bool:
        """Take the results of trainings that have ended, and start those that are due."""
        before = list(self._trials)
        for number in [number for number, training in self._trainings.items() if training.code is not None]:
            self._finish(number)
        while len(self._trainings) < self._search.concurrency and (trial := self._next()):
            self._start(trial)
        if self._trials != before:
            self._keep()
        return bool(self._trainings)

    def stop(self) -> None:
        """End the trainings that run."""
        for number in self._trainings:
            self._trials[number] = self._current(self._trials[number])
        LocalTraining.end(self._trainings.values())
        self._trainings.clear()
        self._keep()

    def _next(self) -> Trial | None:
        """Return a trial that was interrupted, or a new one, or None."""
        for trial in self._trials:
            if not trial.has_ended and trial.number not in self._trainings:
                return trial
        number = len(self._trials)
        if self._is_exhausted or number >= self._search.trials:
            return None
        parameters = self._choose(number, self.trials())
        if parameters is None:
            self._is_exhausted = True
            return None
        self._trials.append(Trial(str(number), number, "RUNNING", as_flags(parameters), (), None, 0.0))
        self._clocks[number] = time.monotonic()
        return self._trials[-1]

    def _start(self, trial: Trial) -> None:
        slots = {*range(self._search.concurrency)} - {*self._slots.values()}
        self._slots[trial.number] = min(slots)
        self._trainings[trial.number] = LocalTraining.start(
            self._search, self.id, trial.id, trial.flags, slot=self._slots[trial.number]
        )

    def _finish(self, number: int) -> None:
        trial = self._current(self._trials[number])
        training = self._trainings.pop(number)
        del self._slots[number]
        if training.code == 0 and trial.scores:
            trial = replace(trial, status="SUCCEEDED", final=max(trial.scores))
        else:
            trial = replace(trial, status="FAILED")
            self._errors[trial.id] = training.error()
        self._trials[number] = trial

    def _current(self, trial: Trial) -> Trial:
        """Return a trial as it is now."""
        if trial.number not in self._trainings:
            return trial
        scores = self._trainings[trial.number].scores()
        return replace(trial, scores=scores, seconds=time.monotonic() - self._clocks[trial.number])

    def _keep(self) -> None:
        write_text(self._file, json.dumps([asdict(trial) for trial in self._trials], indent=2) + "\n")


def _read(path: Path) -> list[Trial]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return [Trial(**{**one, "scores": tuple(one["scores"])}) for one in listed]
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
