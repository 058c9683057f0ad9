"""The reporter that writes metrics.csv."""

import csv
from pathlib import Path

from maskkit import EpochEnd, Reporter, RunStart, replacing

__all__ = ["CsvReporter"]


class CsvReporter(Reporter):
    """Writes metrics.csv in the run folder: a row an epoch, on disk as soon as the epoch is done."""

    def __init__(self) -> None:
        self._path: Path | None = None

    def on_run_start(self, run: RunStart) -> None:
        self._path = run.run_dir / "metrics.csv"
        if self._path.exists():
            _cut_back(self._path, run.first_epoch)

    def on_epoch_end(self, result: EpochEnd) -> None:
        assert self._path is not None  # noqa: S101  on_run_start comes first
        is_new = not self._path.exists()
        with self._path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if is_new:
                writer.writerow(result.metrics)
            writer.writerow("" if value is None else f"{value:.10g}" for value in result.metrics.values())


def _cut_back(path: Path, first_epoch: int) -> None:
    """Keep the header and the whole rows of epochs before `first_epoch`; without any the file is removed."""
    header, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) or [""]
    rows = [line for line in lines if line.endswith("\n") and _epoch_of(line) < first_epoch]
    if not rows:
        path.unlink()
        return
    with replacing(path) as temporary:
        temporary.write_text("".join([header, *rows]), encoding="utf-8")


def _epoch_of(row: str) -> float:
    """Return the epoch of a row, infinity when a crash left no number there."""
    cell = row.partition(",")[0]
    return int(cell) if cell.isdecimal() else float("inf")
