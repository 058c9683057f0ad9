"""Files of predictions side by side: the rows of all in the order of the first, read once, whatever their own order.

    align(first, other)                     two files that are in memory
    with side_by_side(columns) as aligned   files that need not fit: more than some megabytes wait on disk

Every file must hold the ids of the first one, each once.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maskkit.csv_files import fault
from maskkit.errors import PredictionError
from maskkit.predictions import Floats, Integers, PredictionFile, Predictions, Space, check_ids, softmax
from maskkit.row_store import RowStore

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Aligned", "Column", "align", "side_by_side"]

_MOST_IN_MEMORY = 192 * 2**20  # of all files together


def align(first: Predictions, other: Predictions) -> Predictions:
    """Return the rows of a file in the order of the first one's ids.

    Raises:
        PredictionError: the two do not hold the same ids.
    """
    ids = _FirstIds(first.path)
    ids.add(first)
    places = _Places(ids, other.path)
    row_of = np.argsort(places.of(other))
    places.check_complete()
    return _taken(other, first.images, row_of)


def _taken(file: Predictions, images: "pa.ChunkedArray", rows: Integers) -> Predictions:
    return replace(
        file,
        images=images,
        ans=file.ans[rows],
        truth=None if file.truth is None else file.truth[rows],
        people=None if file.people is None else [file.people[row] for row in rows],
        values=None if file.values is None else file.values[rows],
        lines=file.lines[rows],
    )


@dataclass(frozen=True)
class Column:
    """A file that takes part in a vote of `num_classes` classes, which `owner` names in errors.

    takes_answers: whether a hard file takes part, as rows of one 1.
    """

    file: PredictionFile
    num_classes: int
    owner: str
    takes_answers: bool = False


class Aligned:
    """The rows of M files in the order of the first one's ids; `spaces` [M], what each holds: prob, logit or hard."""

    def __init__(
        self, ids: list[str], columns: Sequence[Column], stores: Sequence[RowStore], spaces: Sequence[str]
    ) -> None:
        self.ids, self.spaces = ids, tuple(spaces)
        self._columns, self._stores = columns, stores

    def probabilities(self, start: int, stop: int) -> list[Floats]:
        """Return the rows `start` to `stop` of every file, float64 [B, K] each."""
        return [
            self._rows(store.take(start, stop), column.num_classes, space)
            for store, column, space in zip(self._stores, self._columns, self.spaces, strict=True)
        ]

    def _rows(self, rows: NDArray[Any], num_classes: int, space: str) -> Floats:
        if space == "hard":
            return np.asarray(np.eye(num_classes)[rows[:, 0]])
        return softmax(rows) if space == "logit" else rows


