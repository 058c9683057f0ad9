"""The table in a CSV file of predictions: its cells as text, and as numbers once they are known to be some.

Every fault names the file and the line, as an editor counts: the header is line 1.
"""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskkit.errors import PredictionError

__all__ = ["Table", "fault", "read_table"]


@dataclass(frozen=True)
class Table:
    """The cells of a CSV file as text, as many in every row as in the header; `lines`, where each row stands in it."""

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def texts(self, name: str) -> list[str]:
        """Return the cells of a column."""
        column = self.header.index(name)
        return [cells[column] for cells in self.rows]

    def names(self, name: str) -> list[str]:
        """Return the cells of a column in which none may be empty.

        Raises:
            PredictionError: the first cell that is.
        """
        texts = self.texts(name)
        for row, text in enumerate(texts):
            if not text.strip():
                raise self._cell_fault(row, self.header.index(name), "a name")
        return texts

    def classes(self, name: str, num_classes: int) -> NDArray[np.int64]:
        """Return a column of classes 0..num_classes-1, int64 [N].

        Raises:
            PredictionError: the first cell that is none.
        """
        number_of = {str(number): number for number in range(num_classes)}
        numbers = [number_of.get(text, -1) for text in self.texts(name)]
        if -1 in numbers:
            column = self.header.index(name)
            raise self._cell_fault(numbers.index(-1), column, f"a whole number from 0 to {num_classes - 1}")
        return np.array(numbers, dtype=np.int64)

    def values(self, num_columns: int) -> NDArray[np.float64]:
        """Return the last columns, float64 [N, num_columns].

        Raises:
            PredictionError: the first cell that is no finite number.
        """
        start = len(self.header) - num_columns
        rows = (",".join(cells[start:]) for cells in self.rows)
        try:
            values = np.loadtxt(rows, delimiter=",", comments=None, ndmin=2)  # twice as fast as float() of each cell
        except ValueError:
            values = np.array([math.nan])
        if np.isfinite(values).all():
            return values
        places = ((row, column) for row in range(len(self.rows)) for column in range(start, len(self.header)))
        row, column = next(place for place in places if not _is_number(self.rows[place[0]][place[1]]))
        raise self._cell_fault(row, column, "a finite number")

    def _cell_fault(self, row: int, column: int, valid: str) -> PredictionError:
        message = f"column {self.header[column]!r} is {self.rows[row][column]!r}; it must be {valid}"
        return fault(self.path, self.lines[row], message)


def read_table(path: Path, headers: Sequence[list[str]], *, hint: str) -> Table:
    """Read a table whose header is one of `headers`; blank lines, a byte-order mark and CRLF are no fault.

    Raises:
        PredictionError: the file cannot be read, has another header (the hint says which are valid), or a row has
            more or fewer cells.
    """
    numbered = list(_split(path, _read_text(path)))
    if not numbered:
        raise PredictionError(f"{path} is empty", hint=hint)
    (line, header), *body = numbered
    if header not in headers:
        received = ",".join(header)[:160]
        raise fault(path, line, f"{_header_fault(header, headers)}; received {received!r}", hint=hint)
    if not body:
        raise fault(path, line, "there are no rows after the header; at least one is needed")
    for line, cells in body:
        if len(cells) != len(header):
            raise fault(path, line, f"the row has {len(cells)} cells; the header has {len(header)}")
    return Table(path, header, [cells for _, cells in body], [line for line, _ in body])


def fault(source: Path | str, line: int, message: str, *, hint: str = "") -> PredictionError:
    """Return the error of one line of a file."""
    return PredictionError(f"{source}, line {line}: {message}", hint=hint)


def _header_fault(header: list[str], headers: Sequence[list[str]]) -> str:
    name, times = Counter(header).most_common(1)[0]
    if times > 1:
        return f"the column {name!r} appears {times} times"
    if any(sorted(header) == sorted(valid) for valid in headers):
        return "the columns are out of order"
    missing = [name for name in headers[0] if name not in header]
    return f"the column {missing[0]!r} is missing" if missing else "these are not the columns of predictions"


def _split(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of every row that is not blank; a quoted cell may run over several lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise fault(path, line, f"the row is not valid CSV: {error}") from error


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise PredictionError(f"{path} is a folder; a CSV file of predictions is needed")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise PredictionError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PredictionError(f"{path} is not text in UTF-8", hint="Save it as CSV in UTF-8.") from error
    if "\0" in text:
        raise PredictionError(f"{path} is not text but binary", hint="Save it as CSV in UTF-8.")
    return text


def _is_number(cell: str) -> bool:
    try:
        return re.fullmatch(r"[-+.0-9eE \t]+", cell) is not None and math.isfinite(float(cell))
    except ValueError:
        return False
