"""What `check` shows of a folder of photos."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from maskkit.cli.pictures import check_picture, naming_picture
from maskkit.config import CheckConfig
from maskkit.data.doctor import Checkup, Finding, examine
from maskkit.labels import AGE, CLASS_NAMES, GENDER, MASK
from maskkit.progress import showing_progress

__all__ = ["check_and_print"]

_MOST_SHOWN = 10


def check_and_print(config: CheckConfig) -> int:
    """Examine the folder, print what was found, and return 1 where a training would refuse it, else 0.

    Raises:
        UsageError: the contact sheet cannot be written there.
    """
    check_picture("sheet", config.sheet)
    with showing_progress() as progress_of:
        found = examine(config.data_dir, on_progress=progress_of("looking at", "photos"))
    if config.format == "json":
        print(json.dumps(_as_values(found, config.data_dir), indent=2))
    else:
        _print(found)
    if config.sheet:
        _write_sheet(config.sheet, found)
    return 1 if found.stops else 0


def _write_sheet(path: Path, found: Checkup) -> None:
    from maskkit.data.contact_sheet import write_contact_sheet

    with naming_picture("sheet", path):
        write_contact_sheet(path, found.photos)
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"wrote {path}", markup=False)


def _as_values(found: Checkup, data_dir: Path) -> dict[str, object]:
    return {
        "data_dir": str(data_dir),
        "people": found.num_people,
        "photos": len(found.photos),
        "classes": dict(zip(CLASS_NAMES, found.counts, strict=True)),
        "stops": found.stops,
        "findings": [asdict(finding) for finding in found.findings],
    }


def _print(found: Checkup) -> None:
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    console.print(f"{found.num_people:,} people, {len(found.photos):,} photos that can be read")
    console.print(_counts_table(found.counts))
    for finding in found.findings:
        _print_finding(console, finding)
    if found.stops:
        console.print("maskkit train would refuse this folder.")
    elif found.findings:
        console.print("maskkit train would take this folder as it is.")
    else:
        console.print("Nothing is wrong: maskkit train would take this folder as it is.")


def _print_finding(console: Console, finding: Finding) -> None:
    mark = "[bold red]stops[/]" if finding.stops else "[yellow]odd[/]  "
    console.print(f"{mark}  ", end="")
    console.print(f"{len(finding.places):,} {finding.kind}. {finding.advice}", markup=False)
    for place in finding.places[:_MOST_SHOWN]:
        console.print(f"         {place}", markup=False)
    more = len(finding.places) - _MOST_SHOWN
    if more > 0:
        console.print(f"         and {more:,} more; --format=json names them all")


def _counts_table(counts: list[int]) -> Table:
    """Return the photos of each class, and of each part of each axis at the edges."""
    table = Table(title="Photos", title_justify="left")
    table.add_column("mask")
    table.add_column("gender")
    for name in (*AGE.classes, "all ages"):
        table.add_column(name, justify="right")
    rows = [counts[start : start + len(AGE.classes)] for start in range(0, len(counts), len(AGE.classes))]
    for number, row in enumerate(rows):
        mask, gender = divmod(number, len(GENDER.classes))
        is_last = gender == len(GENDER.classes) - 1
        cells = (f"{count:,}" for count in (*row, sum(row)))
        table.add_row(MASK.classes[mask], GENDER.classes[gender], *cells, end_section=is_last)
    sums = [sum(column) for column in zip(*rows, strict=True)]
    table.add_row("all", "", *(f"{count:,}" for count in (*sums, sum(sums))))
    return table
