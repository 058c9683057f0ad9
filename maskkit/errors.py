"""Every error that maskkit raises on purpose.

    MaskkitError               1   anything that maskkit can explain
    ├── UsageError             2   a flag, a word or a value on the command line or in a config file
    │   └── UnknownNameError   2   a component, command or flag that nothing offers
    ├── DataError              1   images, folders and tables of people
    │   └── PredictionError    1   a CSV file of predictions
    ├── PluginError            1   a plugin that cannot do what it announced
    ├── WeightsError           1   pretrained weights that cannot be had or do not fit
    ├── CheckpointError        1   a run folder or checkpoint that cannot be used
    ├── WorkerError            1   the processes that decode images
    ├── ProcessError           1   the processes that train together
    │   └── LostProcessError   1   another one has ended or cannot be reached
    ├── TuningError            1   a search for the best flags that cannot begin or go on
    └── TrainingError          1   a training that cannot go on
        └── NonFiniteLossError 1   the loss, or what the network gives, is NaN or infinite

The number is the exit code of the command that ends with it.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar

__all__ = [
    "CheckpointError",
    "DataError",
    "LostProcessError",
    "MaskkitError",
    "NonFiniteLossError",
    "PluginError",
    "PredictionError",
    "ProcessError",
    "TrainingError",
    "TuningError",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "WorkerError",
    "nearest",
]


class MaskkitError(Exception):
    """An error with a message for people: what was wrong and received, and a hint of what to type next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(MaskkitError):
    """The command line or a config file asks for something that cannot be understood."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that nothing offers; the nearest names are suggested."""


class DataError(MaskkitError):
    """The images, their folders or their tables are not what was described."""


class PredictionError(DataError):
    """A file of predictions cannot be read, or does not line up with the others."""


class PluginError(MaskkitError):
    """A plugin failed to give what it announced."""


class WeightsError(MaskkitError):
    """Pretrained weights cannot be had, fail their hash or do not fit the model."""


class CheckpointError(MaskkitError):
    """A run folder or a checkpoint is missing, damaged or of another version."""


class WorkerError(MaskkitError):
    """A process that decodes images could not be started, died or ran out of something."""


class ProcessError(MaskkitError):
    """The processes of a training cannot work together."""


class LostProcessError(ProcessError):
    """Another process of a training has ended or cannot be reached."""


class TuningError(MaskkitError):
    """A search for the best flags cannot begin, or cannot go on."""


class TrainingError(MaskkitError):
    """The training cannot go on."""


class NonFiniteLossError(TrainingError):
    """The loss, or what the network gives, became NaN or infinite."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return the valid name most like `name` whatever its case and dashes, or "" when none is near."""
    plain = {candidate.casefold().replace("-", "_"): candidate for candidate in valid}
    found = difflib.get_close_matches(name.casefold().replace("-", "_"), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else ""
