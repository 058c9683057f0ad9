"""How `evaluate` shows the scores of predictions."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from maskkit.bootstrap import COVERAGE, RESAMPLES, Estimate
from maskkit.cli.pictures import check_picture, naming_picture
from maskkit.config import EvaluateConfig
from maskkit.errors import PredictionError
from maskkit.evaluation import Evaluation, evaluate
from maskkit.files import replacing
from maskkit.predictions import notice_of_run, read_predictions

__all__ = ["print_evaluation"]


def print_evaluation(config: EvaluateConfig) -> None:
    """Read the files, score them, draw the confusion if asked to, and print all scores.

    Raises:
        UsageError: the picture cannot be written there; nothing is printed then.
    """
    check_picture("confusion", config.confusion)
    source = _file_to_score(config)
    truth = read_predictions(config.truth) if config.truth else None
    found = evaluate(read_predictions(source), truth, classification=config.classification)
    if config.confusion:
        _draw_confusion(config.confusion, found)
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    console.print(found.reading, markup=False)
    if notice := notice_of_run(source):
        console.print(f"Note: {notice}", markup=False, emoji=False)
    _print_whole(console, found)
    console.print(_axes_table(found))
    console.print(_groups_table(found))
    if found.scores.unknown:
        left_out = ", ".join(found.scores.unknown)
        console.print(f"No groups by {left_out}: that takes the true 18 classes, or a run's samples.csv.")
    console.print(_classes_table(found))
    console.print(_confusion_table(found))
    if config.confusion:
        console.print(f"wrote {config.confusion}", markup=False)


def _draw_confusion(path: Path, found: Evaluation) -> None:
    from maskkit.reporting.figures import confusion_figure

    with naming_picture("confusion", path), replacing(path) as temporary:
        confusion_figure(found.counts, found.view.classes).savefig(temporary, format="png")


def _file_to_score(config: EvaluateConfig) -> Path:
    """Return the file itself, or of a run its eval file when a truth is given and its validation file otherwise."""
    if not config.source.is_dir():
        return config.source
    name = "eval_soft.csv" if config.truth else "valid_soft.csv"
    if not config.truth and (config.source / "predictions" / "oof_soft.csv").is_file():
        name = "oof_soft.csv"
    file = config.source / "predictions" / name
    if not file.is_file():
        raise PredictionError(
            f"the folder {config.source} has no predictions/{name}", hint="Name a CSV file, or a run folder."
        )
    return file


def _print_whole(console: Console, found: Evaluation) -> None:
    whole = found.scores.whole
    console.print(f"images           {whole.images:>7,}")
    if found.people_known:
        console.print(f"people           {whole.people:>7,}")
    for name, estimate in (("macro F1", whole.macro_f1), ("accuracy", whole.accuracy)):
        console.print(f"{name:<17}{estimate.value:>7.4f}  ({estimate.low:.4f}-{estimate.high:.4f})")
    intervals = f"In brackets: {COVERAGE:.0%} intervals of {RESAMPLES:,} bootstrap resamples"
    if found.people_known:
        console.print(f"{intervals} of people;")
        console.print("they are too narrow where people are few, or all fare alike.")
    else:
        console.print(f"{intervals} of images, as nothing tells who is on them;")
        console.print("they are too narrow where a person has several images, images are few, or all fare alike.")


def _axes_table(found: Evaluation) -> Table:
    table = _table("Axes", ("axis",), ("accuracy", "macro F1"))
    for part in found.scores.axes:
        table.add_row(part.name, _figure(part.accuracy), _figure(part.macro_f1))
    return table


def _groups_table(found: Evaluation) -> Table:
    title = "Groups; macro F1 is over the classes that occur in the truth of the group"
    table = _table(title, ("group",), ("people", "images", "accuracy", "macro F1"))
    for parts in found.scores.groups.values():
        for part in parts:
            people = f"{part.people:,}" if found.people_known else "?"
            table.add_row(part.name, people, f"{part.images:,}", _figure(part.accuracy), _figure(part.macro_f1))
        table.add_section()
    return table


def _figure(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f}-{estimate.high:.3f})"


def _classes_table(found: Evaluation) -> Table:
    table = _table("Classes", ("", "class"), ("precision", "recall", "F1", "images"))
    figures = zip(found.view.classes, found.precision, found.recall, found.f1, found.support, strict=True)
    for number, (name, precision, recall, f1, support) in enumerate(figures):
        table.add_row(f"{number:>2}", name, f"{precision:.3f}", f"{recall:.3f}", f"{f1:.3f}", f"{support:,}")
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


def _table(title: str, names: Iterable[str], figures: Iterable[str]) -> Table:
    """Return an empty table: columns of names are flush left, those of figures flush right."""
    table = Table(title=title, title_justify="left")
    for name in names:
        table.add_column(name)
    for figure in figures:
        table.add_column(figure, justify="right", no_wrap=True)
    return table
