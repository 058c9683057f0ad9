"""The reporter of a trial: each epoch goes to the study, which may end the run."""

import math

from maskkit import EpochEnd, Reporter, RunEnd, RunStart, StopRun
from maskkit_optuna.link import Link

__all__ = ["OptunaReporter"]


class OptunaReporter(Reporter):
    """Tells the study validation macro F1 of each epoch, and at the end the best; outside a trial, nothing.

    A trial that the pruner of the study holds for hopeless ends with its epoch.
    """

    is_needed = True

    def __init__(self) -> None:
        link = Link.found()
        self._study = None
        if link is not None:
            from maskkit_optuna.study import TrialOfStudy

            self._study = TrialOfStudy(link)

    def on_run_start(self, run: RunStart) -> None:
        self._epochs = run.epochs
        if self._study is not None:
            self._study.begin(run.first_epoch)

    def on_epoch_end(self, result: EpochEnd) -> None:
        if self._study is None or not math.isfinite(result.macro_f1):
            return
        self._study.report(result.epoch, result.macro_f1, result.metrics["seconds"] or 0.0)
        if result.epoch + 1 < self._epochs and self._study.should_prune():
            raise StopRun

    def on_run_end(self, outcome: RunEnd) -> None:
        """Report the best epoch of a run that ended well; a trial without a result has failed."""
        is_whole = outcome.status in {"completed", "stopped early"}
        if self._study is not None and is_whole and outcome.best is not None:
            self._study.end(outcome.best.macro_f1)
