"""The learning-rate finder: the loss while the rate rises from step to step, and which rate it speaks for.

Smith, "Cyclical learning rates for training neural networks", arXiv 1506.01186, section 3.3.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import count, islice

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch.optim.lr_scheduler import LambdaLR

from maskkit.config import FindLrConfig, RunFlags, TrainConfig
from maskkit.data.order import epoch_order, epoch_seed, rows_of, split_epoch
from maskkit.engine.folded import check_folds
from maskkit.engine.learning import Learning, build_learning
from maskkit.engine.memory import explaining_memory
from maskkit.engine.plan import Plan, make_plan
from maskkit.engine.rehearsal import rehearse
from maskkit.engine.step import Step
from maskkit.errors import TrainingError
from maskkit.plugin.contracts import Schedule
from maskkit.plugin.registry import Registry

__all__ = ["Curve", "find_lr"]

_HOPELESS = 4.0  # times the least loss so far
_FEWEST = 10  # steps before a loss is hopeless
_WIDTH = 0.04  # of the curve: the standard deviation of the bell that smooths it


@dataclass(frozen=True)
class Curve:
    """The loss of each step, float64 [N], at its learning rate, float64 [N], which rise by one factor."""

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]

    @property
    def smooth(self) -> NDArray[np.float64]:
        """The losses without the noise of single batches, float64 [N]."""
        smooth: NDArray[np.float64] = gaussian_filter1d(
            self.losses, sigma=max(1.0, _WIDTH * len(self.losses)), mode="nearest"
        )
        return smooth

    @property
    def least(self) -> float:
        """The rate with the least loss.

        Raises:
            TrainingError: the loss falls nowhere.
        """
        smooth = self.smooth
        if smooth.argmin() == 0:
            raise TrainingError(
                f"the loss falls nowhere between the learning rates {self.rates[0]:.1g} and {self.rates[-1]:.1g}",
                hint="Give others by --lowest and --highest, or more --steps.",
            )
        return float(self.rates[smooth.argmin()])

    @property
    def suggested(self) -> float:
        """A tenth of the rate with the least loss, beyond which it soon explodes, as many people choose it."""
        return self.least / 10


def find_lr(
    config: FindLrConfig, origins: Mapping[str, str], registry: Registry, on_step: Callable[[int, int], None]
) -> Curve:
    """Train for some steps, each at a higher learning rate than the last, and return what became of the loss.

    It ends where the loss explodes. Nothing is written. on_step: is told the steps that are done and are to be done.

    Raises:
        UsageError, DataError, WeightsError, PluginError: as of a training.
    """
    training = TrainConfig(**{one.name: getattr(config, one.name) for one in fields(RunFlags)})
    check_folds(training, origins)
    if training.folds is not None and training.fold is None:
        training = replace(training, fold=0)
    with explaining_memory():
        plan = make_plan(training, origins, registry)
        learning = build_learning(plan, is_resumed=False)
        rehearse(plan, learning)
        learning.begin_epoch(training.freeze_epochs)  # with all that ever learns
        rates = np.geomspace(config.lowest, config.highest, config.steps)
        learning = _at_rates(learning, rates, training.lr)
        losses: list[float] = []
        for loss in islice(_losses(plan, learning), config.steps):
            if not math.isfinite(loss):
                break
            losses.append(loss)
            on_step(len(losses), config.steps)
            if len(losses) > _FEWEST and np.mean(losses[-3:]) > _HOPELESS * min(losses):
                break
    if len(losses) < _FEWEST:
        raise TrainingError(
            f"the loss was lost after {len(losses)} steps, at a learning rate of {rates[len(losses)]:.1g}",
            hint="Begin with a smaller --lowest.",
        )
    return Curve(rates[: len(losses)], np.array(losses))


def _at_rates(learning: Learning, rates: NDArray[np.float64], lr: float) -> Learning:
    """Return what learns with those rates one after the other; layers keep their shares of them."""
    factors = [*(rates / lr), rates[-1] / lr]
    return replace(learning, schedule=Schedule(LambdaLR(learning.optimizer, factors.__getitem__), interval="step"))


def _losses(plan: Plan, learning: Learning) -> Iterator[float]:
    """Yield the loss of step after step, over as many epochs as are asked for."""
    config, num_images = plan.config, len(plan.samples)
    step = Step(learning, plan.variation, plan.targets, seed=config.seed, clip_norm=config.clip_norm)
    loader = plan.loader(plan.samples, often=True)
    torch.manual_seed(epoch_seed(config.seed, 0))
    for epoch in count():
        visits = epoch_order(
            plan.rows(held_out=False),
            seed=config.seed,
            epoch=epoch,
            weights=plan.drawing_weights(),
            num_images=num_images,
        )
        steps = split_epoch(visits, plan.batch_size, config.accumulate)
        batches = loader.batches([rows_of(one, num_images) for of_step in steps for one in of_step])
        for of_step in steps:
            loss, _ = step.take(epoch, islice(batches, len(of_step)), of_step, sum(map(len, of_step)))
            yield float(loss)
