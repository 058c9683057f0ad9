"""Prepared images on disk: what is shared, what makes them anew, who makes room, and what the command tells."""

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Runner
from forked import run_forked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from maskkit.data import cache_files
from maskkit.data import kept as kept_module
from maskkit.data.cache_files import cache_folder, clear_cache, has_room, make_room
from maskkit.data.images import open_image
from maskkit.data.kept import KeptImages, kept_on_disk
from maskkit.errors import DataError

NUM_IMAGES = 9
SIZE = (4, 6)
RECIPE = {"name": "BaseAugmentation", "version": "1"}

Prepared = Callable[[str], Tensor]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    names = [str(tmp_path / f"{row}.png") for row in range(NUM_IMAGES)]
    for row, name in enumerate(names):
        Image.new("RGB", (6, 4), (row, 2 * row, 3 * row)).save(name)
    return names


def in_red(path: str) -> Tensor:
    red = open_image(path).getpixel((0, 0))
    assert isinstance(red, tuple)
    return torch.full((3, *SIZE), red[0], dtype=torch.uint8)


def fill(kept: KeptImages, paths: list[str], prepared: Prepared = in_red) -> None:
    for rows in torch.tensor_split(torch.randperm(len(paths)), 4):
        assert not kept.holds(rows)
        kept.keep(rows, torch.stack([prepared(paths[row]) for row in rows.tolist()]))


def is_shared(paths: list[str], recipe: dict[str, Any] = RECIPE, prepared: Prepared = in_red) -> bool:
    """Return whether somebody else finds all images there; they must be right ones then."""
    kept = kept_on_disk(paths, SIZE, recipe, prepared)
    rows = torch.arange(len(paths))
    if not kept.holds(rows):
        return False
    assert torch.equal(kept.take(rows), torch.stack([prepared(path) for path in paths]))
    return True


def names_there() -> list[str]:
    return sorted(path.name for path in cache_folder().iterdir())


def test_what_one_has_prepared_the_next_finds(paths: list[str]) -> None:
    fill(kept_on_disk(paths, SIZE, RECIPE, in_red), paths)
    assert is_shared(paths)
    (name,) = names_there()
    assert name.endswith(".npy")


def test_a_part_is_shared_with_nobody_and_leaves_nothing(paths: list[str]) -> None:
    kept = kept_on_disk(paths, SIZE, RECIPE, in_red)
    kept.keep(torch.tensor([0, 3]), torch.stack([in_red(paths[0]), in_red(paths[3])]))
    assert torch.equal(kept.take(torch.tensor([3])), in_red(paths[3])[None])
    assert not is_shared(paths)
    del kept
    gc.collect()
    assert names_there() == []


def test_two_may_fill_at_once(paths: list[str]) -> None:
    first, second = (kept_on_disk(paths, SIZE, RECIPE, in_red) for _ in range(2))
    fill(first, paths)
    fill(second, paths)
    rows = torch.arange(NUM_IMAGES)
    assert torch.equal(first.take(rows), second.take(rows))
    assert is_shared(paths)
    assert len(names_there()) == 1


def test_what_cannot_be_named_is_of_use_to_its_run_alone(paths: list[str]) -> None:
    kept = kept_on_disk(paths, SIZE, RECIPE, in_red)
    (temporary,) = cache_folder().iterdir()
    temporary.unlink()
    with pytest.warns(UserWarning, match="shared with no other run"):
        fill(kept, paths)
    assert torch.equal(kept.take(torch.tensor([3])), in_red(paths[3])[None])
    assert not is_shared(paths)


