"""A worker of a study: it takes trials, has them trained, and tells what became of them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna import Study
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import TrialState

from maskkit import LocalTraining, Search, Trial, as_flags
from maskkit.errors import MaskkitError
from maskkit_optuna.history import ERROR, FLAGS, PRUNED, RESULT, SURPLUS, History, origin_of
from maskkit_optuna.link import Link
from maskkit_optuna.parameters import suggest
from maskkit_optuna.storage import explaining, quietly, retry, shown

__all__ = ["OptunaExperiment"]


@dataclass(frozen=True)
class _Running:
    trial: optuna.Trial
    training: LocalTraining
    slot: int

    @property
    def key(self) -> int:
        """The key of the trial in the database."""
        return self.trial._trial_id  # noqa: SLF001  Optuna has no public name for it


class OptunaExperiment:
    """The trials that this process trains, within a study that others may work on at the same time.

    Every trial is claimed in the database, so it has one worker. A worker gives signs of life for its trials; the trial
    of one that gives none any more is failed by whoever notices, and put into the queue again.
    """

    memory: Mapping[str, Any] = {}

    def __init__(self, search: Search, study: Study, storage: RDBStorage, *, num_trials: int, retries: int) -> None:
        self._search, self._study, self._storage = search, study, storage
        self._num_trials, self._retries = num_trials, retries
        self.id = study.study_name
        self._running: list[_Running] = []
        self._history = self._read()
        self._interval = storage.get_heartbeat_interval() or 60
        self._last_beat = -float("inf")
        self._vouched: set[int] = set()

    def opening(self) -> Sequence[str]:
        url = shown(self._storage.url)
        return [f"study      {self.id} in {url}", f"watch it   optuna-dashboard {url}"]

    def closing(self) -> Sequence[str]:
        if len(self._study.directions) == 1:
            return []
        best = sorted(self._study.best_trials, key=lambda trial: trial.values[0], reverse=True)
        lines = [
            f"  trial {self._history.place_of(one):>3}  F1 {one.values[0]:.4f}  {one.values[1]:.1f} s" for one in best
        ]
        return ["no trial is better than these in both macro F1 and seconds of training:", *lines]

    def trials(self) -> Sequence[Trial]:
        return self._history.trials()

    def error_of(self, trial: Trial) -> str:
        return self._history.error_of(trial)

    def advance(self) -> bool:
        """Tell of trainings that ended, give signs of life, and take trials up while there are some to take.

        Raises:
            TuningError: the database does not answer.
        """
        with explaining(self._storage.url):
            return self._advance()

    def _advance(self) -> bool:
        for running in [one for one in self._running if one.training.code is not None]:
            self._running.remove(running)
            self._tell(running)
        if time.monotonic() - self._last_beat >= self._interval:
            self._last_beat = time.monotonic()
            self._beat()
            self._take_from_the_dead()
        while len(self._running) < self._search.concurrency and self._take():
            pass
        self._history = self._read()
        return bool(self._running) or self._history.is_unfinished() or len(self._history) < self._num_trials

    def stop(self) -> None:
        """End the trainings, and leave their trials to whoever goes on."""
        running, self._running = self._running, []
        LocalTraining.end(one.training for one in running)
        with explaining(self._storage.url):
            for one in running:
                if one.training.code == 0:
                    self._tell(one)
                elif self._finish(one, TrialState.FAIL):
                    self._retry(one, for_ever=True)
            self._history = self._read()

    def _read(self) -> History:
        return History(self._study.get_trials(deepcopy=False))

    def _take(self) -> bool:
        """Take up a trial that waits, or a new one, and return whether there was one to take."""
        history = self._read()
        if not history.is_waiting() and len(history) >= self._num_trials:
            return False
        with quietly():
            trial = self._study.ask()
        key = trial._trial_id  # noqa: SLF001  Optuna has no public name for it
        self._storage.record_heartbeat(key)
        if self._read().place_of(self._storage.get_trial(key)) >= self._num_trials:  # others were faster
            trial.set_user_attr(SURPLUS, value=True)
            self._study.tell(trial, state=TrialState.FAIL)
            return False
        self._train(trial, key)
        return True

    def _train(self, trial: optuna.Trial, key: int) -> None:
        with quietly():
            flags = trial.user_attrs.get(FLAGS) or as_flags(suggest(trial, self._search.space))
        trial.set_user_attr(FLAGS, flags)
        name = str(origin_of(self._storage.get_trial(key)))
        slot = min({*range(self._search.concurrency)} - {one.slot for one in self._running})
        link = Link(self._storage.url, self.id, key)
        try:
            training = LocalTraining.start(
                self._search, self.id, name, flags, slot=slot, reporters=["optuna"], environment=link.environment
            )
        except MaskkitError as error:  # a value that is drawn from a bell may be none of the flag's
            trial.set_user_attr(ERROR, error.message)
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._running.append(_Running(trial, training, slot))

    def _tell(self, running: _Running) -> None:
        """Tell the study what became of a training that has ended."""
        notes = self._storage.get_trial(running.key).user_attrs
        if running.training.code != 0 or RESULT not in notes:
            self._note(running, ERROR, running.training.error())
            if self._finish(running, TrialState.FAIL) and running.training.was_interrupted:
                self._retry(running)
        elif notes.get(PRUNED):
            self._finish(running, TrialState.PRUNED)
        else:
            self._finish(running, TrialState.COMPLETE, notes[RESULT])

    def _finish(self, running: _Running, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Return whether the trial was still ours to finish: a worker that was away for long may have lost it."""
        if self._storage.get_trial(running.key).state.is_finished():
            return False
        with quietly():
            self._study.tell(running.trial, values, state=state, skip_if_finished=True)
        return True

    def _retry(self, running: _Running, *, for_ever: bool = False) -> None:
        """Put a trial into the queue again, unless it was there too often already."""
        retry(self._study, self._storage.get_trial(running.key), None if for_ever else self._retries)

    def _note(self, running: _Running, key: str, value: Any) -> None:
        try:
            running.trial.set_user_attr(key, value)
        except UpdateFinishedTrialError:
            return  # the trial was taken from us

    def _beat(self) -> None:
        """Give signs of life, and end trainings whose trials others took, since we had given none for too long."""
        lost = [one for one in self._running if self._storage.get_trial(one.key).state.is_finished()]
        LocalTraining.end(one.training for one in lost)
        self._running = [one for one in self._running if one not in lost]
        for one in self._running:
            self._storage.record_heartbeat(one.key)

    def _take_from_the_dead(self) -> None:
        """Fail the trials of workers that give no sign of life, and put them into the queue."""
        with quietly():
            fail_stale_trials(self._study)
        # A worker may have died between its claim and its first sign of life, which only counts from there.
        mine = {one.key for one in self._running}
        long_ago = datetime.now() - timedelta(seconds=2 * self._interval)  # noqa: DTZ005  as Optuna writes it
        for trial in self._read().running():
            key = trial._trial_id  # noqa: SLF001  Optuna has no public name for it
            is_old = trial.datetime_start is not None and trial.datetime_start < long_ago
            if is_old and key not in mine | self._vouched and not trial.intermediate_values:
                self._vouched.add(key)
                self._storage.record_heartbeat(key)
