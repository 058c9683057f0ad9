"""How `evaluate` shows the scores of predictions."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from maskkit.config import EvaluateConfig
from maskkit.errors import PredictionError
from maskkit.evaluation import Evaluation, evaluate
from maskkit.predictions import notice_of_run, read_predictions

__all__ = ["print_evaluation"]


def print_evaluation(config: EvaluateConfig) -> None:
    """Read the files, score them, and print the scores, each class and the confusion."""
    source = _file_to_score(config)
    truth = read_predictions(config.truth) if config.truth else None
    found = evaluate(read_predictions(source), truth, classification=config.classification)
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    console.print(found.reading, markup=False)
    if notice := notice_of_run(source):
        console.print(f"Note: {notice}", markup=False, emoji=False)
    _print_scores(console, found)
    console.print(_classes_table(found))
    console.print(_confusion_table(found))


def _file_to_score(config: EvaluateConfig) -> Path:
    """Return the file itself, or of a run its eval file when a truth is given and its validation file otherwise."""
    if not config.source.is_dir():
        return config.source
    name = "eval_soft.csv" if config.truth else "valid_soft.csv"
    file = config.source / "predictions" / name
    if not file.is_file():
        raise PredictionError(
            f"the folder {config.source} has no predictions/{name}", hint="Name a CSV file, or a run folder."
        )
    return file


def _print_scores(console: Console, found: Evaluation) -> None:
    console.print(f"images           {found.counts.sum():>7,}")
    console.print(f"macro F1         {found.scores.macro_f1:>7.4f}")
    console.print(f"accuracy         {found.scores.accuracy:>7.4f}")
    for axis, value in found.scores.axis_accuracies.items():
        console.print(f"{axis + ' accuracy':<17}{value:>7.4f}")


def _classes_table(found: Evaluation) -> Table:
    table = Table(title="Classes", title_justify="left")
    for column in ("", "class", "precision", "recall", "F1", "images"):
        table.add_column(column, justify="left" if column == "class" else "right")
    figures = zip(found.view.classes, found.precision, found.recall, found.f1, found.support, strict=True)
    for number, (name, precision, recall, f1, support) in enumerate(figures):
        table.add_row(str(number), name, f"{precision:.3f}", f"{recall:.3f}", f"{f1:.3f}", f"{support:,}")
    return table


def _confusion_table(found: Evaluation) -> Table:
    table = Table(title="Confusion: rows are the truth, columns the predictions", title_justify="left", padding=(0, 0))
    table.add_column("", justify="right")
    for number in range(found.view.num_classes):
        table.add_column(str(number), justify="right", min_width=4)
    for number, row in enumerate(found.counts):
        cells = [f"[bold]{count}[/]" if column == number else str(count or ".") for column, count in enumerate(row)]
        table.add_row(str(number), *cells)
    return table
