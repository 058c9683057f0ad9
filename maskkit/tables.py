"""The table in a CSV file of predictions: its cells as text, and as numbers once they are known to be some.

A file is read block by block, so that one larger than the memory can be. pyarrow parses plain blocks, each on a core of
its own; one with quotes, blank lines or a fault goes to Python's csv module, which knows the line of everything. Every
fault names the file and the line, as an editor counts: the header is line 1.
"""

import math
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskkit.csv_files import Block, CsvFile, blocks_of, fault, read_start, split_rows, text_of
from maskkit.errors import PredictionError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Table", "read_blocks", "read_header", "read_table"]

_BLOCK_BYTES = 2 * 2**20
_MOST_THREADS = 8
_CLASS_COLUMNS = ("ans", "truth")


@dataclass(frozen=True)
class Table:
    """Rows of a CSV file by columns; `lines` int64 [N], where each row stands in the file.

    `columns`: the cells of each column as texts, without those of `numbers`, float64 [N, K], which are known to be
    finite: the cells of the last columns, or None where nobody has looked at them.
    """

    path: Path
    header: list[str]
    columns: "Mapping[str, pa.ChunkedArray]"
    numbers: NDArray[np.float64] | None
    lines: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lines)

    def texts(self, name: str) -> list[str]:
        """Return the cells of a column."""
        texts: list[str] = self.columns[name].to_pylist()
        return texts

    def names(self, name: str) -> list[str]:
        """Return the cells of a column in which none may be empty.

        Raises:
            PredictionError: the first cell that is.
        """
        texts = self.texts(name)
        for row, text in enumerate(texts):
            if not text.strip():
                raise self._cell_fault(row, name, "a name")
        return texts

    def classes(self, name: str, num_classes: int) -> NDArray[np.int64]:
        """Return a column of classes 0..num_classes-1, int64 [N].

        Raises:
            PredictionError: the first cell that is none.
        """
        number_of = {str(number): number for number in range(num_classes)}
        parts = []
        for chunk in self.columns[name].chunks:
            meanings = np.array([number_of.get(text, -1) for text in chunk.dictionary.to_pylist()], dtype=np.int64)
            parts.append(meanings[np.from_dlpack(chunk.indices)])
        numbers = np.concatenate(parts)
        if wrong := np.flatnonzero(numbers < 0).tolist():
            raise self._cell_fault(wrong[0], name, f"a whole number from 0 to {num_classes - 1}")
        return numbers

    def values(self, num_columns: int) -> NDArray[np.float64]:
        """Return the last columns, float64 [N, num_columns].

        Raises:
            PredictionError: the first cell that is no finite number.
        """
        if self.numbers is not None:
            return self.numbers
        names = self.header[-num_columns:]
        rows = list(zip(*map(self.texts, names), strict=True))
        for row, cells in enumerate(rows):
            for name, cell in zip(names, cells, strict=True):
                if not _is_number(cell):
                    raise self._cell_fault(row, name, "a finite number")
        return np.array([[float(cell) for cell in cells] for cells in rows])

    def _cell_fault(self, row: int, name: str, valid: str) -> PredictionError:
        message = f"column {name!r} is {self.columns[name][row].as_py()!r}; it must be {valid}"
        return fault(self.path, self.lines[row], message)


def read_table(path: Path, headers: Sequence[list[str]], *, hint: str) -> Table:
    """Read a table whose header is one of `headers`; blank lines, a byte-order mark and CRLF are no fault.

    Raises:
        PredictionError: the file cannot be read, has another header (the hint says which are valid), or a row has
            more or fewer cells.
    """
    file = CsvFile.at(path)
    return next(read_blocks(file, headers, hint=hint, num_bytes=file.num_bytes + 1))


def read_header(file: CsvFile, headers: Sequence[list[str]], *, hint: str) -> list[str]:
    """Return the header of a table, and read no further than that needs.

    Raises:
        PredictionError: as `read_table` does.
    """
    return read_start(file, headers, hint).header


