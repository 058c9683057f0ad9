"""`--split_file` reuses a split exactly."""

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import Runner, write_faces
from hypothesis import given, settings
from hypothesis import strategies as st
from test_samples import labelled_table

from maskkit.data.folds import LEFT_OUT
from maskkit.data.samples import Samples
from maskkit.data.split_file import read_split
from maskkit.errors import DataError

PEOPLE = {f"{person:03d}": int(person > 3) for person in range(12)}
QUICK = ("--resize=32", "--epochs=1", "--num_workers=0", "--reporters=csv", "--classification=gender")


def table(folder: Path, folds: dict[str, int], column: str = "person") -> Path:
    path = folder / "split.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([(column, "fold"), *folds.items()])
    return path


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**40),
    num_folds=st.integers(2, 6),
    column=st.sampled_from(["person", "sample"]),
    data=st.data(),
)
def test_a_split_that_was_written_is_read_again_on_any_order_of_images(
    tmp_path_factory: pytest.TempPathFactory, seed: int, num_folds: int, column: str, data: st.DataObject
) -> None:
    samples = Samples(labelled_table())
    folds = samples.assign_folds(num_folds=num_folds, seed=seed)
    names = samples.table[column].tolist()
    path = table(tmp_path_factory.mktemp("split"), dict(zip(names, folds.tolist(), strict=True)), column)
    order = data.draw(st.permutations(range(len(samples))))
    again = read_split(path, Samples(samples.table.iloc[order]), num_folds=num_folds)
    assert again.dtype == np.int64
    assert again.tolist() == folds[order].tolist()


def test_what_a_run_left_out_of_training_is_trained_on(tmp_path: Path) -> None:
    path = table(tmp_path, {**PEOPLE, "011": LEFT_OUT})
    again = read_split(path, Samples(labelled_table()), num_folds=None)
    assert again.tolist() == [fold for fold in PEOPLE.values() for _ in range(3)]


@pytest.mark.parametrize(
    ("folds", "num_folds", "problem", "hint"),
    [
        ({**PEOPLE, "099": 1}, None, "1 in it are not in the data set: 099", "Is --data_dir the folder"),
        ({name: PEOPLE[name] for name in sorted(PEOPLE)[:-2]}, None, "2 of the data set are not in it: 010, 011", ""),
        (dict.fromkeys(PEOPLE, 1), None, "has the folds 1, not 0, 1", "0 is held out, 1 is trained on"),
        (
            {name: number % 3 for number, name in enumerate(PEOPLE)},
            None,
            "has the folds 0, 1, 2, not 0, 1",
            "--folds=3, and beside it --fold=0",
        ),
        (PEOPLE, 3, "has the folds 0, 1, not 0, 1, 2", "Type --folds=2"),
        ({**PEOPLE, "003": -1}, 2, "has the folds -1, 0, 1, not 0, 1", "counted from 0"),
    ],
)
def test_refuses_another_split_than_is_asked_for(
    tmp_path: Path, folds: dict[str, int], num_folds: int | None, problem: str, hint: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_split(table(tmp_path, folds), Samples(labelled_table()), num_folds=num_folds)
    assert problem in caught.value.message
    assert hint in (caught.value.hint or "")


def test_refuses_to_part_a_person_where_a_data_set_splits_by_person(tmp_path: Path) -> None:
    names = labelled_table()["sample"].tolist()
    path = table(tmp_path, {name: int(number > 4) for number, name in enumerate(names)}, "sample")
    with pytest.raises(DataError, match="parts the images of 1 people: 001"):
        read_split(path, Samples(labelled_table()), num_folds=None)
    by_image = read_split(path, Samples(labelled_table(), unit="image"), num_folds=None)
    assert by_image.tolist() == [int(number > 4) for number in range(36)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("person,part\n001,0\n", "has no column fold; it has person, part"),
        ("id,fold\n001,0\n", "has neither a column sample nor person"),
        ("person,fold\n001,first\n", "line 2: 'first' is no fold"),
        ("person,fold\n001,0\n002,1\n001,1\n", "line 4: 001 is in another fold above"),
    ],
)
def test_refuses_a_table_that_tells_no_folds(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(DataError, match=problem):
        read_split(tmp_path / "split.csv", Samples(labelled_table()), num_folds=None)


def test_a_run_holds_out_whom_another_held_out(maskkit: Runner, tmp_path: Path) -> None:
    data = write_faces(tmp_path / "images", 12)
    first = maskkit("train", f"--data_dir={data}", "--seed=7", "--drop_ages=15-30", *QUICK)
    assert first.code == 0, first.err
    split = tmp_path / "runs" / "exp" / "samples.csv"
    second = maskkit("train", f"--data_dir={data}", f"--split_file={split}", "--name=again", *QUICK)
    assert second.code == 0, second.err
    with split.open(newline="") as before, (tmp_path / "runs" / "again" / "samples.csv").open(newline="") as after:
        pairs = list(zip(csv.DictReader(before), csv.DictReader(after), strict=True))
    assert {(one["fold"], other["fold"]) for one, other in pairs} == {("0", "0"), ("1", "1"), ("-1", "1")}
    assert all(one["sample"] == other["sample"] for one, other in pairs)
    refused = maskkit("train", f"--data_dir={data}", f"--split_file={split}", "--val_ratio=0.3", *QUICK)
    assert (refused.code, "so --val_ratio says nothing" in refused.err) == (2, True)


@pytest.mark.slow
def test_all_folds_of_a_training_can_be_another_programs(maskkit: Runner, tmp_path: Path) -> None:
    data = write_faces(tmp_path / "images", 12)
    folds = {f"{number:06}": (number // 2) % 3 for number in range(12)}
    table(tmp_path, folds)
    outcome = maskkit("train", f"--data_dir={data}", "--split_file=split.csv", "--folds=3", *QUICK)
    assert outcome.code == 0, outcome.err
    with (tmp_path / "runs" / "exp" / "samples.csv").open(newline="") as file:
        assert {row["person"]: int(row["fold"]) for row in csv.DictReader(file)} == folds
