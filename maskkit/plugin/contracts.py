"""What the factory of each kind takes and gives; the engine passes the keywords named here and the user's options.

Options arrive from flags such as `--model_args='{"drop": 0.3}'` and are bound to the factory's own signature, so a
factory spells its keywords out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from maskkit.data.augmentation import Augmentation, Draws
    from maskkit.data.samples import Samples
    from maskkit.reporting.reporter import Reporter
    from maskkit.tuning.search import Search
    from maskkit.tuning.trials import Trial

__all__ = ["RESERVED", "AugmentationFactory", "CommandFunction", "DatasetFactory", "Experiment", "LossFactory", "Mix"]
__all__ += ["MixFactory", "ModelFactory", "OptimizerFactory", "ReporterFactory", "Schedule", "SchedulerFactory"]
__all__ += ["Tuner", "TunerFactory", "VoteFactory", "VoteRule"]


class ModelFactory(Protocol):
    """A network: float images [B, 3, H, W] -> logits [B, num_outputs]."""

    def __call__(self, num_outputs: int, *, pretrained: bool, **options: Any) -> "nn.Module": ...


class LossFactory(Protocol):
    """A loss: (float32 logits [B, C], targets int64 [B], or float [B, C] with `soft_targets`) -> scalar.

    `class_counts` holds the number of training images of each class, int64 [C].
    """

    def __call__(self, *, num_classes: int, class_counts: "NDArray[np.int64]", **options: Any) -> "nn.Module": ...


class AugmentationFactory(Protocol):
    """Preprocessing to (height, width), and what training adds to it."""

    def __call__(self, *, size: tuple[int, int], **options: Any) -> "Augmentation": ...


Mix = Callable[["Tensor", "Tensor", "Draws"], tuple["Tensor", "Tensor"]]
"""(images float [B, 3, H, W] in [0, 1], soft targets float [B, num_classes], draws) -> the same, mixed.

Whatever is random comes from the draws; the rows of the targets go on summing to 1.
"""


class MixFactory(Protocol):
    """A way of mixing the images of a training batch with each other, after they were augmented.

    `num_classes` is 18 whatever the run learns, since every view is taken from the 18 classes.
    """

    def __call__(self, *, num_classes: int, **options: Any) -> Mix: ...


class DatasetFactory(Protocol):
    """A reader of a folder; `data_dir` is None where none is named, as for a data set that brings its own images."""

    def __call__(self, data_dir: Path | None, **options: Any) -> "Samples": ...


class OptimizerFactory(Protocol):
    """A torch optimizer of the parameters."""

    def __call__(
        self, parameters: "Iterable[nn.Parameter]", *, lr: float, weight_decay: float, **options: Any
    ) -> "Optimizer": ...


@dataclass(frozen=True)
class Schedule:
    """A torch scheduler, when it steps, and the column of metrics.csv that it watches, when it watches one."""

    scheduler: Any
    interval: Literal["epoch", "step"] = "epoch"
    monitor: str | None = None


class SchedulerFactory(Protocol):
    """A schedule of the learning rate over `epochs` of `steps_per_epoch` steps."""

    def __call__(self, optimizer: "Optimizer", *, epochs: int, steps_per_epoch: int, **options: Any) -> Schedule: ...


class ReporterFactory(Protocol):
    """A reporter; it learns of the run in on_run_start."""

    def __call__(self, **options: Any) -> "Reporter": ...


VoteRule = Callable[["NDArray[np.float64]", "NDArray[np.float64]"], "NDArray[np.float64]"]
"""(probabilities [M, N, K], weights [M]) -> mixed probabilities [N, K]."""


class VoteFactory(Protocol):
    """A rule of voting."""

    def __call__(self, **options: Any) -> VoteRule: ...


class Experiment(Protocol):
    """A search that runs: whoever shows it asks it again and again, about once a second.

    id: names the folder of its runs, and goes on with it by --resume. memory: what going on needs beside, as JSON can
    hold it.
    """

    @property
    def id(self) -> str: ...

    @property
    def memory(self) -> Mapping[str, Any]: ...

    def opening(self) -> Sequence[str]:
        """Return lines to show at its start, such as where it can be watched."""

    def advance(self) -> bool:
        """Do what is due, without waiting, and return whether anything is still to come."""

    def trials(self) -> "Sequence[Trial]":
        """Return the trials so far, in the order of their starts."""

    def error_of(self, trial: "Trial") -> str:
        """Return what a trial that failed gave as its error, "" where that cannot be had."""

    def closing(self) -> Sequence[str]:
        """Return lines to show at its end beside the best trial."""

    def stop(self) -> None:
        """End every process of it; what had not ended goes on when the search does."""


class Tuner(Protocol):
    """An engine of searches.

    is_local: its trials are all trained on this machine, so that data and device are tried here before it starts.
    """

    @property
    def is_local(self) -> bool: ...

    def objection(self, parameter: str, entry: Mapping[str, Any]) -> str:
        """Return why a parameter of a space cannot be searched, as in "is ..", and "" where it can."""

    def check(self, search: "Search") -> None:
        """Raise a MaskkitError where something is missing that the search needs."""

    def start(self, search: "Search") -> Experiment:
        """Begin a search."""

    def resume(self, search: "Search", name: str, memory: Mapping[str, Any]) -> Experiment:
        """Go on with the search of that id: no trial that had ended runs again."""


class TunerFactory(Protocol):
    """An engine of searches; `algorithm` is one of its Component's `algorithms`, by --tuner or else the first."""

    def __call__(self, *, algorithm: str, **options: Any) -> Tuner: ...


CommandFunction = Callable[..., int | None]
"""A command of its own: words are positional-only, or a last `*files`; flags are keyword-only.

Each is annotated with a type and a sentence for the help, as in `Annotated[int, "Images at once."]`. The lines of the
docstring that begin with "maskkit " are the examples of the help, below the Component's summary. What the function
returns is the exit code, 0 for None.
"""

RESERVED = {
    "model": {"num_outputs", "pretrained"},
    "loss": {"num_classes", "class_counts"},
    "augmentation": {"size"},
    "mix": {"num_classes"},
    "dataset": {"data_dir"},
    "optimizer": {"parameters", "lr", "weight_decay"},
    "scheduler": {"optimizer", "epochs", "steps_per_epoch"},
    "reporter": set[str](),
    "vote": set[str](),
    "tuner": {"algorithm"},
    "command": set[str](),
}
"""By kind, the arguments that the engine passes; every other keyword of a factory is an option of the user's."""
