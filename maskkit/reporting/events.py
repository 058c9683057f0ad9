"""The events of a run, frozen records of plain values and numpy arrays, in the order in which they come.

on_run_start(RunStart)
  for each epoch:  on_epoch_start(EpochStart)
      for each step:  on_step_end(StepEnd)
      on_epoch_end(EpochEnd)
on_run_end(RunEnd)      always, also after a failure or Ctrl-C
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["METRIC_COLUMNS", "EpochEnd", "EpochStart", "Mistake", "RunEnd", "RunStart", "StepEnd"]

METRIC_COLUMNS = (
    "epoch",
    "lr",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_accuracy",
    "valid_f1_macro",
    "valid_mask_accuracy",
    "valid_gender_accuracy",
    "valid_age_accuracy",
    "seconds",
    "images_per_second",
)
"""The columns of metrics.csv; epochs count from 0, seconds cover the whole epoch, the speed training alone."""


@dataclass(frozen=True)
class RunStart:
    """The plan of a run: where it writes, its config, and what was decided, a short text for each subject.

    A resumed run goes on at `first_epoch`, after `total_steps` steps: what a reporter wrote of later ones was lost with
    them, and is to be taken back.
    """

    run_dir: Path
    config: Mapping[str, Any]
    classes: tuple[str, ...]
    epochs: int
    steps_per_epoch: int
    plan: Mapping[str, str]
    notices: tuple[str, ...] = ()
    first_epoch: int = 0
    total_steps: int = 0


@dataclass(frozen=True)
class EpochStart:
    """An epoch, counted from 0, begins."""

    epoch: int
    epochs: int
    steps: int


@dataclass(frozen=True)
class StepEnd:
    """A step, counted from 1 within its epoch, is done.

    `loss` is the mean since the last report; it is None between reports, because reading it would make the
    accelerator wait.
    """

    epoch: int
    step: int
    total_steps: int
    loss: float | None
    lr: float


@dataclass(frozen=True)
class Mistake:
    """A held-out image with a wrong answer: its true class, the one it was given, and how probable that seemed."""

    path: str
    truth: int
    predicted: int
    probability: float


@dataclass(frozen=True)
class EpochEnd:
    """The figures of an epoch.

    metrics: by METRIC_COLUMNS; None where a view has no such axis.
    counts: validation confusion counts int64 [K, K], rows the truth.
    class_f1: the F1 of each of the K classes.
    mistakes: the most confident ones, the surest first.
    """

    metrics: Mapping[str, float | None]
    counts: "NDArray[np.int64]"
    is_best: bool
    class_f1: tuple[float, ...] = ()
    mistakes: tuple[Mistake, ...] = ()

    @property
    def epoch(self) -> int:
        return int(self.metrics["epoch"] or 0)

    @property
    def macro_f1(self) -> float:
        value = self.metrics["valid_f1_macro"]
        return float("nan") if value is None else value


@dataclass(frozen=True)
class RunEnd:
    """How a run ended, its best epoch, and the first line of the error when it failed."""

    status: Literal["completed", "stopped early", "interrupted", "failed"]
    best: EpochEnd | None
    error: str = ""