@pytest.mark.parametrize("place", [0, 4, NUM_IMAGES - 1])
def test_an_image_that_changed_makes_all_anew(paths: list[str], place: int) -> None:
    fill(kept_on_disk(paths, SIZE, RECIPE, in_red), paths)
    facts = Path(paths[place]).stat()
    Image.new("RGB", (6, 4), (99, 0, 0)).save(paths[place])
    os.utime(paths[place], ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    assert not is_shared(paths)


def test_another_recipe_order_or_size_has_a_file_of_its_own(paths: list[str]) -> None:
    fill(kept_on_disk(paths, SIZE, RECIPE, in_red), paths)
    assert not is_shared(paths, RECIPE | {"version": "2"})
    assert not is_shared(paths[::-1])
    assert not is_shared(paths[:-1])
    assert not kept_on_disk(paths, (6, 4), RECIPE, in_red).holds(torch.tensor([0]))
    assert is_shared(paths)


def test_a_prepare_that_was_edited_without_a_word_is_noticed(paths: list[str]) -> None:
    def brighter(path: str) -> Tensor:
        return in_red(path) + 100

    fill(kept_on_disk(paths, SIZE, RECIPE, in_red), paths)
    kept = kept_on_disk(paths, SIZE, RECIPE, brighter)
    assert not kept.holds(torch.tensor([0]))
    fill(kept, paths, brighter)
    assert is_shared(paths, prepared=brighter)
    assert len(names_there()) == 1


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_made_anew(paths: list[str], content: bytes) -> None:
    fill(kept_on_disk(paths, SIZE, RECIPE, in_red), paths)
    (name,) = names_there()
    (cache_folder() / name).write_bytes(content)
    kept = kept_on_disk(paths, SIZE, RECIPE, in_red)
    fill(kept, paths)
    assert is_shared(paths)


def test_a_folder_that_cannot_be_there_is_told(paths: list[str], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"prepared images cannot be kept in .*: Not a directory") as caught:
        kept_on_disk(paths, SIZE, RECIPE, in_red)
    assert "--cache=ram" in caught.value.hint


@given(sizes=st.lists(st.integers(0, 60), max_size=8, unique=True), wanted=st.integers(0, 120))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_not_used_for_longest_makes_room(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], wanted: int
) -> None:
    """Those that stay are the last used ones that fit beside what is wanted."""
    monkeypatch.setattr(cache_files, "MOST_BYTES", 100)
    cache_folder().mkdir(parents=True, exist_ok=True)
    clear_cache()
    for age, size in enumerate(sizes):
        path = cache_folder() / f"{age}.npy"
        path.write_bytes(bytes(size))
        os.utime(path, (10**9 - age, 10**9 - age))
    make_room(wanted)
    sums = [sum(sizes[: count + 1]) for count in range(len(sizes))]
    staying = [f"{age}.npy" for age, total in enumerate(sums) if total + wanted <= 100]
    assert names_there() == sorted(staying)


def test_what_nobody_fills_goes_and_what_others_fill_stays(paths: list[str]) -> None:
    kept = kept_on_disk(paths, SIZE, RECIPE, in_red)
    left = cache_folder() / ".0123.abcd.tmp"
    left.touch()
    clear_cache()
    assert not left.exists()
    fill(kept, paths)
    assert is_shared(paths)


def test_more_than_all_may_take_is_refused_and_removes_nothing(
    paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(kept_on_disk(paths, SIZE, RECIPE, in_red), paths)
    monkeypatch.setattr(kept_module, "MOST_BYTES", 500)
    with pytest.raises(DataError, match=r"they take 0\.0 GB, and all files together may take 0"):
        kept_on_disk(paths, SIZE, RECIPE | {"version": "2"}, in_red)
    assert is_shared(paths)


def test_without_a_folder_that_can_be_written_there_is_no_room(tmp_path: Path) -> None:
    assert has_room(100)
    assert not has_room(10**18)
    (tmp_path / "cache").write_text("a file")
    assert not has_room(100)


@pytest.mark.slow
def test_runs_share_their_images_and_give_the_same_bits(maskkit: Runner, train_images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    environment = {"XDG_CACHE_HOME": str(folder)}
    flags = (f"--data_dir={train_images}", "--eval_dir=none", "--resize=32", "--epochs=2", "--reporters=csv")
    soft, files = [], []
    for cache in ("none", "disk", "disk", "ram"):
        outcome = maskkit("train", *flags, f"--cache={cache}", env=environment)
        assert outcome.code == 0, outcome.err
        (run,) = (tmp_path / "runs").iterdir()
        soft.append((run / "predictions" / "valid_soft.csv").read_bytes())
        run.rename(tmp_path / f"run{len(soft)}")
        files.append([(path.name, path.stat().st_ino) for path in (folder / "maskkit" / "prepared").rglob("*.npy")])
    assert len(set(soft)) == 1
    assert files[0] == []
    assert files[1] == files[2] == files[3] != []
    listed = maskkit("cache", env=environment)
    assert listed.code == 0, listed.err
    assert files[1][0][0] in listed.out
    assert "1 file, 0.6 MB, of at most 20 GB; maskkit cache --clear removes them" in listed.out
    cleared = maskkit("cache", "--clear", env=environment)
    assert cleared.out == f"removed 1 file, 0.6 MB, from {folder / 'maskkit' / 'prepared'}\n"
    assert "no prepared images in" in maskkit("cache", env=environment).out


@pytest.mark.slow
def test_what_a_killed_run_left_half_goes_with_the_next(
    environment: dict[str, str], train_images: Path, tmp_path: Path
) -> None:
    """It has written config.json and samples.csv and has begun to prepare when it is killed."""
    own = environment | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    flags = (f"--data_dir={train_images}", "--eval_dir=none", "--resize=32", "--epochs=1", "--cache=disk")
    assert run_forked(tmp_path, "train", *flags, env=own, seconds=300, fatal_write=2).code == -signal.SIGKILL
    prepared = tmp_path / "cache" / "maskkit" / "prepared"
    (left,) = prepared.iterdir()
    assert left.suffix == ".tmp"
    assert run_forked(tmp_path, "train", *flags, env=own, seconds=300).code == 0
    (whole,) = prepared.iterdir()
    assert whole.suffix == ".npy"
