"""A study and what it is of: made by the first who comes, joined by the others."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import optuna
from optuna import Study
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage

from maskkit.errors import TuningError, UsageError
from maskkit_optuna.choosing import Pruner, make_pruner
from maskkit_optuna.history import PRUNED, RESULT, SECONDS
from maskkit_optuna.link import Link
from maskkit_optuna.storage import open_storage, quietly, shown

__all__ = ["DIRECTIONS", "Plan", "TrialOfStudy", "join"]

DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {"f1": "maximize", "seconds": "minimize"}
"""By the name of an objective, which way is better."""

_PLAN = "maskkit"


@dataclass(frozen=True)
class Plan:
    """What all workers of a study must agree on: space and flags, what counts, and what ends a hopeless trial."""

    space: Mapping[str, Any]
    flags: Mapping[str, Any]
    objectives: tuple[str, ...]
    pruner: Pruner
    epochs: int

    @property
    def record(self) -> dict[str, Any]:
        """As JSON gives it back."""
        record: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return record


def join(storage: RDBStorage, name: str, plan: Plan, sampler: BaseSampler, pruner: BasePruner) -> Study:
    """Make a study, or join it.

    Raises:
        UsageError: there is one of that name, of something else.
    """
    with quietly():
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            sampler=sampler,
            pruner=pruner,
            directions=[DIRECTIONS[one] for one in plan.objectives],
            load_if_exists=True,
        )
    kept = study.user_attrs.get(_PLAN)
    if kept is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(_PLAN, plan.record)
    elif kept != plan.record:
        differ = [one for one in plan.record if plan.record[one] != (kept or {}).get(one)]
        raise UsageError(
            f"there is a study {name} with another {' and '.join(differ)} in {shown(storage.url)}",
            hint="Give what it was begun with, to join it, or another name: --engine_args=study=NAME",
        )
    return study


class TrialOfStudy:
    """The side of a training: what it tells of its trial, and what it asks.

    Raises:
        TuningError: the study cannot be reached, or is none of maskkit's.
    """

    def __init__(self, link: Link) -> None:
        self._storage, self._trial = open_storage(link.storage), link.trial
        with quietly():
            self._study = optuna.load_study(study_name=link.study, storage=self._storage)
        plan = self._study.user_attrs.get(_PLAN)
        if plan is None:
            raise TuningError(f"the study {link.study} was not begun by maskkit tune --engine=optuna")
        self._objectives: list[str] = plan["objectives"]
        self._pruner = make_pruner(plan["pruner"], plan["epochs"])
        self._seconds: list[float] = []

    def begin(self, first_epoch: int) -> None:
        """Note that the run begins, or goes on, at an epoch."""
        self._seconds = self._note().get(SECONDS, [])[:first_epoch]
        self._set(PRUNED, value=False)

    def report(self, epoch: int, score: float, seconds: float) -> None:
        """Tell macro F1 and the seconds of an epoch."""
        self._seconds.append(seconds)
        self._set(SECONDS, self._seconds)
        self._storage.set_trial_intermediate_value(self._trial, epoch, score)

    def should_prune(self) -> bool:
        """Return whether the trial is hopeless, and note it."""
        if len(self._objectives) > 1:
            return False
        with quietly():
            is_hopeless = self._pruner.prune(self._study, self._storage.get_trial(self._trial))
        if is_hopeless:
            self._set(PRUNED, value=True)
        return is_hopeless

    def end(self, score: float) -> None:
        """Tell the figures that count, of the whole run."""
        figures = {"f1": score, "seconds": sum(self._seconds)}
        self._set(RESULT, [figures[one] for one in self._objectives])

    def _note(self) -> dict[str, Any]:
        return self._storage.get_trial(self._trial).user_attrs

    def _set(self, key: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._trial, key, value)
