"""Rows of numbers that wait for their turn: in memory while they are few, in a temporary file once they are many."""

import tempfile
from bisect import bisect_left, bisect_right
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["RowStore"]

_STEP_BYTES = 8 * 2**20
_WINDOW_BYTES = 64 * 2**20


class RowStore:
    """Rows of `width` numbers of one type, which leave the memory when they take more than `most_bytes`."""

    def __init__(self, width: int, most_bytes: int) -> None:
        self._width, self._most_bytes = width, most_bytes
        self._type: np.dtype[Any] = np.dtype(np.float64)
        self._num_rows = 0
        self._parts: list[NDArray[Any]] = []
        self._ends: list[int] = []  # how many rows there are up to the end of each part
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows [B, width]."""
        self._type = rows.dtype
        self._num_rows += len(rows)
        self._parts.append(rows)
        self._ends.append(self._num_rows)
        if self._num_rows * self._row_bytes > self._most_bytes:
            self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115  it is closed with the store
            for part in self._parts:
                self._file.write(np.ascontiguousarray(part).data)
            self._parts = []

    def take(self, start: int, stop: int) -> NDArray[Any]:
        """Return the rows `start` to `stop`, which nobody may write into."""
        if self._file is None:
            return self._of_parts(start, stop)
        self._file.seek(start * self._row_bytes)
        rows = self._file.read((stop - start) * self._row_bytes)
        return np.frombuffer(rows, self._type).reshape(-1, self._width)

    def reorder(self, places: NDArray[np.int64]) -> None:
        """Move each row to its place, int64 [N]."""
        with RowStore(self._width, self._most_bytes) as moved:
            step = max(1, _WINDOW_BYTES // self._row_bytes)
            for start in range(0, self._num_rows, step):
                moved.append(self._with_places(places, start, min(start + step, self._num_rows)))
            self._parts, self._ends = moved._parts, moved._ends
            self._file, moved._file = moved._file, self._file  # so that the old one is closed

    def _with_places(self, places: NDArray[np.int64], begin: int, end: int) -> NDArray[Any]:
        """Return the rows whose places are `begin` to `end`, in that order."""
        rows = np.empty((end - begin, self._width), self._type)
        step = max(1, _STEP_BYTES // self._row_bytes)
        for start in range(0, self._num_rows, step):
            chosen = places[start : start + step]
            here = (begin <= chosen) & (chosen < end)
            rows[chosen[here] - begin] = self.take(start, start + step)[here]
        return rows

    def _of_parts(self, start: int, stop: int) -> NDArray[Any]:
        first, last = bisect_right(self._ends, start), bisect_left(self._ends, min(stop, self._num_rows))
        begin = self._ends[first] - len(self._parts[first])
        parts = self._parts[first : last + 1]
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return rows[start - begin : stop - begin]

    @property
    def _row_bytes(self) -> int:
        return self._width * self._type.itemsize
