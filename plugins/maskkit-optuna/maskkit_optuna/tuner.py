"""The engine Optuna: its options, what it refuses, and how a study is begun, joined and gone on with."""

import re
import secrets
from collections.abc import Mapping
from typing import Any, Literal

from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from maskkit import Search
from maskkit.errors import UsageError
from maskkit_optuna import grid
from maskkit_optuna.choosing import SAMPLERS, PlacedSampler, Pruner, make_pruner
from maskkit_optuna.experiment import OptunaExperiment
from maskkit_optuna.history import History
from maskkit_optuna.storage import open_storage
from maskkit_optuna.study import Plan, join

__all__ = ["OptunaTuner"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_OF_ONE = {"CMA-ES", "Hyperband"}  # which know one objective
_MOST_POINTS = 100_000  # of a grid
_OF_A_MACHINE = {"data_dir", "eval_dir", "model_dir", "device", "num_workers", "cache", "reporters", "reporters_args"}
"""Flags in which the workers of a study may differ."""


class OptunaTuner:
    """Searches with Optuna, in a study that any number of processes and machines work on.

    storage: the URL of a database; else a SQLite file beside the runs, optuna.db.
    study: its name; with that of one that exists, its search is joined. Else a new one.
    objectives: what counts: f1, or f1+seconds for the best trade-offs with the seconds of training.
    pruner: what ends hopeless trials; else median, and none where seconds count too.
    seed: of what is proposed; else --seed.
    heartbeat: seconds between two signs of life of a trial; without any for twice as long, its worker counts as dead.
    retries: how often a trial begins again that was killed, or whose worker was.

    Raises:
        ValueError: an option does not fit.
    """

    is_local = True

    def __init__(
        self,
        *,
        algorithm: str,
        storage: str | None = None,
        study: str | None = None,
        objectives: Literal["f1", "f1+seconds"] = "f1",
        pruner: Pruner | None = None,
        seed: int | None = None,
        heartbeat: int = 60,
        retries: int = 3,
    ) -> None:
        self._algorithm, self._storage, self._name = algorithm, storage, study
        self._objectives = tuple(objectives.split("+"))
        self._seed, self._heartbeat, self._retries = seed, heartbeat, retries
        if len(self._objectives) > 1 and algorithm in _OF_ONE:
            raise ValueError(f"objectives must be f1 for --tuner={algorithm}")
        self._pruner = _pruner(algorithm, self._objectives, pruner)
        if study is not None and not _NAME.fullmatch(study):
            raise ValueError(f"study must be letters, digits, '_', '-' and '.'; received {study!r}")
        if heartbeat < 1 or retries < 0 or (seed is not None and seed < 0):
            raise ValueError("heartbeat must be at least 1, retries and seed at least 0")

    def objection(self, parameter: str, entry: Mapping[str, Any]) -> str:
        if self._algorithm == "Grid" and grid.is_endless(entry):
            return "has no end of values, which --tuner=Grid cannot try"
        if self._pruner == "Hyperband" and parameter == "epochs":
            return "is what Hyperband shortens itself"
        return ""

    def check(self, search: Search) -> None:
        """Refuse what cannot be searched, and a database that cannot be reached.

        Raises:
            UsageError: the grid is too large.
            TuningError: the database refuses.
        """
        if self._algorithm == "Grid" and grid.size(search.space) > _MOST_POINTS:
            raise UsageError(
                f"the space has {grid.size(search.space):,} points, and --tuner=Grid takes {_MOST_POINTS:,} at most",
                hint="Leave values out, or choose another --tuner, as TPE.",
            )
        open_storage(self._url(search)).engine.dispose()

    def start(self, search: Search) -> OptunaExperiment:
        """Begin a search, or join the one of the study that is named."""
        return self.resume(search, self._name or secrets.token_hex(4), {})

    def resume(self, search: Search, name: str, memory: Mapping[str, Any]) -> OptunaExperiment:  # noqa: ARG002
        """Go on with a study.

        Raises:
            UsageError: it is one of something else.
        """
        storage = open_storage(self._url(search), heartbeat=self._heartbeat, retries=self._retries)
        flags = {one: value for one, value in search.fixed.items() if one not in _OF_A_MACHINE}
        plan = Plan(search.space, flags, self._objectives, self._pruner, search.epochs)
        seed = search.seed if self._seed is None else self._seed
        points = grid.points(search.space, seed) if self._algorithm == "Grid" else []

        def place_of(trial: FrozenTrial) -> int:
            return History(study.get_trials(deepcopy=False)).place_of(trial)

        def make(drawn: int, place: int) -> BaseSampler:
            return grid.PointSampler(points[place % len(points)]) if points else SAMPLERS[self._algorithm](drawn)

        pruner = make_pruner(self._pruner, search.epochs)
        study = join(storage, name, plan, PlacedSampler(seed, make, place_of), pruner)
        num_trials = min(search.trials, len(points)) if points else search.trials
        return OptunaExperiment(search, study, storage, num_trials=num_trials, retries=self._retries)

    def _url(self, search: Search) -> str:
        return self._storage or f"sqlite:///{(search.runs / 'optuna.db').absolute()}"


def _pruner(algorithm: str, objectives: tuple[str, ...], asked: Pruner | None) -> Pruner:
    """Return the pruner that is asked for, or that fits.

    Raises:
        ValueError: another is asked for than fits.
    """
    if len(objectives) > 1:
        fitting: Pruner = "none"
    elif algorithm == "Hyperband":
        fitting = "Hyperband"
    else:
        return asked or "median"
    if asked not in {None, fitting}:
        raise ValueError(f"pruner must be {fitting} with these objectives and this --tuner; received {asked}")
    return fitting
