"""maskkit within a trial of NNI: the tuner's parameters come in, validation macro F1 goes out.

NNI is imported only within a trial; elsewhere in maskkit by algorithms.py, which NNI's own process loads.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType

from maskkit.config import TrainConfig
from maskkit.errors import MaskkitError
from maskkit.files import runs_folder
from maskkit.flags import Layer
from maskkit.reporting.events import EpochEnd, RunEnd
from maskkit.reporting.reporter import Reporter
from maskkit.tuning.trainings import as_flags

__all__ = ["INSTALL", "NniReporter", "as_trial", "in_trial", "parameters_as_flags", "tuned_layer"]

INSTALL = "Type: pip install 'maskkit[nni]'"

_SIGNS = ("NNI_PLATFORM", "NNI_TRIAL_COMMAND_CHANNEL")
_BUDGET = "TRIAL_BUDGET"  # the epochs that Hyperband gives to a trial


def in_trial() -> bool:
    """Return whether NNI started this process as a trial."""
    return any(sign in os.environ for sign in _SIGNS)


def tuned_layer() -> Layer:
    """Take the tuner's parameters, once and before anything that can fail: else it hands them out again, and dies.

    Raises:
        MaskkitError: NNI is not installed here.
    """
    return Layer("the tuner", parameters_as_flags(_nni().get_next_parameter() or {}), is_file=True)


def as_trial(config: TrainConfig, sources: Mapping[str, str]) -> tuple[TrainConfig, dict[str, str]]:
    """Return the config and the origins of a trial's run: below the experiment's id, named by the trial, reporting.

    A trial that was interrupted with its experiment, and runs again when that goes on, goes on with its run.
    """
    experiment, trial = (os.environ.get(name, "unknown") for name in ("NNI_EXP_ID", "NNI_TRIAL_JOB_ID"))
    folder, name = runs_folder(config.model_dir) / experiment, f"{config.name}-{trial}"
    if (folder / name / "config.json").exists():
        return TrainConfig(resume=folder / name), dict.fromkeys(sources, "default")
    run = replace(config, model_dir=folder, name=name, reporters=(*config.reporters, "nni"))
    return run, {**sources, "model_dir": "the trial", "name": "the trial"}


class NniReporter(Reporter):
    """Tells the tuner validation macro F1: of each epoch, and once at the end the best; outside a trial, nothing."""

    is_needed = True

    def __init__(self) -> None:
        self._nni = _nni() if in_trial() else None

    def on_epoch_end(self, result: EpochEnd) -> None:
        if self._nni is not None and math.isfinite(result.macro_f1):
            self._nni.report_intermediate_result(result.macro_f1)

    def on_run_end(self, outcome: RunEnd) -> None:
        """Report the best epoch of a run that ended well; a trial without a final result counts as failed."""
        is_whole = outcome.status in {"completed", "stopped early"}
        if self._nni is not None and is_whole and outcome.best is not None:
            self._nni.report_final_result(outcome.best.macro_f1)


def _nni() -> ModuleType:
    try:
        import nni
    except ImportError as error:
        raise MaskkitError(f"this is a trial of NNI, but NNI cannot be imported: {error}", hint=INSTALL) from error
    module: ModuleType = nni
    return module


def parameters_as_flags(parameters: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters of a trial by flag; a budget is so many epochs."""
    flags = as_flags({name: value for name, value in parameters.items() if name != _BUDGET})
    return flags | ({"epochs": parameters[_BUDGET]} if _BUDGET in parameters else {})
