"""Rows of numbers that wait for their turn: a few megabytes in memory, more in a temporary file."""

import os
import tempfile
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["RowStore"]

_MOST_IN_MEMORY = 4 * 2**20
_STEP_BYTES = 8 * 2**20


class RowStore:
    """Rows of `width` numbers, of which some megabytes are in memory and more are in a temporary file."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._type: np.dtype[Any] = np.dtype(np.float64)
        self._num_rows = 0
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_MOST_IN_MEMORY)  # noqa: SIM115  it is closed with the store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows [B, width], all of one type."""
        self._type = rows.dtype
        self._num_rows += len(rows)
        self._file.write(np.ascontiguousarray(rows).data)

    def take(self, start: int, stop: int) -> NDArray[Any]:
        """Return the rows `start` to `stop`, which nobody may write into."""
        size = self._width * self._type.itemsize
        self._file.seek(start * size)
        return np.frombuffer(self._file.read((stop - start) * size), self._type).reshape(-1, self._width)

    def reorder(self, places: NDArray[np.int64]) -> None:
        """Move each row to its place, int64 [N]."""
        file = tempfile.TemporaryFile()  # noqa: SIM115  it is closed with the store
        num_bytes = self._num_rows * self._width * self._type.itemsize
        file.truncate(num_bytes)
        if hasattr(os, "posix_fallocate"):  # so that a full disk shows now, as an error, and not later, as a signal
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        moved = np.memmap(file, self._type, shape=(self._num_rows, self._width))
        step = max(1, _STEP_BYTES // (self._width * self._type.itemsize))
        for start in range(0, self._num_rows, step):
            moved[places[start : start + step]] = self.take(start, start + step)
        del moved  # which leaves its memory
        self._file.close()
        self._file = file
