"""Writing files so that a reader sees the old content or the whole new one, never a part; where caches and runs lie."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing", "runs_folder", "user_cache", "write_text"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed onto `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        error.filename = str(path)  # whoever asked for this file knows nothing of a temporary one
        raise
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace the content of `path` by `text`, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def user_cache() -> Path:
    """Return the folder for what can be made anew: $XDG_CACHE_HOME/maskkit, or ~/.cache/maskkit."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maskkit"


def runs_folder(model_dir: Path | None) -> Path:
    """Return the folder of run folders: the one that was asked for, or $SM_MODEL_DIR, or runs."""
    return model_dir or Path(os.environ.get("SM_MODEL_DIR") or "runs")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
