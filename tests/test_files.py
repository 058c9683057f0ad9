"""A file is replaced as a whole or not at all, with ordinary permissions and nothing left beside it."""

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maskkit.files import replacing, write_text


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        assert os.umask(before) == mask, "writing a file must not change the mask of the process"


def write_half(path: Path, error: type[BaseException]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise error


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("old", [None, "old"])
def test_a_file_is_written_or_replaced(tmp_path: Path, old: str | None) -> None:
    path = tmp_path / "file.txt"
    if old:
        path.write_text(old, encoding="utf-8")
    with replacing(path) as temporary:
        assert temporary.parent == path.parent
        temporary.write_text("가나다\n", encoding="utf-8")
        assert not path.exists() or path.read_text(encoding="utf-8") == old
    assert path.read_bytes() == "가나다\n".encode()
    assert names_in(tmp_path) == ["file.txt"]


def test_write_text_makes_the_folders_and_writes_utf8(tmp_path: Path) -> None:
    path = tmp_path / "one" / "two" / "file.txt"
    write_text(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, "old"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException], old: str | None
) -> None:
    path = tmp_path / "file.txt"
    if old:
        path.write_text(old, encoding="utf-8")
    with pytest.raises(error):
        write_half(path, error)
    assert names_in(tmp_path) == ([path.name] if old else [])
    assert not old or path.read_text(encoding="utf-8") == old


def test_a_folder_in_the_way_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_text(tmp_path / "taken", "text")
    assert names_in(tmp_path) == ["taken"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002, 0o000])
def test_permissions_follow_the_mask_of_the_process(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        write_text(tmp_path / "file.txt", "text")
        (tmp_path / "ordinary.txt").write_text("text", encoding="utf-8")
    ours, ordinary = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file.txt", "ordinary.txt"))
    assert ours == ordinary == 0o666 & ~mask


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    texts = [letter * 500_000 for letter in "ab"]
    write_text(path, texts[0])
    finished = threading.Event()

    def write() -> None:
        for number in range(1, 40):
            write_text(path, texts[number % 2])
        finished.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not finished.is_set():
        seen.add(path.read_text(encoding="utf-8"))
    writer.join()
    assert seen <= set(texts)
    assert names_in(tmp_path) == ["file.txt"]
