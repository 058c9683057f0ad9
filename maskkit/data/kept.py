"""Prepared images that are kept in memory, so that a file is read and decoded in the first epoch alone."""

import os
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["KeptImages", "fits_in_memory"]

_MOST_OF_FREE_MEMORY = 0.25
_MEMINFO = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")


class KeptImages:
    """Room for `count` images uint8 [3, H, W] of a size (height, width), by their rows; memory fills as they come."""

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self._images = torch.empty((count, 3, *size), dtype=torch.uint8)
        self._are_here = torch.zeros(count, dtype=torch.bool)

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
