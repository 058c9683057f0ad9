"""The files in which runs share prepared images: where they lie, how much they may take, and which make room.

    maskkit/prepared/<fingerprint>.npy            uint8 [N, 3, H, W], whole
                     .<fingerprint>.<random>.tmp  that a run fills now, and holds locked

They are mapped into memory, so the folder should lie on a disk of this machine.
"""

import fcntl
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO

from maskkit.files import user_cache

__all__ = ["MOST_BYTES", "CacheFile", "cache_files", "cache_folder", "clear_cache", "has_room", "make_room"]
__all__ += ["new_file_beside"]

MOST_BYTES = 20 * 10**9
"""What all files together may take; those that were not used for longest make room."""

_MOST_OF_FREE_DISK = 0.25


@dataclass(frozen=True)
class CacheFile:
    """A file of prepared images; `last_used` in seconds since 1970."""

    path: Path
    num_bytes: int
    last_used: float


def cache_folder() -> Path:
    """Return the folder of the files."""
    return user_cache() / "prepared"


def cache_files() -> list[CacheFile]:
    """Return the whole files, the one that was used last first."""
    found = []
    for path in cache_folder().glob("*.npy"):
        try:
            facts = path.stat()
        except OSError:  # another process has just removed it
            continue
        found.append(CacheFile(path, facts.st_size, facts.st_mtime))
    return sorted(found, key=lambda one: one.last_used, reverse=True)


def has_room(num_bytes: int) -> bool:
    """Return whether so much is at most a quarter of the free disk, and of what all files may take."""
    try:
        folder = cache_folder()
        while not folder.exists():
            folder = folder.parent
        is_writable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
        return is_writable and num_bytes <= min(_MOST_OF_FREE_DISK * shutil.disk_usage(folder).free, MOST_BYTES)
    except (OSError, RuntimeError):  # RuntimeError: this user has no home
        return False


def make_room(num_bytes: int) -> None:
    """Remove what was not used for longest until so much more may be there, and what dead processes left."""
    _sweep()
    left = MOST_BYTES - num_bytes
    for one in cache_files():
        left -= one.num_bytes
        if left < 0:
            one.path.unlink(missing_ok=True)  # who has it open keeps what he sees


def clear_cache() -> list[CacheFile]:
    """Remove all whole files, and return them; also forget which images were found whole, and how photos look."""
    for name in ("checked", "hashes"):
        shutil.rmtree(user_cache() / name, ignore_errors=True)
    _sweep()
    found = cache_files()
    for one in found:
        one.path.unlink(missing_ok=True)
    return found


def new_file_beside(path: Path) -> tuple[Path, BinaryIO]:
    """Return a new file that this process may fill before it takes the name of `path`, locked until it is closed."""
    while True:
        handle, name = mkstemp(prefix=f".{path.stem}.", suffix=".tmp", dir=path.parent)
        file = os.fdopen(handle, "r+b")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # nobody swept it away before it was locked
            return Path(name), file
        file.close()


def _sweep() -> None:
    """Remove what is being filled by nobody: its process was killed."""
    for path in cache_folder().glob(".*.tmp"):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
