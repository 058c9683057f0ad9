"""The training loop, readable top to bottom."""

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskkit.data.images import first_few
from maskkit.data.loader import ImageLoader
from maskkit.data.order import epoch_order, epoch_seed, rows_of, split_epoch
from maskkit.data.samples import Samples
from maskkit.engine.distributed import ALONE, World
from maskkit.engine.learning import Learning
from maskkit.engine.progress import Progress
from maskkit.engine.step import Step
from maskkit.engine.validation import Validation
from maskkit.engine.variation import Variation
from maskkit.errors import NonFiniteLossError
from maskkit.reporting.events import EpochEnd, EpochStart, StepEnd
from maskkit.reporting.reporter import Reporters

__all__ = ["Settings", "Trainer"]

Save = Callable[[str, Mapping[str, Any], EpochEnd], None]


@dataclass(frozen=True)
class Settings:
    """The numbers of a training; in a step, each process learns from `accumulate` batches of `batch_size` images."""

    epochs: int
    batch_size: int
    accumulate: int
    seed: int
    log_interval: int
    clip_norm: float | None
    patience: int


@dataclass
class _Interval:
    """What happened since the device was last waited for."""

    losses: list[Tensor] = field(default_factory=list)
    rows: list[Tensor] = field(default_factory=list)


