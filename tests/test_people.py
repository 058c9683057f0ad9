"""Who is on the images, as the run that a file lies in tells it."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskkit.data.samples import Samples
from maskkit.engine.run_folder import samples_table, write_samples
from maskkit.people import Known, known_images, numbered


@given(names=st.lists(st.text(max_size=3), min_size=1), order=st.randoms(use_true_random=False))
def test_people_are_numbered_without_a_gap_whatever_the_order(names: list[str], order: random.Random) -> None:
    numbers = numbered(names)
    assert set(numbers.tolist()) == set(range(len(set(names))))
    rows = list(range(len(names)))
    order.shuffle(rows)
    assert numbered([names[row] for row in rows]).tolist() == numbers[rows].tolist()


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A folder with a samples.csv of three images, as a run writes it."""
    rows = [
        ("a,1.jpg", "007", 0, 1, 29),
        ("얼굴.jpg", "007", 1, 1, 29),
        ("b.jpg", "NA", 2, 0, 60),
    ]
    table = pd.DataFrame(rows, columns=["sample", "person", "mask", "gender", "age"])
    table["path"] = "/" + table["sample"]
    write_samples(tmp_path, samples_table(Samples(table), np.array([0, 0, 1])))
    return tmp_path


@pytest.mark.parametrize("place", ["valid_soft.csv", "predictions/valid_soft.csv"])
def test_a_run_knows_the_images_of_its_samples(run_folder: Path, place: str) -> None:
    known = known_images(["b.jpg", "얼굴.jpg", "a,1.jpg"], run_folder / place)
    assert known == [Known("NA", 14), Known("007", 9), Known("007", 3)]
    assert known_images(["b.jpg"], run_folder / place) == [Known("NA", 14)]


def test_images_of_which_one_is_no_sample_are_not_known(run_folder: Path) -> None:
    assert known_images(["b.jpg", "c.jpg"], run_folder / "valid_soft.csv") is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"sample,person\nx,1\n",
        b"sample,person,mask,gender,age,fold\nx,1,3,0,20,0\n",
        b"sample,person,mask,gender,age,fold\nx,1,0,0,old,0\n",
        b"sample,person,mask,gender,age,fold\nx,1\n",
        b"\xff\xfe",
        b'sample,person,mask,gender,age,fold\n"x\0',
    ],
)
def test_a_table_of_another_program_tells_nothing(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "samples.csv").write_bytes(text)
    assert known_images(["x"], tmp_path / "hard.csv") is None


def test_no_run_knows_nothing(tmp_path: Path) -> None:
    assert known_images(["x"], tmp_path / "hard.csv") is None
