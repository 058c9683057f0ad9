"""Images that were found whole are not read again, until one of them changes."""

import os
from pathlib import Path

import pytest
from PIL import Image

from maskkit.data.cache_files import clear_cache
from maskkit.data.checked import check_once
from maskkit.errors import DataError
from maskkit.files import user_cache


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    names = [str(tmp_path / f"{row}.png") for row in range(70)]
    for row, name in enumerate(names):
        Image.new("RGB", (6, 4), (row, 2 * row, 3 * row)).save(name)
    return names


def told_of(paths: list[str]) -> list[tuple[int, int]]:
    """Return what is told of the files that are read."""
    told: list[tuple[int, int]] = []
    check_once(paths, on_progress=lambda *numbers: told.append(numbers))
    return told


def break_unseen(path: str) -> None:
    """Spoil a file, but leave its size and its time as they are."""
    about = Path(path).stat()
    Path(path).write_bytes(b"x" * about.st_size)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def test_what_was_whole_is_not_read_again(paths: list[str]) -> None:
    told = told_of(paths)
    assert told[-1] == (70, 70)
    assert told == sorted(told)
    break_unseen(paths[7])
    assert told_of(paths) == []
    clear_cache()
    with pytest.raises(DataError, match=r"1 of 70 images cannot be read:\n  .*7\.png: it holds no image"):
        check_once(paths)


def test_what_changed_is_read_again(paths: list[str]) -> None:
    check_once(paths)
    Path(paths[7]).write_bytes(b"")
    with pytest.raises(DataError, match=r"7\.png: it is empty"):
        check_once(paths)
    with pytest.raises(DataError, match=r"7\.png: it is empty"):
        check_once(paths)
    Path(paths[7]).unlink()
    with pytest.raises(DataError, match=r"7\.png: there is no such file"):
        check_once(paths)
    assert told_of(paths[8:]), "another list of files is not known"


def test_only_the_last_hundred_lists_are_known(paths: list[str]) -> None:
    marks = user_cache() / "checked"
    check_once(paths[:1])
    (first,) = marks.iterdir()
    check_once(paths[:2])
    for age, mark in enumerate(marks.iterdir()):
        os.utime(mark, (age, age))
    for number in range(99):
        (marks / str(number)).touch()
    assert told_of(paths[:1]) == [], "it is used again, so it is not the oldest"
    assert len([*marks.iterdir()]) == 100
    assert first.exists()
    assert told_of(paths[:2]), "it was the oldest"


def test_where_nothing_can_be_kept_all_is_read(
    paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert told_of(paths)
    assert told_of(paths)