class Trainer:
    """Trains on some rows of a table, an epoch at a time, and keeps the best epoch and the last.

    targets: the class 0..17 that each image of the table is trained as, int64 [N].
    weights: in which proportions the rows are drawn, float64; None draws each once in an epoch.
    world: the processes that share the batches of a step; all of them then have the same weights.
    """

    def __init__(
        self,
        *,
        learning: Learning,
        variation: Variation,
        loader: ImageLoader,
        samples: Samples,
        targets: NDArray[np.int64],
        train_rows: Tensor,
        weights: Tensor | None = None,
        validation: Validation,
        settings: Settings,
        reporters: Reporters,
        save: Save,
        progress: Progress,
        world: World = ALONE,
    ) -> None:
        self.learning, self.loader, self.samples = learning, loader, samples
        self.train_rows, self.weights, self.validation = train_rows, weights, validation
        self.settings, self.reporters, self.save = settings, reporters, save
        self.progress, self.world = progress, world
        self.device = learning.classifier.device
        self.step = Step(learning, variation, targets, seed=settings.seed, clip_norm=settings.clip_norm, world=world)
        self.total_steps = progress.total_steps
        self.stopped_early = False

    def fit(self) -> None:
        """Train every epoch that is left, or until `patience` epochs brought no better validation macro F1.

        A reporter can end the training with an epoch, too.

        Raises:
            NonFiniteLossError: the loss became NaN or infinite, or no epoch could be measured.
            torch.OutOfMemoryError: the device cannot hold a step.
        """
        for epoch in range(self.progress.epochs_done, self.settings.epochs):
            is_hopeless = 0 < self.settings.patience <= self.progress.epochs_without_better
            if self.world.told_by_first(is_hopeless or self.reporters.wants_to_stop):
                self.stopped_early = True
                break
            self._finish(self._run_epoch(epoch))
        if self.progress.best is None:
            raise NonFiniteLossError(
                "no epoch has a validation macro F1: the network gave NaN",
                hint="Try a smaller --lr or --precision=fp32.",
            )

    def _run_epoch(self, epoch: int) -> EpochEnd:
        _seed_generators(epoch_seed(self.settings.seed, epoch, self.world.place.rank))
        started = time.perf_counter()
        lr = self.lr
        train_loss, train_accuracy, speed = self._train_epoch(epoch)
        measured = self.validation.measure(self.learning)
        metrics = {
            "epoch": epoch,
            "lr": lr,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            **measured.metrics,
            "seconds": time.perf_counter() - started,
            "images_per_second": speed,
        }
        macro_f1, best = measured.metrics["valid_f1_macro"] or 0.0, self.progress.best
        is_best = not math.isnan(macro_f1) and (best is None or macro_f1 > best.macro_f1)
        return EpochEnd(metrics, measured.counts, is_best, measured.class_f1, measured.mistakes)

    def _finish(self, result: EpochEnd) -> None:
        """Keep an epoch. The last checkpoint is written last: before it stands, the epoch counts as not done."""
        best = result if result.is_best else self.progress.best
        self.progress = Progress(result.epoch + 1, self.total_steps, best)
        if result.is_best:
            self.save("best", {"model": self.learning.measured.network.state_dict()}, result)
        self._step_schedule(result)
        self.reporters.on_epoch_end(result)
        self.save("last", {**self.learning.state(), "progress": self.progress.state()}, result)

    def _train_epoch(self, epoch: int) -> tuple[float, float, float]:
        """Return the mean loss, the accuracy and the images per second of one pass."""
        visits = epoch_order(
            self.train_rows,
            seed=self.settings.seed,
            epoch=epoch,
            weights=self.weights,
            num_images=len(self.samples),
        )
        steps = split_epoch(visits, self.settings.batch_size, self.settings.accumulate, self.world.size)
        mine = [self.world.deal(batches) for batches in steps]
        wanted = [rows_of(one, len(self.samples)) for of_step in mine for one in of_step]
        batches = self.loader.batches(wanted)
        self.reporters.on_epoch_start(EpochStart(epoch, self.settings.epochs, len(steps)))
        self.learning.begin_epoch(epoch)
        loss_sum = torch.zeros((), device=self.device)
        num_correct = torch.zeros((), dtype=torch.int64, device=self.device)
        interval = _Interval()
        started = time.perf_counter()
        for step, (of_all, of_step) in enumerate(zip(steps, mine, strict=True), start=1):
            rows = rows_of(torch.cat(of_all), len(self.samples))
            loss, correct = self.step.take(epoch, islice(batches, len(of_step)), of_step, len(rows))
            loss_sum += loss * len(rows)
            num_correct += correct
            interval.losses.append(loss)
            interval.rows.append(rows)
            self.total_steps += 1
            is_due = step % self.settings.log_interval == 0 or step == len(steps)
            mean = self._close(interval, epoch, step) if is_due else None
            self.reporters.on_step_end(StepEnd(epoch, step, self.total_steps, mean, self.lr))
        self.learning.share_statistics(self.world)
        seconds = time.perf_counter() - started
        count = len(visits)
        return float(self.world.sum(loss_sum)) / count, int(self.world.sum(num_correct)) / count, count / seconds

    def _close(self, interval: _Interval, epoch: int, step: int) -> float:
        """Wait for the device once, and return the mean loss since the last time.

        Raises:
            NonFiniteLossError: a loss of the interval is NaN or infinite; the step and its files are named.
        """
        losses: list[float] = self.world.sum(torch.stack(interval.losses)).tolist()
        first_step = step - len(losses) + 1
        for offset, loss in enumerate(losses):
            if not math.isfinite(loss):
                raise self._non_finite(loss, epoch, first_step + offset, interval.rows[offset])
        interval.losses.clear()
        interval.rows.clear()
        return sum(losses) / len(losses)

    def _step_schedule(self, result: EpochEnd) -> None:
        schedule = self.learning.schedule
        if schedule.interval != "epoch":
            return
        if schedule.monitor is None:
            schedule.scheduler.step()
        else:
            schedule.scheduler.step(result.metrics[schedule.monitor])

    @property
    def lr(self) -> float:
        """The learning rate, the largest where layers have their own."""
        return max(float(group["lr"]) for group in self.learning.optimizer.param_groups)

    def _non_finite(self, loss: float, epoch: int, step: int, rows: Tensor) -> NonFiniteLossError:
        files = first_few((self.samples.paths[row] for row in rows.tolist()), "\n  ")
        return NonFiniteLossError(
            f"the loss became {loss} in epoch {epoch + 1}, step {step}, on these images:\n  {files}",
            hint=f"Try a smaller --lr (now {self.lr:g}), --clip_norm=1 or --precision=fp32.",
        )


def _seed_generators(seed: int) -> None:
    """Fix what networks and plugins draw from in an epoch: a checkpoint at its end needs no generator's state."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  plugins may draw from the global one
