"""The training loop, readable top to bottom."""

import math
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from maskkit.data.augmentation import Augmentation, Draws
from maskkit.data.images import first_few
from maskkit.data.loader import Batch, ImageLoader, epoch_order, epoch_seed, split_epoch
from maskkit.data.samples import Samples
from maskkit.engine.distributed import ALONE, World
from maskkit.engine.learning import Learning
from maskkit.engine.progress import Progress
from maskkit.engine.validation import Validation
from maskkit.errors import NonFiniteLossError
from maskkit.labels import NUM_CLASSES
from maskkit.plugin.contracts import Mix
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
    world: the processes that share the batches of a step; all of them then have the same weights.
    """

    def __init__(
        self,
        *,
        learning: Learning,
        augmentation: Augmentation,
        mix: Mix | None,
        loader: ImageLoader,
        samples: Samples,
        targets: NDArray[np.int64],
        train_rows: Tensor,
        validation: Validation,
        settings: Settings,
        reporters: Reporters,
        save: Save,
        progress: Progress,
        world: World = ALONE,
    ) -> None:
        self.learning, self.augmentation, self.mix = learning, augmentation, mix
        self.loader, self.samples = loader, samples
        self.train_rows, self.validation = train_rows, validation
        self.settings, self.reporters, self.save = settings, reporters, save
        self.progress, self.world = progress, world
        self.device = learning.classifier.device
        self.targets = torch.from_numpy(targets).to(self.device)
        self.of_class = torch.tensor(learning.objective.view.of_class, device=self.device)
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
            self.save("best", {"model": self.learning.classifier.network.state_dict()}, result)
        self._step_schedule("epoch", result)
        self.reporters.on_epoch_end(result)
        self.save("last", {**self.learning.state(), "progress": self.progress.state()}, result)

    def _train_epoch(self, epoch: int) -> tuple[float, float, float]:
        """Return the mean loss, the accuracy and the images per second of one pass."""
        order = epoch_order(self.train_rows, seed=self.settings.seed, epoch=epoch)
        steps = split_epoch(order, self.settings.batch_size, self.settings.accumulate, self.world.size)
        mine = [self.world.deal(batches) for batches in steps]
        batches = self.loader.batches([rows for of_step in mine for rows in of_step])
        self.reporters.on_epoch_start(EpochStart(epoch, self.settings.epochs, len(steps)))
        self.learning.classifier.network.train()
        self.learning.objective.train()
        loss_sum = torch.zeros((), device=self.device)
        num_correct = torch.zeros((), dtype=torch.int64, device=self.device)
        interval = _Interval()
        started = time.perf_counter()
        for step, (of_all, of_step) in enumerate(zip(steps, mine, strict=True), start=1):
            rows = torch.cat(of_all)
            loss, correct = self._step(epoch, islice(batches, len(of_step)), len(of_step), len(rows))
            loss_sum += loss * len(rows)
            num_correct += correct
            interval.losses.append(loss)
            interval.rows.append(rows)
            self.total_steps += 1
            is_due = step % self.settings.log_interval == 0 or step == len(steps)
            mean = self._close(interval, epoch, step) if is_due else None
            self.reporters.on_step_end(StepEnd(epoch, step, self.total_steps, mean, self.lr))
        self.world.same_buffers(self.learning.classifier.network)
        seconds = time.perf_counter() - started
        count = len(self.train_rows)
        return float(self.world.sum(loss_sum)) / count, int(self.world.sum(num_correct)) / count, count / seconds

    def _step(self, epoch: int, batches: Iterator[Batch], num_batches: int, num_rows: int) -> tuple[Tensor, Tensor]:
        """Learn from this process's batches of one step, of `num_rows` images in all; nothing waits for the device.

        Returns this process's part of the loss, which is the mean of all batches' losses by their sizes, and how many
        of its answers were right.
        """
        network, optimizer, scaler = self.learning.classifier.network, self.learning.optimizer, self.learning.scaler
        loss_sum = torch.zeros((), device=self.device)
        num_correct = torch.zeros((), dtype=torch.int64, device=self.device)
        optimizer.zero_grad(set_to_none=True)
        for number, batch in enumerate(batches, start=1):
            with self._together(is_last=number == num_batches):
                loss, correct = self._forward(epoch, batch)
                part = loss * (self.world.size * len(batch.rows) / num_rows)  # of a mean over processes
                scaler.scale(part).backward()  # type: ignore[no-untyped-call]
            loss_sum += part.detach()
            num_correct += correct
        if self.settings.clip_norm is not None:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(network.parameters(), self.settings.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        self._step_schedule("step", None)
        return loss_sum / self.world.size, num_correct

    def _together(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Let the gradients of all processes become their mean in the last batch of a step, and not before."""
        parallel = self.learning.classifier.parallel
        return nullcontext() if parallel is None or is_last else parallel.no_sync()

    def _forward(self, epoch: int, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and how many of its answers were right."""
        classifier, objective = self.learning.classifier, self.learning.objective
        pixels = classifier.pixels(batch.images)
        targets = self.targets[batch.rows.to(self.device, non_blocking=True)]
        draws = Draws(self.settings.seed, epoch, batch.rows, device=self.device)
        if self.augmentation.augment is not None:
            pixels = self.augmentation.augment(pixels, draws)
        if self.mix is not None:
            pixels, targets = self.mix(pixels, functional.one_hot(targets, NUM_CLASSES).float(), draws)
        logits = classifier.logits(pixels)
        predicted = objective.probabilities(logits.detach()).argmax(dim=1)
        return objective(logits, targets), self._are_right(predicted, targets).sum()

    def _are_right(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Return which answers are right, bool [B]; of a mixed image, each class with the largest share is."""
        if not targets.is_floating_point():
            return predicted == self.of_class[targets]
        num_classes = self.learning.objective.view.num_classes
        shares = targets @ functional.one_hot(self.of_class, num_classes).to(targets.dtype)
        return shares.gather(1, predicted[:, None]).squeeze(1) == shares.amax(dim=1)

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

    def _step_schedule(self, interval: str, result: EpochEnd | None) -> None:
        schedule = self.learning.schedule
        if schedule.interval != interval:
            return
        with warnings.catch_warnings():
            # A scaler leaves out a step whose gradients overflow, and torch takes that for a wrong order of calls.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step", category=UserWarning)
            if schedule.monitor is None or result is None:
                schedule.scheduler.step()
            else:
                schedule.scheduler.step(result.metrics[schedule.monitor])

    @property
    def lr(self) -> float:
        """The learning rate of the first group of parameters."""
        return float(self.learning.optimizer.param_groups[0]["lr"])

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
