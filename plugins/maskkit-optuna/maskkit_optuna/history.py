"""The trials of a study as those of a search: a trial that was interrupted and its retries are one."""

from collections.abc import Sequence
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from maskkit import Trial

__all__ = ["ERROR", "FLAGS", "PRUNED", "RESULT", "SECONDS", "SURPLUS", "History", "origin_of"]

FLAGS, SECONDS, RESULT, PRUNED, ERROR, SURPLUS = "flags", "seconds", "result", "is_pruned", "error", "is_surplus"
"""What is noted on a trial of a study: what it trains with, the seconds of each epoch, the figures of its best epoch
and whether it was ended as hopeless, why it failed, and whether it was one too many, which is never trained."""

_STATES = {
    TrialState.COMPLETE: "SUCCEEDED",
    TrialState.PRUNED: "PRUNED",
    TrialState.FAIL: "FAILED",
    TrialState.RUNNING: "RUNNING",
    TrialState.WAITING: "WAITING",
}


class History:
    """All trials of a study, in the order of their numbers."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        self._chains: dict[int, list[FrozenTrial]] = {}
        for trial in trials:
            if SURPLUS not in trial.user_attrs:
                self._chains.setdefault(origin_of(trial), []).append(trial)

    def __len__(self) -> int:
        return len(self._chains)

    def place_of(self, trial: FrozenTrial) -> int:
        """Return which one of the search a trial is, from 0, also where it is not in the history itself."""
        origin = origin_of(trial)
        return sum(number < origin for number in self._chains)

    def is_waiting(self) -> bool:
        """Return whether a trial was interrupted and nobody has taken it up."""
        return any(chain[-1].state is TrialState.WAITING for chain in self._chains.values())

    def is_unfinished(self) -> bool:
        return any(not chain[-1].state.is_finished() for chain in self._chains.values())

    def running(self) -> list[FrozenTrial]:
        return [chain[-1] for chain in self._chains.values() if chain[-1].state is TrialState.RUNNING]

    def trials(self) -> list[Trial]:
        return [_trial(place, number, chain) for place, (number, chain) in enumerate(sorted(self._chains.items()))]

    def error_of(self, trial: Trial) -> str:
        last = self._chains[int(trial.id)][-1]
        return str(last.user_attrs.get(ERROR, "its worker was lost, and so were those that began it again"))


def origin_of(trial: FrozenTrial) -> int:
    """Return the number of the trial that this one is, or that it begins again."""
    return int(trial.system_attrs.get("failed_trial", trial.number))  # as Optuna's own callback notes it


def _trial(place: int, number: int, chain: list[FrozenTrial]) -> Trial:
    last = chain[-1]
    spans = [_seconds(one) for one in chain if one.datetime_start is not None]
    return Trial(
        id=str(number),
        number=place,
        status=_STATES[last.state],
        flags=last.user_attrs.get(FLAGS, {}),
        scores=tuple(score for _, score in sorted(last.intermediate_values.items())),
        final=last.values[0] if last.state is TrialState.COMPLETE else None,
        seconds=sum(spans) if spans else None,
    )


def _seconds(trial: FrozenTrial) -> float:
    assert trial.datetime_start is not None  # noqa: S101  that was seen before
    now = datetime.now()  # noqa: DTZ005  as Optuna writes it, by the clock of whoever trains
    return max(0.0, ((trial.datetime_complete or now) - trial.datetime_start).total_seconds())
