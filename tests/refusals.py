"""What the tables of wrong inputs share: a row of such a table, and what must be true of every refusal."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from conftest import Runner

# What is typed, how it ends, and what the message tells: what was wrong, what was received, what to type.
Row = tuple[str, int, list[str]]


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files by name, and return their folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def assert_refused(maskkit: Runner, folder: Path, row: Row, env: Mapping[str, str] | None = None) -> None:
    """Type a row's line in a folder: it must end as the row says, without a traceback or a change on disk."""
    line, code, told = row
    before = _contents(folder)
    outcome = maskkit(*shlex.split(line), cwd=folder, env=env)
    assert outcome.code == code, outcome
    assert "error: " in outcome.err, outcome
    for words in told:
        assert words in outcome.err, outcome
    for words in ("Traceback", "fault of maskkit", "warning: "):
        assert words not in outcome.err, outcome
    assert "wrote" not in outcome.out, outcome
    assert len(outcome.err) < 3000, outcome
    assert _contents(folder) == before


def _contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the time of change and the size of everything in a folder."""
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")}
