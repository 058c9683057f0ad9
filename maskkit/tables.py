"""The table in a CSV file of predictions: its cells as text, and as numbers once they are known to be some.

A file is read block by block, so that one larger than the memory can be. pyarrow parses a plain block with all cores;
one with quotes, blank lines or a fault goes to Python's csv module, which knows the line of everything. Every fault
names the file and the line, as an editor counts: the header is line 1.
"""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskkit.errors import PredictionError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Table", "fault", "read_blocks", "read_header", "read_table"]

_BLOCK_BYTES = 8 * 2**20
_THREAD_BYTES = 2**20  # what one core takes of a block at a time
_MOST_OF_HEADER = 2**16
_LONGEST_ROW = 2**25
_MARK = b"\xef\xbb\xbf"  # the byte-order mark of UTF-8


@dataclass(frozen=True)
class Table:
    """Rows of a CSV file, a column of texts for each cell of the header; `lines`, where each row stands in the file."""

    path: Path
    header: list[str]
    columns: "list[pa.ChunkedArray]"
    lines: Sequence[int]

    def texts(self, name: str) -> list[str]:
        """Return the cells of a column."""
        texts: list[str] = self.columns[self.header.index(name)].to_pylist()
        return texts

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
        import pyarrow as pa
        import pyarrow.compute

        column = self.header.index(name)
        valid = pa.array([str(number) for number in range(num_classes)])
        numbers = pyarrow.compute.index_in(self.columns[column], value_set=valid)
        if numbers.null_count:
            row = numbers.is_null().index(True).as_py()
            raise self._cell_fault(row, column, f"a whole number from 0 to {num_classes - 1}")
        return np.asarray(numbers, dtype=np.int64)

    def values(self, num_columns: int) -> NDArray[np.float64]:
        """Return the last columns, float64 [N, num_columns].

        Raises:
            PredictionError: the first cell that is no finite number.
        """
        import pyarrow as pa

        texts = self.columns[len(self.header) - num_columns :]
        try:
            values = np.column_stack([np.asarray(column.cast(pa.float64())) for column in texts])
        except pa.ArrowInvalid:
            pass
        else:
            if np.isfinite(values).all():
                return values
        return self._careful_values(num_columns)

    def _careful_values(self, num_columns: int) -> NDArray[np.float64]:
        """Return what `values` does, also of numbers with spaces around them, or raise at the first that is none."""
        start = len(self.header) - num_columns
        rows = list(zip(*(column.to_pylist() for column in self.columns[start:]), strict=True))
        for row, cells in enumerate(rows):
            for column, cell in enumerate(cells, start):
                if not _is_number(cell):
                    raise self._cell_fault(row, column, "a finite number")
        return np.array([[float(cell) for cell in cells] for cells in rows])

    def _cell_fault(self, row: int, column: int, valid: str) -> PredictionError:
        received = self.columns[column][row].as_py()
        message = f"column {self.header[column]!r} is {received!r}; it must be {valid}"
        return fault(self.path, self.lines[row], message)


def read_table(path: Path, headers: Sequence[list[str]], *, hint: str) -> Table:
    """Read a table whose header is one of `headers`; blank lines, a byte-order mark and CRLF are no fault.

    Raises:
        PredictionError: the file cannot be read, has another header (the hint says which are valid), or a row has
            more or fewer cells.
    """
    return next(read_blocks(path, headers, hint=hint, num_bytes=-1))


def read_header(path: Path, headers: Sequence[list[str]], *, hint: str) -> list[str]:
    """Return the header of a table, and read no further than that needs.

    Raises:
        PredictionError: as `read_table` does.
    """
    return _read_start(path, headers, hint).header


def read_blocks(
    path: Path,
    headers: Sequence[list[str]],
    *,
    hint: str,
    num_bytes: int = _BLOCK_BYTES,
    on_read: Callable[[int], None] | None = None,
) -> Iterator[Table]:
    """Yield a table as `read_table` does, in parts of about `num_bytes`, which -1 makes one.

    on_read: is told how many bytes of the file have been read.

    Raises:
        PredictionError: as `read_table` does, when it comes to the fault.
    """
    start = _read_start(path, headers, hint)
    has_rows = False
    for line, block in _blocks(path, start, num_bytes, on_read):
        columns, lines = _plainly_parsed(block, line, start.header) or _carefully_parsed(
            path, block, line, start.header
        )
        if lines:
            has_rows = True
            yield Table(path, start.header, columns, lines)
    if not has_rows:
        raise fault(path, start.line - 1, "there are no rows after the header; at least one is needed")


