"""The perceptual hashes of the photos of a run, taken while its first epoch decodes them, and kept for other runs.

maskkit/hashes/<fingerprint>.npy   uint64 [N, 4]; its time tells when a run last used it
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL
import torch
from torch import Tensor

from maskkit.data.duplicates import WORDS, Hash
from maskkit.data.fingerprint import fingerprint
from maskkit.errors import DataError
from maskkit.files import replacing, user_cache

__all__ = ["PhotoHashes"]

_MOST_FILES = 100


class PhotoHashes:
    """The hashes, uint64 [N, 4], of the photos of a table, by rows; those of a run's `rows`, int64 [M], are wanted.

    `is_read`: whether those that an earlier run took count.
    """

    def __init__(self, paths: Sequence[str], rows: Tensor, *, is_read: bool = True) -> None:
        self._rows = rows
        self._hashes = np.zeros((len(paths), WORDS), dtype=np.uint64)
        self._is_wanted = torch.zeros(len(paths), dtype=torch.bool).index_fill_(0, rows, True)  # noqa: FBT003
        self.are_joined = False
        self._path = _file_of([paths[row] for row in rows.tolist()])
        known = _read(self._path, len(rows)) if self._path is not None and is_read else None
        if known is not None:
            self._hashes[rows.numpy()] = known
            self._is_wanted[:] = False

    def wants(self, rows: Tensor) -> Tensor:
        """Return of which rows, int64 [B], the hash is wanted yet, bool [B]."""
        return self._is_wanted[rows]

    @property
    def are_wanted(self) -> Tensor:
        """Of which photos of the table the hash is wanted yet, bool [N]."""
        return self._is_wanted

    @property
    def are_known(self) -> bool:
        """Whether none is wanted any more."""
        return not bool(self._is_wanted.any())

    @property
    def known(self) -> Hash:
        """The hashes, uint64 [N, 4], zeros for those that are wanted yet."""
        return self._hashes

    def want_none(self) -> None:
        """Let no more hashes be taken, since they are known."""
        self._is_wanted[:] = False
        self.are_joined = True

    def keep(self, rows: Tensor, hashes: Tensor) -> None:
        """Keep the hashes, int64 [B, 4] of the same bits, of rows that were wanted, int64 [B]."""
        self._hashes[rows.numpy()] = hashes.numpy().view(np.uint64)
        self._is_wanted[rows] = False

    def join(self, either: Callable[[Tensor], Tensor]) -> None:
        """Take over what other processes took, once each hash is known to one of them, and keep all for other runs.

        either: gives the bits that are set in any process's tensor.
        """
        self._hashes = either(torch.from_numpy(self._hashes.view(np.int64))).numpy().view(np.uint64)
        self.want_none()
        self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        with suppress(OSError):
            with replacing(self._path) as temporary, temporary.open("wb") as file:
                np.save(file, self._hashes[self._rows.numpy()], allow_pickle=False)
            for old in sorted(self._path.parent.glob("*.npy"), key=os.path.getmtime)[:-_MOST_FILES]:
                old.unlink(missing_ok=True)


def _file_of(paths: Sequence[str]) -> Path | None:
    try:
        return user_cache() / "hashes" / f"{fingerprint(paths, [PIL.__version__, WORDS])}.npy"
    except (DataError, OSError, RuntimeError):  # a file is gone, or this user has no home
        return None


def _read(path: Path, count: int) -> Hash | None:
    try:
        hashes: Hash = np.load(path, allow_pickle=False)
        os.utime(path)
    except (OSError, EOFError, ValueError):
        return None
    return hashes if hashes.shape == (count, WORDS) and hashes.dtype == np.uint64 else None
