"""A CSV file as bytes: where its header ends, and parts of it that end where a row does, each with its line.

Every fault names the file and the line, as an editor counts: the header is line 1.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from maskkit.errors import PredictionError

__all__ = ["Block", "CsvFile", "Start", "blocks_of", "fault", "read_start", "split_rows", "text_of"]

_MOST_OF_HEADER = 2**16
_LONGEST_ROW = 2**25
_MARK = b"\xef\xbb\xbf"  # the byte-order mark of UTF-8


@dataclass(frozen=True)
class CsvFile:
    """A file that can be read more than once; `content` is what a pipe held, None of any other file."""

    path: Path
    content: bytes | None

    @classmethod
    def at(cls, path: Path) -> "CsvFile":
        """Return the file at a path.

        Raises:
            PredictionError: it is a folder, or cannot be read.
        """
        with _explained(path):
            return cls(path, path.read_bytes() if path.is_fifo() or path.is_char_device() else None)

    @property
    def num_bytes(self) -> int:
        """The size of the file."""
        with _explained(self.path):
            return self.path.stat().st_size if self.content is None else len(self.content)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Yield the open file.

        Raises:
            PredictionError: it is a folder, or cannot be read.
        """
        with _explained(self.path), self.path.open("rb") if self.content is None else io.BytesIO(self.content) as file:
            yield file


def fault(source: Path | str, line: int, message: str, *, hint: str = "") -> PredictionError:
    """Return the error of one line of a file."""
    return PredictionError(f"{source}, line {line}: {message}", hint=hint)


class Start(NamedTuple):
    """The header of a file, and where the rows after it begin: at which byte, on which line."""

    header: list[str]
    offset: int
    line: int


def read_start(file: CsvFile, headers: Sequence[list[str]], hint: str) -> Start:
    """Return where the rows of a file begin, whose header is one of `headers`; the hint says which are valid.

    Raises:
        PredictionError: the file cannot be read, is empty, or has another header.
    """
    path = file.path
    with file.opened() as stream:
        first_bytes = stream.read(_MOST_OF_HEADER)
    offset = len(_MARK) if first_bytes.startswith(_MARK) else 0
    line, header = 0, None
    for line, text in enumerate(first_bytes[offset:].splitlines(keepends=True), start=1):
        offset += len(text)
        header = next((cells for _, cells in split_rows(path, text_of(path, text), line)), None)
        if header:
            break
    if not header:
        raise PredictionError(f"{path} is empty", hint=hint)
    if header not in headers:
        received = ",".join(header)[:160]
        raise fault(path, line, f"{_header_fault(header, headers)}; received {received!r}", hint=hint)
    return Start(header, offset, line + 1)


def _header_fault(header: list[str], headers: Sequence[list[str]]) -> str:
    name, times = Counter(header).most_common(1)[0]
    if times > 1:
        return f"the column {name!r} appears {times} times"
    if any(sorted(header) == sorted(valid) for valid in headers):
        return "the columns are out of order"
    missing = [name for name in headers[0] if name not in header]
    return f"the column {missing[0]!r} is missing" if missing else "these are not the columns of predictions"


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the system raises into an error that names the file."""
    if path.is_dir():
        raise PredictionError(f"{path} is a folder; a CSV file of predictions is needed")
    try:
        yield
    except OSError as error:
        raise PredictionError(f"{path} cannot be read: {error.strerror}") from error


class Block(NamedTuple):
    """Whole rows of a file; `is_plain`: no cell of them is quoted, and all of it may be text."""

    rows: memoryview
    is_plain: bool


def blocks_of(file: CsvFile, offset: int, num_bytes: int, on_read: Callable[[int], None] | None) -> Iterator[Block]:
    """Yield parts of a file from a byte on; each ends where a row does."""
    wanted = num_bytes
    with file.opened() as stream:
        while True:
            stream.seek(offset)  # what was read beyond the last whole row is read again, which is cheaper than a copy
            data = stream.read(wanted)
            is_last = len(data) < wanted
            has_quotes = b'"' in data
            end = len(data) if is_last else _end_of_rows(data, has_quotes=has_quotes)
            if not end and not is_last:
                if len(data) <= _LONGEST_ROW:
                    wanted *= 2
                    continue
                end = len(data)  # no row, but a quote that nothing closes
            if end:
                yield Block(memoryview(data)[:end], is_plain=not has_quotes and b"\0" not in data)
            offset, wanted = offset + end, num_bytes
            if on_read is not None:
                on_read(offset)
            if is_last:
                return


def _end_of_rows(data: bytes, *, has_quotes: bool) -> int:
    """Return how many bytes the whole rows have; a line end between quotes ends no row."""
    end = data.rfind(b"\n") + 1
    num_quotes = data.count(b'"', 0, end) if has_quotes else 0
    while end and num_quotes % 2:
        before = data.rfind(b"\n", 0, end - 1) + 1
        num_quotes -= data.count(b'"', before, end)
        end = before
    return end


def split_rows(path: Path, text: str, first_line: int) -> Iterator[tuple[int, list[str]]]:
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


def text_of(path: Path, block: bytes) -> str:
    """Return the text of some bytes of a file.

    Raises:
        PredictionError: they are not text in UTF-8.
    """
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PredictionError(f"{path} is not text in UTF-8", hint="Save it as CSV in UTF-8.") from error
    if "\0" in text:
        raise PredictionError(f"{path} is not text but binary", hint="Save it as CSV in UTF-8.")
    return text
