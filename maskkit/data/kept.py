"""Prepared images that are kept, so that a file is read and decoded once: in memory by a run, or on disk by all."""

import os
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskkit.data.cache_files import MOST_BYTES, cache_folder, make_room, new_file_beside
from maskkit.data.fingerprint import fingerprint
from maskkit.errors import DataError

__all__ = ["KeptImages", "fits_in_memory", "kept_on_disk"]

_MOST_OF_FREE_MEMORY = 0.25
_MEMINFO = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")
_NUM_COMPARED = 4

Shape = tuple[int, int, int, int]


class KeptImages:
    """Images uint8 [N, 3, H, W] by their rows; `when_full` is called once, when all of them have come."""

    def __init__(self, images: Tensor, *, are_here: bool = False, when_full: Callable[[], None] | None = None) -> None:
        self._images = images
        self._are_here = torch.full((len(images),), are_here)
        self._when_full = when_full

    @classmethod
    def in_memory(cls, count: int, size: tuple[int, int]) -> "KeptImages":
        """Return room for `count` images of a size (height, width); memory fills as they come."""
        return cls(torch.empty((count, 3, *size), dtype=torch.uint8))

    def holds(self, rows: Tensor) -> bool:
        """Return whether all the images of rows, int64 [B], are here."""
        return bool(self._are_here[rows].all())

    def take(self, rows: Tensor) -> Tensor:
        """Return the images of rows, uint8 [B, 3, H, W]."""
        return self._images[rows]

    def keep(self, rows: Tensor, images: Tensor) -> None:
        """Keep the images uint8 [B, 3, H, W] of rows int64 [B]."""
        self._images[rows] = images
        self._are_here[rows] = True
        if self._when_full is not None and bool(self._are_here.all()):
            self._when_full()
            self._when_full = None


def kept_on_disk(
    paths: Sequence[str], size: tuple[int, int], recipe: Mapping[str, Any], prepared: Callable[[str], Tensor]
) -> KeptImages:
    """Return the images of `paths` as all runs with the same recipe share them; the first of those fills the file.

    It is known by the paths, sizes and times of the images, and by `recipe`, which tells how they are prepared. A few
    are prepared anew, by `prepared`, to see that what prepares them has not changed since.

    Raises:
        DataError: the disk has no room, the cache folder cannot be written, or an image is gone.
    """
    shape = (len(paths), 3, *size)
    path = cache_folder() / f"{fingerprint(paths, [recipe, size, PIL.__version__])}.npy"
    stored = _read(path, shape)
    if stored is not None and _are_as_prepared(stored, paths, prepared):
        with suppress(OSError):  # it has just made room, or is another user's
            os.utime(path)
        return KeptImages(stored, are_here=True)
    num_bytes = int(np.prod(shape))
    if num_bytes > MOST_BYTES:
        raise _refusal(f"they take {num_bytes / 1e9:.1f} GB, and all files together may take {MOST_BYTES / 1e9:.0f}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        make_room(num_bytes)
        return _begin(path, shape)
    except OSError as error:
        raise _refusal(error.strerror or str(error)) from error


def _refusal(cause: str) -> DataError:
    return DataError(
        f"prepared images cannot be kept in {cache_folder()}: {cause}",
        hint="Type --cache=ram or --cache=none, or name another folder in XDG_CACHE_HOME.",
    )


def _begin(path: Path, shape: Shape) -> KeptImages:
    temporary, file = new_file_beside(path)
    memory: NDArray[np.uint8] = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
    abandoned = weakref.finalize(memory, _abandon, temporary, file, os.getpid())
    if hasattr(os, "posix_fallocate"):  # so that a full disk shows now, as an error, and not later, as a signal
        os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)

    def name_it() -> None:
        try:
            os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            warnings.warn(f"prepared images are shared with no other run: {error}", stacklevel=2)
        else:
            abandoned.detach()
            file.close()

    return KeptImages(torch.from_numpy(memory), when_full=name_it)


def _abandon(temporary: Path, file: BinaryIO, process: int) -> None:
    file.close()
    if os.getpid() == process:  # and not one that was forked from it
        temporary.unlink(missing_ok=True)


def _read(path: Path, shape: Shape) -> Tensor | None:
    """Return the images of a whole file, which nobody may write into, or None when there is no such file."""
    try:
        memory: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError):
        return None
    if memory.shape != shape or memory.dtype != np.uint8:
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable", category=UserWarning)
        return torch.from_numpy(memory)


def _are_as_prepared(stored: Tensor, paths: Sequence[str], prepared: Callable[[str], Tensor]) -> bool:
    rows = np.linspace(0, len(paths) - 1, min(_NUM_COMPARED, len(paths))).astype(int)
    return all(torch.equal(stored[row], prepared(paths[row])) for row in rows.tolist())


def fits_in_memory(count: int, size: tuple[int, int]) -> bool:
    """Return whether so many images take at most a quarter of the memory that is free here."""
    return count * 3 * size[0] * size[1] <= _MOST_OF_FREE_MEMORY * _free_memory()


def _free_memory() -> float:
    """Return the bytes that this process may still take: of the machine, and of its container (cgroup version 2)."""
    free = [_free_on_machine()]
    try:
        most = (_CONTAINER / "memory.max").read_text(encoding="ascii").strip()
        if most != "max":
            free.append(float(most) - float((_CONTAINER / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError):
        pass
    return max(0.0, min(free))


def _free_on_machine() -> float:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2  # of a system that does not tell