def fault(source: Path | str, line: int, message: str, *, hint: str = "") -> PredictionError:
    """Return the error of one line of a file."""
    return PredictionError(f"{source}, line {line}: {message}", hint=hint)


class _Start(NamedTuple):
    """The header of a file, and where the rows after it begin: at which byte, on which line."""

    header: list[str]
    offset: int
    line: int


def _read_start(path: Path, headers: Sequence[list[str]], hint: str) -> _Start:
    with _opened(path) as file:
        first_bytes = file.read(_MOST_OF_HEADER)
    offset = len(_MARK) if first_bytes.startswith(_MARK) else 0
    line, header = 0, None
    for line, text in enumerate(first_bytes[offset:].splitlines(keepends=True), start=1):
        offset += len(text)
        header = next((cells for _, cells in _split(path, _text(path, text), line)), None)
        if header:
            break
    if not header:
        raise PredictionError(f"{path} is empty", hint=hint)
    if header not in headers:
        received = ",".join(header)[:160]
        raise fault(path, line, f"{_header_fault(header, headers)}; received {received!r}", hint=hint)
    return _Start(header, offset, line + 1)


def _header_fault(header: list[str], headers: Sequence[list[str]]) -> str:
    name, times = Counter(header).most_common(1)[0]
    if times > 1:
        return f"the column {name!r} appears {times} times"
    if any(sorted(header) == sorted(valid) for valid in headers):
        return "the columns are out of order"
    missing = [name for name in headers[0] if name not in header]
    return f"the column {missing[0]!r} is missing" if missing else "these are not the columns of predictions"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if path.is_dir():
        raise PredictionError(f"{path} is a folder; a CSV file of predictions is needed")
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise PredictionError(f"{path} cannot be read: {error.strerror}") from error


def _blocks(
    path: Path, start: _Start, num_bytes: int, on_read: Callable[[int], None] | None
) -> Iterator[tuple[int, bytes]]:
    """Yield (line, bytes) of parts of a file that end where a row does; `line` is where the part begins."""
    line, rest = start.line, b""
    with _opened(path) as file:
        file.seek(start.offset)
        while data := file.read(num_bytes):
            block = rest + data
            cut = _end_of_rows(block) if num_bytes > 0 else len(block)
            if not cut and len(block) > _LONGEST_ROW:  # no row, but a quote that nothing closes
                cut = len(block)
            block, rest = block[:cut], block[cut:]
            if block:
                yield line, block
                line += _num_lines(block)
            if on_read is not None:
                on_read(file.tell())
    if rest:
        yield line, rest


def _num_lines(block: bytes) -> int:
    return block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")


def _end_of_rows(block: bytes) -> int:
    """Return how many bytes the whole rows of a block have; a line end between quotes ends no row."""
    num_quotes = block.count(b'"')
    cut = block.rfind(b"\n") + 1
    num_quotes -= block.count(b'"', cut)
    while cut and num_quotes % 2:
        before = block.rfind(b"\n", 0, cut - 1) + 1
        num_quotes -= block.count(b'"', before, cut)
        cut = before
    return cut


_Cells = tuple["list[pa.ChunkedArray]", Sequence[int]]


def _plainly_parsed(block: bytes, first_line: int, header: list[str]) -> _Cells | None:
    """Return the columns of a block and the lines of its rows, or None where it is not as plain as can be."""
    import pyarrow as pa
    import pyarrow.csv

    if b'"' in block or b"\0" in block:
        return None
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            read_options=pyarrow.csv.ReadOptions(column_names=header, block_size=_THREAD_BYTES),
            parse_options=pyarrow.csv.ParseOptions(quote_char=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        return None
    num_lines = block.count(b"\n") + (not block.endswith(b"\n"))
    return (table.columns, range(first_line, first_line + num_lines)) if table.num_rows == num_lines else None


def _carefully_parsed(path: Path, block: bytes, first_line: int, header: list[str]) -> _Cells:
    """Return what `_plainly_parsed` does, of any block, or raise at its first fault."""
    import pyarrow as pa

    lines, rows = [], []
    for line, cells in _split(path, _text(path, block), first_line):
        if len(cells) != len(header):
            raise fault(path, line, f"the row has {len(cells)} cells; the header has {len(header)}")
        lines.append(line)
        rows.append(cells)
    return [pa.chunked_array([cells], pa.string()) for cells in zip(*rows, strict=True)], lines


def _split(path: Path, text: str, first_line: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of every row that is not blank; a quoted cell may run over several lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = first_line
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = first_line + reader.line_num
    except csv.Error as error:
        raise fault(path, line, f"the row is not valid CSV: {error}") from error


def _text(path: Path, block: bytes) -> str:
    try:
        text = block.decode("utf-8")
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
