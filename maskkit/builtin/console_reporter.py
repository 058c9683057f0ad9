"""The reporter that speaks to the person at the terminal."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn
from rich.table import Table
from rich.text import Text

from maskkit import EpochEnd, EpochStart, Reporter, RunEnd, RunStart, StepEnd

__all__ = ["ConsoleReporter"]


class ConsoleReporter(Reporter):
    """Shows the plan, live progress with a time left, and a table at the end; without a terminal a line an epoch."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._bars: _Bars | None = None
        self._epochs = 0

    def on_run_start(self, run: RunStart) -> None:
        self._epochs = run.epochs
        for notice in run.notices:
            self._console.print(Text(f"Note: {notice}", style="yellow"))
        for subject, text in {**run.plan, "epochs": _length(run)}.items():
            self._console.print(Text(f"{subject:<11}", style="bold") + Text(text))
        if self._console.is_terminal:
            self._bars = _Bars(self._console, run)

    def on_epoch_start(self, epoch: EpochStart) -> None:
        if self._bars:
            self._bars.begin(epoch)

    def on_step_end(self, step: StepEnd) -> None:
        if self._bars:
            self._bars.advance(step)

    def on_epoch_end(self, result: EpochEnd) -> None:
        metrics = result.metrics
        self._console.print(
            f"epoch {result.epoch + 1:>3}/{self._epochs}"
            f"  lr {metrics['lr']:.2g}  train loss {metrics['train_loss']:.4f} acc {metrics['train_accuracy']:.3f}"
            f"  valid loss {metrics['valid_loss']:.4f} acc {metrics['valid_accuracy']:.3f} F1 {result.macro_f1:.4f}"
            f"  {metrics['seconds']:.1f} s  {metrics['images_per_second']:.0f} images/s"
            + ("  best" if result.is_best else "")
        )
        if self._bars and result.is_best:
            self._bars.show_best(result)

    def on_run_end(self, outcome: RunEnd) -> None:
        if self._bars:
            self._bars.close()
        if outcome.best is not None:
            self._console.print(_summary(outcome.best))
        if outcome.status != "completed":
            self._console.print(
                Text(f"{outcome.status}{': ' + outcome.error if outcome.error else ''}", style="yellow")
            )


class _Bars:
    """Two moving bars: the steps of the whole run, and those of an epoch."""

    def __init__(self, console: Console, run: RunStart) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeLeftColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
        )
        steps = run.steps_per_epoch
        self._run = self._progress.add_task(
            "epochs", total=run.epochs * steps, completed=run.first_epoch * steps, figures=""
        )
        self._epoch = self._progress.add_task("steps", total=steps, figures="")
        self._progress.start()

    def begin(self, epoch: EpochStart) -> None:
        """Move to the beginning of an epoch, which may be one begun before, and in other steps."""
        self._progress.update(self._run, total=epoch.epochs * epoch.steps, completed=epoch.epoch * epoch.steps)
        description = f"epoch {epoch.epoch + 1}/{epoch.epochs}"
        self._progress.reset(self._epoch, total=epoch.steps, description=description)

    def advance(self, step: StepEnd) -> None:
        self._progress.advance(self._run)
        self._progress.advance(self._epoch)
        if step.loss is not None:
            self._progress.update(self._epoch, figures=f"loss {step.loss:.4f}  lr {step.lr:.2g}")

    def show_best(self, result: EpochEnd) -> None:
        self._progress.update(self._run, figures=f"best F1 {result.macro_f1:.4f}")

    def close(self) -> None:
        self._progress.stop()


def _length(run: RunStart) -> str:
    """Return how long the run is, and where it goes on when it was begun before."""
    length = f"{run.epochs}, of {run.steps_per_epoch:,} steps each"
    if run.first_epoch >= run.epochs:
        return f"{length}; all are done"
    return f"{length}; going on with epoch {run.first_epoch + 1}" if run.first_epoch else length


def _summary(best: EpochEnd) -> Table:
    table = Table(title=f"Best epoch: {best.epoch + 1}", title_justify="left")
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
        value = best.metrics[column]
        if value is not None:
            table.add_row(title, f"{value:.4f}")
    return table
