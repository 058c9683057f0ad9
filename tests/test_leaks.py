"""A training tells of photos that it holds out and that look like photos it trains on, of people with another id."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REAL_FACES, Runner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maskkit.data.duplicates import near
from maskkit.data.photo_hashes import PhotoHashes

QUICK = (
    "--epochs=1",
    "--resize=32",
    "--reporters=csv",
    "--data_dir=images",
    "--split_file=split.csv",
    "--eval_dir=none",
)
NUM_HELD_OUT = 6
TOLD = "2 of 42 photos held out look like photos trained on, of another id: runs/exp"


@pytest.fixture
def people(train_images: Path, tmp_path: Path) -> list[str]:
    """Sixteen drawn people in `images`, of whom `split.csv` holds out six, and who have photos of each other.

    Two of those held out are found among those trained on, smaller and in another quality. Copies among those held
    out, and among those trained on, are no leaks.
    """
    images = tmp_path / "images"
    names = sorted(path.name for path in train_images.iterdir())[:16]
    for name in names:
        shutil.copytree(train_images / name, images / name)
    with (tmp_path / "split.csv").open("w", newline="") as file:
        rows = [(name.partition("_")[0], int(number >= NUM_HELD_OUT)) for number, name in enumerate(names)]
        csv.writer(file).writerows([("person", "fold"), *rows])
    for one, other in ((0, 8), (1, 12), (2, 3), (9, 10)):
        copy(images / names[one] / "mask1.jpg", images / names[other] / "mask3.jpg")
    return names


def copy(photo: Path, place: Path) -> None:
    with Image.open(photo) as image:
        image.resize((image.width // 2, image.height // 2)).save(place, quality=70)


def leaks(run: Path) -> list[tuple[str, str]]:
    with (run / "alike.csv").open(newline="") as file:
        return sorted((row["held_out"], row["trained_on"]) for row in csv.DictReader(file))


def planted(names: list[str]) -> list[tuple[str, str]]:
    return [(f"{names[one]}/mask1.jpg", f"{names[other]}/mask3.jpg") for one, other in ((0, 8), (1, 12))]


@pytest.mark.slow
def test_a_leak_is_told_after_the_first_epoch_and_from_then_on_before_it(
    maskkit: Runner, people: list[str], tmp_path: Path
) -> None:
    own = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    for number, options in enumerate((["--num_workers=2", "--cache=none"], ["--cache=disk"], ["--cache=disk"])):
        shutil.rmtree(tmp_path / "cache" / "maskkit" / "hashes", ignore_errors=True)
        outcome = maskkit("train", *QUICK, *options, f"--name=exp{number}", env=own)
        assert outcome.code == 0, outcome.err
        run = tmp_path / "runs" / f"exp{number}"
        assert f"{TOLD}{number}/alike.csv" in outcome.err
        assert "give both folders one id, or take one out" in outcome.err
        assert leaks(run) == planted(people)
    failed = maskkit("train", *QUICK, "--lr=1e30", "--precision=fp32", "--optimizer=SGD", "--name=exp5", env=own)
    assert failed.code == 1
    assert f"{TOLD}5/alike.csv" in failed.err, "what is known of the photos is told before the first epoch"
    cleared = maskkit("cache", "--clear", env=own)
    assert cleared.code == 0
    assert not (tmp_path / "cache" / "maskkit" / "hashes").exists()


@pytest.mark.slow
def test_photos_that_an_epoch_has_not_drawn_are_looked_at_too(
    maskkit: Runner, people: list[str], tmp_path: Path
) -> None:
    """With the old a hundred times as often, hardly any other photo is drawn in the first epoch."""
    outcome = maskkit("train", *QUICK, "--oversample_old=100", "--num_workers=1")
    assert outcome.code == 0, outcome.err
    assert leaks(tmp_path / "runs" / "exp") == planted(people)


@pytest.mark.slow
def test_photos_that_are_left_out_of_training_leak_nothing(maskkit: Runner, people: list[str], tmp_path: Path) -> None:
    age = people[12].rpartition("_")[2]
    assert not people[8].endswith(age)
    outcome = maskkit("train", *QUICK, f"--drop_ages={age}", "--num_workers=0")
    assert outcome.code == 0, outcome.err
    assert leaks(tmp_path / "runs" / "exp") == planted(people)[:1]


@pytest.mark.slow
@pytest.mark.parametrize("faces", ["drawn", "real"])
def test_nothing_is_told_of_people_who_are_different(
    maskkit: Runner, faces: str, train_images: Path, tmp_path: Path
) -> None:
    images = train_images if faces == "drawn" else REAL_FACES / "train" / "images"
    if not images.is_dir():
        pytest.skip("there are no real photos here")
    outcome = maskkit(
        "train", "--epochs=1", "--resize=32", "--reporters=csv", f"--data_dir={images}", "--eval_dir=none"
    )
    assert outcome.code == 0, outcome.err
    assert "look like" not in outcome.err
    assert not (tmp_path / "runs" / "exp" / "alike.csv").exists()


@settings(deadline=None)
@given(st.data(), st.integers(1, 300), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_hashes_are_near_where_they_differ_in_a_tenth_of_their_bits_at_most(
    data: st.DataObject, count: int, other_count: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    hashes = generator.integers(0, 2**64, (count, 4), dtype=np.uint64)
    others = generator.integers(0, 2**64, (other_count, 4), dtype=np.uint64)
    for row in range(other_count):
        if data.draw(st.booleans()):
            flipped = generator.choice(256, data.draw(st.integers(0, 40)), replace=False)
            bits = np.unpackbits(hashes[row % count].view(np.uint8))
            bits[flipped] ^= 1
            others[row] = np.packbits(bits).view(np.uint64)
    expected = {
        (row, column, different)
        for row in range(count)
        for column in range(other_count)
        if (different := sum(int(word).bit_count() for word in hashes[row] ^ others[column])) <= 24
    }
    found = list(near(hashes, others))
    assert len(found) == len(expected)
    assert set(found) == expected


def test_hashes_that_one_run_took_are_known_to_the_next_until_a_photo_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    paths = [str(tmp_path / f"{number}.jpg") for number in range(5)]
    for number, path in enumerate(paths):
        Path(path).write_text(str(number))
    rows = torch.tensor([0, 2, 4])
    first = PhotoHashes(paths, rows)
    first.keep(torch.tensor([4, 0]), torch.tensor([[-1, 2, 3, 4], [5, 6, 7, 8]]))
    assert first.wants(torch.tensor([0, 1, 2, 4])).tolist() == [False, False, True, False]
    # Another process looked at the third photo.
    other = torch.zeros(5, 4, dtype=torch.int64)
    other[2] = torch.tensor([9, 10, 11, 12])
    first.join(lambda mine: mine + other)
    zeros = [0, 0, 0, 0]
    assert first.known.tolist() == [[5, 6, 7, 8], zeros, [9, 10, 11, 12], zeros, [2**64 - 1, 2, 3, 4]]
    second = PhotoHashes(paths, rows)
    assert second.are_known
    assert second.known.tolist() == first.known.tolist()
    assert not PhotoHashes(paths, rows, is_read=False).are_known
    Path(paths[2]).write_text("changed")
    assert PhotoHashes(paths, rows).wants(rows).all()
    file = next((tmp_path / "cache" / "maskkit" / "hashes").iterdir())
    Path(paths[2]).write_text("2")
    file.write_bytes(file.read_bytes()[:-8])
    assert PhotoHashes(paths, rows).wants(rows).all()
