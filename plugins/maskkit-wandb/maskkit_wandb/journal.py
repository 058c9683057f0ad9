"""The rows that were handed to W&B, kept by ourselves with the numbers that W&B has for them, its `_step`.

W&B holds what it is given in memory for some seconds, and a process that is killed takes that along: W&B then lacks
epochs whose checkpoint stands, which no resumed run would train again.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from maskkit import replacing
from maskkit_wandb.rows import Place, Row, place_of

__all__ = ["Journal"]


class Journal:
    """A file with the JSON of a row in each line; what was appended outlives the process at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[Place, Row]:
        """Return the rows by their places, of one that was sent again the last; a line cut short by a crash is none."""
        text = self._path.read_text(encoding="utf-8", errors="replace") if self._path.exists() else ""
        rows = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("}\n")]
        return {place: row for row in rows if (place := place_of(row))}

    def rewrite(self, rows: Iterable[Row]) -> None:
        with replacing(self._path) as temporary:
            temporary.write_text("".join(map(_line, rows)), encoding="utf-8")

    def append(self, row: Row) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(row))


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"
