"""Reporters in the box: the terminal, TensorBoard, and metrics.csv."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn
from rich.table import Table
from rich.text import Text

from maskkit import EpochEnd, EpochStart, Reporter, RunEnd, RunStart, StepEnd

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["ConsoleReporter", "CsvReporter", "TensorBoardReporter"]


class ConsoleReporter(Reporter):
    """Shows the plan, live progress with a time left, and a table at the end; without a terminal a line an epoch."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._progress: Progress | None = None
        self._run: RunStart | None = None
        self._best = 0.0

    def on_run_start(self, run: RunStart) -> None:
        self._run = run
        for notice in run.notices:
            self._console.print(Text(f"Note: {notice}", style="yellow"))
        for subject, text in run.plan.items():
            self._console.print(Text(f"{subject:<11}", style="bold") + Text(text))
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeLeftColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self._console,
            )
            self._progress.add_task("epochs", total=run.epochs * run.steps_per_epoch, figures="")
            self._progress.add_task("steps", total=run.steps_per_epoch, figures="")
            self._progress.start()

    def on_epoch_start(self, epoch: EpochStart) -> None:
        if self._progress:
            description = f"epoch {epoch.epoch + 1}/{epoch.epochs}"
            self._progress.reset(TaskID(1), total=epoch.steps, description=description)

    def on_step_end(self, step: StepEnd) -> None:
        if self._progress:
            self._progress.advance(TaskID(0))
            self._progress.advance(TaskID(1))
            if step.loss is not None:
                self._progress.update(TaskID(1), figures=f"loss {step.loss:.4f}  lr {step.lr:.2g}")

    def on_epoch_end(self, result: EpochEnd) -> None:
        if result.is_best:
            self._best = result.macro_f1
        metrics = result.metrics
        line = (
            f"epoch {result.epoch + 1:>3}/{self._run.epochs if self._run else '?'}"
            f"  lr {metrics['lr']:.2g}  train loss {metrics['train_loss']:.4f} acc {metrics['train_accuracy']:.3f}"
            f"  valid loss {metrics['valid_loss']:.4f} acc {metrics['valid_accuracy']:.3f} F1 {result.macro_f1:.4f}"
            f"  {metrics['seconds']:.1f} s  {metrics['images_per_second']:.0f} images/s"
            + ("  best" if result.is_best else "")
        )
        (self._progress.console if self._progress else self._console).print(line)
        if self._progress:
            self._progress.update(TaskID(0), figures=f"best F1 {self._best:.4f}")

    def on_run_end(self, outcome: RunEnd) -> None:
        if self._progress:
            self._progress.stop()
        if outcome.best is not None:
            self._console.print(_summary(outcome))
        if outcome.status != "completed":
            self._console.print(
                Text(f"{outcome.status}{': ' + outcome.error if outcome.error else ''}", style="yellow")
            )


def _summary(outcome: RunEnd) -> Table:
    assert outcome.best is not None  # noqa: S101  the caller looked
    metrics = outcome.best.metrics
    table = Table(title=f"Best epoch: {outcome.best.epoch + 1}", title_justify="left")
    rows = {
        "macro F1": "valid_f1_macro",
        "accuracy": "valid_accuracy",
        "mask accuracy": "valid_mask_accuracy",
        "gender accuracy": "valid_gender_accuracy",
        "age accuracy": "valid_age_accuracy",
    }
    table.add_column("validation")
    table.add_column("value", justify="right")
    for title, column in rows.items():
        value = metrics[column]
        if value is not None:
            table.add_row(title, f"{value:.4f}")
    return table


class CsvReporter(Reporter):
    """Writes metrics.csv in the run folder: a row an epoch, on disk as soon as the epoch is done."""

    def __init__(self) -> None:
        self._path: Path | None = None

    def on_run_start(self, run: RunStart) -> None:
        self._path = run.run_dir / "metrics.csv"

    def on_epoch_end(self, result: EpochEnd) -> None:
        assert self._path is not None  # noqa: S101  on_run_start comes first
        is_new = not self._path.exists()
        with self._path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if is_new:
                writer.writerow(result.metrics)
            writer.writerow("" if value is None else f"{value:.10g}" for value in result.metrics.values())


class TensorBoardReporter(Reporter):
    """Writes scalars below `tensorboard/` in the run folder: the loss of each interval, the figures of each epoch."""

    def __init__(self) -> None:
        self._writer: SummaryWriter | None = None

    def on_run_start(self, run: RunStart) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run.run_dir / "tensorboard"))

    def on_step_end(self, step: StepEnd) -> None:
        if self._writer and step.loss is not None:
            self._writer.add_scalar("step/loss", step.loss, step.total_steps)
            self._writer.add_scalar("step/lr", step.lr, step.total_steps)

    def on_epoch_end(self, result: EpochEnd) -> None:
        if not self._writer:
            return
        for name, value in result.metrics.items():
            if value is not None and name != "epoch":
                part, _, figure = name.partition("_")
                title = f"{part}/{figure}" if part in {"train", "valid"} else f"run/{name}"
                self._writer.add_scalar(title, value, result.epoch)
        self._writer.flush()

    def on_run_end(self, outcome: RunEnd) -> None:  # noqa: ARG002  however it ended
        if self._writer:
            self._writer.close()