def read_blocks(
    file: CsvFile,
    headers: Sequence[list[str]],
    *,
    hint: str,
    num_bytes: int = _BLOCK_BYTES,
    on_read: Callable[[int], None] | None = None,
) -> Iterator[Table]:
    """Yield a table as `read_table` does, in parts of about `num_bytes`.

    on_read: is told how many bytes of the file have been read.

    Raises:
        PredictionError: as `read_table` does, when it comes to the fault.
    """
    path, start = file.path, read_start(file, headers, hint)
    line, has_rows = start.line, False
    for block, plain in _plainly_parsed(blocks_of(file, start.offset, num_bytes, on_read), start.header):
        if plain is None:
            text = text_of(path, bytes(block.rows))
            part = _carefully_parsed(path, text, line, start.header)
            line += text.count("\n") + text.count("\r") - text.count("\r\n")
        else:
            part = Table(path, start.header, *plain, np.arange(line, line + len(plain.columns["ans"])))
            line += len(part)
        if len(part):
            has_rows = True
            yield part
    if not has_rows:
        raise fault(path, start.line - 1, "there are no rows after the header; at least one is needed")


class _Plain(NamedTuple):
    """The columns and numbers of a `Table`."""

    columns: "Mapping[str, pa.ChunkedArray]"
    numbers: NDArray[np.float64] | None


def _plainly_parsed(blocks: Iterator[Block], header: list[str]) -> Iterator[tuple[Block, _Plain | None]]:
    """Yield every block with what it holds, or None where it is not as plain as can be, or a number in it is none."""
    num_threads = min(os.cpu_count() or 1, _MOST_THREADS)
    with ThreadPoolExecutor(num_threads) as pool:
        pending = deque[tuple[Block, Future[_Plain | None]]]()
        for block in blocks:
            pending.append((block, pool.submit(_parsed, block, header)))
            if len(pending) > num_threads:
                first, parsed = pending.popleft()
                yield first, parsed.result()
        for block, parsed in pending:
            yield block, parsed.result()


def _parsed(block: Block, header: list[str]) -> _Plain | None:
    import pyarrow as pa
    import pyarrow.csv

    if not block.is_plain:
        return None
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block.rows),
            read_options=pyarrow.csv.ReadOptions(column_names=header, block_size=len(block.rows), use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: pa.float64() if name.isdigit() else _type_of(name) for name in header},
                strings_can_be_null=False,
                null_values=[],
            ),
        )
    except pa.ArrowInvalid:
        return None
    numbers = _numbers(table.select([name for name in header if name.isdigit()]))
    has_blank_line = any("" in chunk.dictionary.to_pylist() for chunk in table.column("ans").chunks)
    if has_blank_line or (numbers is not None and not np.isfinite(numbers).all()):
        return None
    return _Plain({name: table.column(name) for name in header if not name.isdigit()}, numbers)


def _numbers(table: "pa.Table") -> NDArray[np.float64] | None:
    """Return the columns of a table, float64 [N, K], None where it has none."""
    if not table.num_columns:
        return None
    (batch,) = table.combine_chunks().to_batches()
    return np.asarray(batch.to_tensor().to_numpy())  # that of a column would import pandas


def _carefully_parsed(path: Path, text: str, first_line: int, header: list[str]) -> Table:
    """Return the rows of any text, of which there may be none, or raise at its first fault."""
    import pyarrow as pa

    lines, rows = [], []
    for line, cells in split_rows(path, text, first_line):
        if len(cells) != len(header):
            raise fault(path, line, f"the row has {len(cells)} cells; the header has {len(header)}")
        lines.append(line)
        rows.append(cells)
    columns = {
        name: pa.chunked_array([pa.array(cells, _type_of(name))])
        for name, cells in zip(header, zip(*rows, strict=True), strict=bool(rows))
    }
    return Table(path, header, columns, None, np.array(lines, dtype=np.int64))


def _type_of(name: str) -> "pa.DataType":
    """Return the type of a column of texts, of which those of classes repeat."""
    import pyarrow as pa

    return pa.dictionary(pa.int32(), pa.string()) if name in _CLASS_COLUMNS else pa.string()


def _is_number(cell: str) -> bool:
    try:
        return re.fullmatch(r"[-+.0-9eE \t]+", cell) is not None and math.isfinite(float(cell))
    except ValueError:
        return False
