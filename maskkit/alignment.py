"""Files of predictions side by side: the rows of all in the order of the first, read once, whatever their own order.

    align(first, other)                     two files that are in memory
    with side_by_side(columns) as aligned   files that need not fit: more than some megabytes wait on disk

Every file must hold the ids of the first one, each once.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
    rows = _rows_in(*(_Ids(file.path, file.images, file.lines) for file in (first, other)))
    return other if rows is None else _taken(other, first.images, np.argsort(rows))


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
        self, images: "pa.ChunkedArray", columns: Sequence[Column], stores: Sequence[RowStore], spaces: Sequence[str]
    ) -> None:
        self.spaces = tuple(spaces)
        self._images = images
        self._columns, self._stores = columns, stores

    def __len__(self) -> int:
        return len(self._images)

    def ids(self, start: int, stop: int) -> list[str]:
        """Return the ids of the rows `start` to `stop`."""
        ids: list[str] = self._images.slice(start, stop - start).to_pylist()
        return ids

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
                found, space_found = _fill(store, column, space, on_bytes)
                if number == 0:
                    first = found
                    first.check()
                elif (rows := _rows_in(first, found)) is not None:
                    store.reorder(rows)
            stores.append(store)
            spaces.append(space_found)
        yield Aligned(first.images, columns, stores, spaces)


def _fill(store: RowStore, column: Column, space: Space, on_read: Callable[[int], None]) -> tuple["_Ids", str]:
    """Put the rows of a file into a store, and return their ids and the space they are in."""
    parts: list[tuple[pa.ChunkedArray, Integers]] = []
    found: str = "hard" if column.file.num_classes is None else "prob" if space == "auto" else space
    for part in column.file.parts(on_read):
        part.check_classes(column.num_classes, column.owner)
        parts.append((part.images, part.lines))
        if part.values is None and column.takes_answers:
            store.append(part.ans[:, None])
            continue
        store.append(part.checked_values(space))
        if space == "auto" and part.space == "logit":
            found = "logit"
    return _Ids.of(column.file.path, parts), found


@dataclass(frozen=True, eq=False)
class _Ids:
    """The ids of a file, texts [N], and `lines` int64 [N], where each stands in it."""

    path: Path
    images: "pa.ChunkedArray"
    lines: Integers

    @classmethod
    def of(cls, path: Path, parts: "Sequence[tuple[pa.ChunkedArray, Integers]]") -> "_Ids":
        """Return those of all parts of a file."""
        import pyarrow as pa

        images, lines = zip(*parts, strict=True)
        return cls(path, pa.chunked_array([chunk for part in images for chunk in part.chunks]), np.concatenate(lines))

    def check(self) -> None:
        """Refuse an id that is empty, repeated or no text.

        Raises:
            PredictionError: the first such row.
        """
        check_ids(self.path, self.images.to_pylist(), self.lines)

    def first_of(self, rows: Integers, other: Path) -> str:
        """Return how many rows another file lacks, and the first of them."""
        where = f"the first is {self.images[rows[0]].as_py()!r}, line {self.lines[rows[0]]} of {self.path}"
        return f"{len(rows)} {'is' if len(rows) == 1 else 'are'} missing in {other} ({where})"


def _rows_in(first: _Ids, other: _Ids) -> Integers | None:
    """Return the row of the first file where each row of another belongs, int64 [N]; None where their order is one.

    Raises:
        PredictionError: an id is empty, repeated or no text, or the two hold different ids.
    """
    if other.images.equals(first.images):
        return None
    import pyarrow.compute

    found = pyarrow.compute.index_in(other.images, value_set=first.images).fill_null(-1)
    rows = np.concatenate([np.from_dlpack(chunk) for chunk in found.chunks]).astype(np.int64)
    strangers = np.flatnonzero(rows < 0)
    times = np.bincount(rows[rows >= 0], minlength=len(first.lines))
    if not strangers.size and (times == 1).all():
        return rows
    other.check()
    missing = np.flatnonzero(times == 0)
    faults = [first.first_of(missing, other.path)] if missing.size else []
    faults += [other.first_of(strangers, first.path)] if strangers.size else []
    message = f"{first.path} and {other.path} hold different ids: {'; '.join(faults)}"
    raise PredictionError(message, hint="Predict the same info.csv with each of the runs.")


@contextmanager
def _naming_what_has_no_room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PredictionError(
            f"the rows cannot wait in {tempfile.gettempdir()}: {error.strerror}",
            hint="Name another folder for temporary files in TMPDIR.",
        ) from error
