"""The training loop, readable top to bottom."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from maskkit.data.augmentation import Augmentation, Draws
from maskkit.data.images import first_few
from maskkit.data.loader import Batch, ImageLoader, epoch_order, epoch_seed
from maskkit.data.samples import Samples
from maskkit.engine.classifier import Classifier
from maskkit.engine.objective import Objective
from maskkit.errors import NonFiniteLossError, TrainingError
from maskkit.metrics import confusion_counts, f1_per_class, scores
from maskkit.plugin.contracts import Schedule
from maskkit.reporting.events import EpochEnd, EpochStart, Mistake, StepEnd
from maskkit.reporting.reporter import Reporters

__all__ = ["Settings", "Trainer"]

_NUM_MISTAKES = 16


@dataclass(frozen=True)
class Settings:
    """The numbers of a training."""

    epochs: int
    batch_size: int
    valid_batch_size: int
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
    """Trains a classifier on some rows of a table and measures it on others, an epoch at a time."""

    def __init__(
        self,
        *,
        classifier: Classifier,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        augmentation: Augmentation,
        loader: ImageLoader,
        samples: Samples,
        train_rows: Tensor,
        valid_rows: Tensor,
        settings: Settings,
        reporters: Reporters,
        save: Callable[[str, EpochEnd], None],
    ) -> None:
        self.classifier, self.objective = classifier, objective
        self.optimizer, self.schedule = optimizer, schedule
        self.augmentation, self.loader, self.samples = augmentation, loader, samples
        self.train_rows, self.valid_rows = train_rows, valid_rows
        self.settings, self.reporters, self.save = settings, reporters, save
        self.view = objective.view
        self.device = classifier.device
        self.answers = torch.from_numpy(samples.answers).to(self.device)
        self.of_class = torch.tensor(self.view.of_class, device=self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=classifier.precision.needs_scaler)
        self.total_steps = 0
        self.best: EpochEnd | None = None
        self.stopped_early = False

    def fit(self) -> None:
        """Train every epoch, or until `patience` epochs brought no better validation macro F1.

        Raises:
            TrainingError: the loss became NaN or infinite, or no epoch could be measured.
        """
        for epoch in range(self.settings.epochs):
            torch.manual_seed(epoch_seed(self.settings.seed, epoch))  # dropout; everything else has its own draws
            started = time.perf_counter()
            lr = self.optimizer.param_groups[0]["lr"]
            train_loss, train_accuracy, speed = self._train_epoch(epoch)
            result = self._validate(
                {
                    "epoch": epoch,
                    "lr": lr,
                    "train_loss": train_loss,
                    "train_accuracy": train_accuracy,
                },
                speed,
                started,
            )
            if result.is_best:
                self.best = result
                self.save("best", result)
            self._step_schedule("epoch", result)
            self.save("last", result)
            self.reporters.on_epoch_end(result)
            if self._is_patience_spent(epoch):
                self.stopped_early = True
                break
        if self.best is None:
            raise TrainingError(
                "no epoch has a validation macro F1: the network gave NaN",
                hint="Try a smaller --lr or --precision=fp32.",
            )

    def _train_epoch(self, epoch: int) -> tuple[float, float, float]:
        """Return the mean loss, the accuracy and the images per second of one pass."""
        order = epoch_order(self.train_rows, seed=self.settings.seed, epoch=epoch)
        batches = self.loader.batches(order, self.settings.batch_size)
        self.reporters.on_epoch_start(EpochStart(epoch, self.settings.epochs, self.steps_per_epoch))
        self.classifier.network.train()
        loss_sum = torch.zeros((), device=self.device)
        num_correct = torch.zeros((), dtype=torch.int64, device=self.device)
        interval = _Interval()
        started = time.perf_counter()
        for step, batch in enumerate(batches, start=1):
            loss, correct = self._step(epoch, batch)
            loss_sum += loss * len(batch.rows)
            num_correct += correct
            interval.losses.append(loss)
            interval.rows.append(batch.rows)
            self.total_steps += 1
            is_due = step % self.settings.log_interval == 0 or step == self.steps_per_epoch
            mean = self._close(interval, epoch, step) if is_due else None
            lr = self.optimizer.param_groups[0]["lr"]
            self.reporters.on_step_end(StepEnd(epoch, step, self.total_steps, mean, lr))
        seconds = time.perf_counter() - started
        count = len(self.train_rows)
        return float(loss_sum) / count, int(num_correct) / count, count / seconds

    def _step(self, epoch: int, batch: Batch) -> tuple[Tensor, Tensor]:
        """Learn from one batch and return its loss and how many it got right; nothing here waits for the device."""
        rows = batch.rows.to(self.device, non_blocking=True)
        pixels = self.classifier.pixels(batch.images)
        if self.augmentation.augment is not None:
            pixels = self.augmentation.augment(pixels, Draws(self.settings.seed, epoch, rows))
        logits = self.classifier.logits(pixels)
        loss = self.objective(logits, self.answers[rows])
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if self.settings.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.classifier.network.parameters(), self.settings.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._step_schedule("step", None)
        predicted = self.objective.probabilities(logits.detach()).argmax(dim=1)
        return loss.detach(), (predicted == self.of_class[self.answers[rows]]).sum()

    def _close(self, interval: _Interval, epoch: int, step: int) -> float:
        """Wait for the device once, and return the mean loss since the last time.

        Raises:
            NonFiniteLossError: a loss of the interval is NaN or infinite; the step and its files are named.
        """
        losses: list[float] = torch.stack(interval.losses).tolist()
        first_step = step - len(losses) + 1
        for offset, loss in enumerate(losses):
            if not math.isfinite(loss):
                raise self._non_finite(loss, epoch, first_step + offset, interval.rows[offset])
        interval.losses.clear()
        interval.rows.clear()
        return sum(losses) / len(losses)

    @torch.inference_mode()
    def _validate(self, metrics: dict[str, float | None], speed: float, started: float) -> EpochEnd:
        """Measure the held-out rows: one loss and one confusion table over all of them, whatever the batch size."""
        logits = self.classifier.logits_of(self.loader.batches(self.valid_rows, self.settings.valid_batch_size))
        answers = self.answers[self.valid_rows.to(self.device)]
        probabilities = self.objective.probabilities(logits)
        predicted, truth = probabilities.argmax(dim=1), self.of_class[answers]
        counts = confusion_counts(truth.cpu().numpy(), predicted.cpu().numpy(), self.view.num_classes)
        found = scores(counts, self.view)
        # The largest of a row of NaN is no answer, whatever class argmax makes of it.
        macro_f1 = math.nan if probabilities.isnan().any() else found.macro_f1
        metrics |= {
            "valid_loss": float(self.objective(logits, answers)),
            "valid_accuracy": found.accuracy,
            "valid_f1_macro": macro_f1,
            **{f"valid_{axis}_accuracy": found.axis_accuracies.get(axis) for axis in ("mask", "gender", "age")},
            "seconds": time.perf_counter() - started,
            "images_per_second": speed,
        }
        is_best = not math.isnan(macro_f1) and (self.best is None or macro_f1 > self.best.macro_f1)
        class_f1 = tuple(f1_per_class(counts).tolist())
        return EpochEnd(metrics, counts, is_best, class_f1, self._mistakes(probabilities, truth))

    def _mistakes(self, probabilities: Tensor, truth: Tensor) -> tuple[Mistake, ...]:
        """Return the wrong answers to the held-out rows, the most confident first."""
        confidence, predicted = probabilities.max(dim=1)
        wrong = torch.nonzero(predicted != truth).flatten()
        surest = wrong[confidence[wrong].argsort(descending=True, stable=True)][:_NUM_MISTAKES]
        figures = zip(
            self.valid_rows[surest.cpu()].tolist(),
            truth[surest].tolist(),
            predicted[surest].tolist(),
            confidence[surest].tolist(),
            strict=True,
        )
        paths = self.samples.paths
        return tuple(Mistake(paths[row], *figure) for row, *figure in figures)

    def _step_schedule(self, interval: str, result: EpochEnd | None) -> None:
        if self.schedule.interval != interval:
            return
        if self.schedule.monitor is None or result is None:
            self.schedule.scheduler.step()
        else:
            self.schedule.scheduler.step(result.metrics[self.schedule.monitor])

    def _is_patience_spent(self, epoch: int) -> bool:
        best_epoch = self.best.epoch if self.best else -1
        return 0 < self.settings.patience <= epoch - best_epoch

    @property
    def steps_per_epoch(self) -> int:
        return num_steps(len(self.train_rows), self.settings.batch_size)

    def _non_finite(self, loss: float, epoch: int, step: int, rows: Tensor) -> NonFiniteLossError:
        files = first_few((self.samples.paths[row] for row in rows.tolist()), "\n  ")
        lr = self.optimizer.param_groups[0]["lr"]
        return NonFiniteLossError(
            f"the loss became {loss} in epoch {epoch + 1}, step {step}, on these images:\n  {files}",
            hint=f"Try a smaller --lr (now {lr:g}), --clip_norm=1 or --precision=fp32.",
        )


def num_steps(num_rows: int, batch_size: int) -> int:
    """Return the number of batches that `ImageLoader.batches` makes of so many rows."""
    steps = -(-num_rows // batch_size)
    return steps - 1 if steps > 1 and num_rows % batch_size == 1 else steps
