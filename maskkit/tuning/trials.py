"""The trials of a search, and how trials.csv keeps them."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskkit.files import write_text

__all__ = ["Trial", "best_of", "write_trials"]

_ENDED = {"SUCCEEDED", "FAILED", "PRUNED", "USER_CANCELED", "SYS_CANCELED", "EARLY_STOPPED"}


@dataclass(frozen=True)
class Trial:
    """One training of a search.

    number: from 0, in the order of their starts. status: WAITING, RUNNING, SUCCEEDED, FAILED, or PRUNED where it was
    ended as hopeless; NNI has some more. flags: what the engine chose, by flag.
    scores: validation macro F1 of each epoch. final: what counts in the end, None for a trial that did not end well.
    seconds: from its start to its end, or until now; None before its start.
    """

    id: str
    number: int
    status: str
    flags: Mapping[str, Any]
    scores: tuple[float, ...]
    final: float | None
    seconds: float | None

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED

    @property
    def score(self) -> float:
        """The best validation macro F1 so far, NaN before the first."""
        return self.final if self.final is not None else max(self.scores, default=math.nan)


def best_of(trials: Iterable[Trial]) -> Trial | None:
    """Return the trial with the highest final score, the earliest of equals; None when none has one."""
    ended = [trial for trial in trials if trial.final is not None]
    return max(ended, key=lambda trial: trial.score, default=None)


def write_trials(path: Path, trials: Iterable[Trial]) -> None:
    """Write trials.csv: a row a trial, with a column for each flag that was searched."""
    trials = list(trials)
    names = list(dict.fromkeys(name for trial in trials for name in trial.flags))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["number", "trial", "status", "valid_f1_macro", "epochs", "seconds", *names])
    for trial in trials:
        score = "" if math.isnan(trial.score) else f"{trial.score:.10g}"
        seconds = "" if trial.seconds is None else f"{trial.seconds:.1f}"
        row = [trial.number, trial.id, trial.status, score, len(trial.scores), seconds]
        writer.writerow([*row, *(_cell(trial.flags.get(name, "")) for name in names)])
    write_text(path, text.getvalue())


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, Mapping | list) else value