@contextmanager
def side_by_side(
    columns: Sequence[Column], *, space: Space = "auto", on_read: Callable[[int, int], None] | None = None
) -> Iterator[Aligned]:
    """Read files, check every cell, and yield their rows in the order of the first one.

    space: what soft files hold.
    on_read: is told (bytes read, bytes in all).

    Raises:
        PredictionError: a file is faulty or holds not what the vote needs, two hold different ids, or the folder for
            temporary files has no room.
    """
    first = _FirstIds(columns[0].file.path)
    sizes = [column.file.num_bytes for column in columns]
    with ExitStack() as stack:
        stores, spaces = [], []
        for number, column in enumerate(columns):
            read_before = sum(sizes[:number])
            width = 1 if column.file.num_classes is None else column.num_classes
            store = stack.enter_context(RowStore(width, _MOST_IN_MEMORY // len(columns)))

            def on_bytes(count: int, before: int = read_before) -> None:
                if on_read is not None:
                    on_read(before + count, sum(sizes))

            with _naming_what_has_no_room():
                spaces.append(_fill(store, column, first, space, on_bytes, is_first=number == 0))
            stores.append(store)
        yield Aligned(first.ids, columns, stores, spaces)


def _fill(
    store: RowStore, column: Column, first: "_FirstIds", space: Space, on_read: Callable[[int], None], *, is_first: bool
) -> str:
    """Put the rows of a file into a store, in the order of the first file, and return the space they are in."""
    places = None if is_first else _Places(first, column.file.path)
    rows: list[Integers] = []
    found: str = "hard" if column.file.num_classes is None else "prob" if space == "auto" else space
    for part in column.file.parts(on_read):
        part.check_classes(column.num_classes, column.owner)
        if places is None:
            first.add(part)
        else:
            rows.append(places.of(part))
        if part.values is None and column.takes_answers:
            store.append(part.ans[:, None])
            continue
        store.append(part.checked_values(space))
        if space == "auto" and part.space == "logit":
            found = "logit"
    if places is None:
        first.check_unique()
    else:
        places.check_complete()
        if not places.are_in_order:
            store.reorder(np.concatenate(rows))
    return found


class _FirstIds:
    """The ids of the first file, which give the others their order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ids: list[str] = []
        self._chunks: list[pa.Array] = []
        self._lines: list[Integers] = []

    def add(self, part: Predictions) -> None:
        """Take more of its rows.

        Raises:
            PredictionError: an id is empty, repeated in this part or no text.
        """
        part.check_ids()
        self.ids += part.ids
        self._chunks += part.images.chunks
        self._lines.append(part.lines)

    @cached_property
    def images(self) -> "pa.ChunkedArray":
        """The ids as texts, once all are there."""
        import pyarrow as pa

        return pa.chunked_array(self._chunks)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each id, once all are there."""
        return {image: row for row, image in enumerate(self.ids)}

    def check_unique(self) -> None:
        """Refuse a file of which two parts hold the same id.

        Raises:
            PredictionError: the first row whose id is repeated.
        """
        if len(set(self.ids)) < len(self.ids):
            check_ids(self.path, self.ids, self.lines())

    def lines(self) -> list[int]:
        """Return where each row stands in the file."""
        lines: list[int] = np.concatenate(self._lines).tolist()
        return lines


class _Places:
    """Where the rows of another file belong in the order of the first one."""

    def __init__(self, first: _FirstIds, path: Path) -> None:
        self.are_in_order = True
        self._first, self._path = first, path
        self._line_of = np.zeros(len(first.ids), dtype=np.int64)  # where each id stands here, 0 while it was not seen
        self._num_seen = 0
        self._strangers: list[tuple[str, int]] = []

    def of(self, part: Predictions) -> Integers:
        """Return the row of the first file that each row of a part belongs to, int64 [N]; -1 where there is none.

        Raises:
            PredictionError: an id is empty, repeated or no text.
        """
        start, self._num_seen = self._num_seen, self._num_seen + len(part.images)
        if self._first.images.slice(start, len(part.images)).equals(part.images):
            rows = np.arange(start, self._num_seen)
        else:
            self.are_in_order = False
            part.check_ids()
            rows = np.array([self._first.row_of.get(image, -1) for image in part.ids], dtype=np.int64)
            self._strangers += [(part.ids[row], int(part.lines[row])) for row in np.flatnonzero(rows < 0)]
        known = np.flatnonzero(rows >= 0)
        lines = self._line_of[rows[known]]
        if lines.any():
            again = np.flatnonzero(lines)[0]
            raise _repeated(part, known[again], lines[again])
        self._line_of[rows[known]] = part.lines[known]
        return rows

    def check_complete(self) -> None:
        """Refuse a file that holds other ids than the first.

        Raises:
            PredictionError: says how many are missing in which file, and the first of them.
        """
        first = self._first
        lines = first.lines() if (self._line_of == 0).any() else []
        missing = [(first.ids[row], lines[row]) for row in np.flatnonzero(self._line_of == 0).tolist()]
        faults = []
        for lonely, holder, other in ((missing, first.path, self._path), (self._strangers, self._path, first.path)):
            if lonely:
                where = f"the first is {lonely[0][0]!r}, line {lonely[0][1]} of {holder}"
                faults.append(f"{len(lonely)} {'is' if len(lonely) == 1 else 'are'} missing in {other} ({where})")
        if faults:
            message = f"{first.path} and {self._path} hold different ids: {'; '.join(faults)}"
            raise PredictionError(message, hint="Predict the same info.csv with each of the runs.")


def _repeated(part: Predictions, row: int, line: int) -> PredictionError:
    return fault(part.path, part.lines[row], f"the ImageID {part.ids[row]!r} is already on line {line}")


@contextmanager
def _naming_what_has_no_room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PredictionError(
            f"the rows cannot wait in {tempfile.gettempdir()}: {error.strerror}",
            hint="Name another folder for temporary files in TMPDIR.",
        ) from error
