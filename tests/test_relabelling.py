"""`--relabel` puts labels right by a list, and says what it changed."""

import csv
from pathlib import Path

import pandas as pd
import pytest
from conftest import Runner, write_faces
from hypothesis import given, settings
from hypothesis import strategies as st
from test_samples import labelled_table

from maskkit.data.relabelling import COLUMNS, Correction, read_corrections, relabel
from maskkit.data.samples import Samples
from maskkit.errors import DataError
from maskkit.labels import MASK

HEADER = "id,field,from,to\n"


def listed(folder: Path, rows: str, header: str = HEADER) -> Path:
    path = folder / "fixes.csv"
    path.write_text(header + rows)
    return path


def changed(samples: Samples, path: Path) -> tuple[Samples, pd.DataFrame]:
    return relabel(samples, read_corrections(path))


def test_two_rows_swap_two_labels_and_leave_all_others_alone(tmp_path: Path) -> None:
    samples = Samples(labelled_table())
    swap = listed(tmp_path, "003,mask,incorrect,normal\n003,mask,normal,incorrect\n")
    after, changes = changed(samples, swap)
    expected = samples.table.copy()
    expected.loc[expected["sample"].isin(["003/1.jpg", "003/2.jpg"]), "mask"] = [2, 1]
    pd.testing.assert_frame_equal(after.table, expected)
    assert list(changes.columns) == list(COLUMNS)
    assert changes.to_numpy().tolist() == [
        ["003/1.jpg", "mask", "incorrect", "normal"],
        ["003/2.jpg", "mask", "normal", "incorrect"],
    ]
    assert samples.table["mask"].tolist() == labelled_table()["mask"].tolist()


def test_a_gender_or_an_age_changes_in_all_images_of_a_person(tmp_path: Path) -> None:
    fixes = listed(tmp_path, "004, Gender ,male,Female\n004,age,36,60\n")
    after, changes = changed(Samples(labelled_table()), fixes)
    person = after.table[after.table["person"] == "004"]
    assert set(zip(person["gender"], person["age"], strict=True)) == {(1, 60)}
    assert len(changes) == 6
    assert (after.answers[12:15] % 6).tolist() == [5, 5, 5]


@settings(deadline=None)
@given(st.permutations(range(36)), st.lists(st.tuples(st.integers(0, 11), st.permutations(range(3))), max_size=6))
def test_any_exchange_of_masks_is_undone_by_its_reverse(
    order: list[int], exchanges: list[tuple[int, list[int]]]
) -> None:
    """Masks of people change places by a permutation, whatever the order of the table."""
    of_person = {f"{person:03d}": places for person, places in exchanges}
    samples = Samples(labelled_table().iloc[order])
    there, back = (
        [
            Correction(person, "mask", *(pair if forth else pair[::-1]), line=0)
            for person, places in of_person.items()
            for pair in enumerate(places)
            if pair[0] != pair[1]
        ]
        for forth in (True, False)
    )
    after, changes = relabel(samples, there)
    assert len(changes) == len(there)
    for sample, before, mask in zip(samples.names, samples.table["mask"], after.table["mask"], strict=True):
        places = of_person.get(sample[:3], [0, 1, 2])
        assert mask == places[before]
    pd.testing.assert_frame_equal(relabel(after, back)[0].table, samples.table)


def test_the_shipped_list_holds_what_teams_found() -> None:
    found = read_corrections("known")
    people = {one.person for one in found}
    assert len(found) == 18
    assert len(people) == 15
    assert {"000020", "004418", "005227", "000645", "003574", "001498-1", "006364"} < people
    wears = [one.person for one in found if one.field == "mask" and MASK.classes[one.after] == "wear"]
    assert wears == ["000645", "003574"]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("003,mask,incorrect\n", "line 2: '' is no mask; it is one of wear, incorrect, normal"),
        ("003,masc,wear,normal\n", "line 2: 'masc' is no field; they are mask, gender and age"),
        ("003,mask,wear,wear\n", "line 2: it changes wear to itself"),
        ("003,age,sixty,61\n", "line 2: 'sixty' is no age; it is a whole number of years, 1..120"),
        ("003,age,32,0\n", "line 2: '0' is no age"),
        (",mask,wear,normal\n", "line 2: the id is missing"),
        (
            "003,mask,wear,normal\n004,mask,wear,normal\n003,mask,wear,incorrect\n",
            "line 4 changes the same label as line 2",
        ),
        (
            "099,mask,wear,normal\n003,gender,male,female\n003,mask,wear,normal\n",
            "\n  line 3: 003,gender,male,female: of that id gender is female",
        ),
        ("099,mask,wear,normal\n", "1 of its rows match no image:\n  line 2: 099,mask,wear,normal: there is no"),
    ],
)
def test_refuses_a_row_that_changes_nothing_or_says_nothing(tmp_path: Path, rows: str, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        changed(Samples(labelled_table()), listed(tmp_path, rows))
    assert problem in caught.value.message


def test_refuses_a_list_without_its_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column from, to; it has id, field, old, new"):
        read_corrections(listed(tmp_path, "", header="id,field,old,new\n"))
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_corrections(tmp_path / "none.csv")
    (tmp_path / "photo.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match="cannot be read: it is not text in UTF-8"):
        read_corrections(tmp_path / "photo.csv")


def test_a_run_learns_from_the_labels_put_right_and_goes_on_with_them(maskkit: Runner, tmp_path: Path) -> None:
    data = write_faces(tmp_path / "images", 12)
    listed(tmp_path, "000001,gender,female,male\n000002,mask,incorrect,normal\n")
    quick = ("--resize=32", "--epochs=1", "--num_workers=0", "--reporters=console")
    outcome = maskkit("train", f"--data_dir={data}", "--relabel=fixes.csv", *quick)
    assert outcome.code == 0, outcome.err
    assert "Note: 8 labels are put right: runs/exp/relabelled.csv" in outcome.out.replace("\n", " ").replace("  ", " ")
    run = tmp_path / "runs" / "exp"
    with (run / "relabelled.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(COLUMNS)
    assert rows[1][1:] == ["gender", "female", "male"]
    assert rows[-1] == ["000002_male_Asian_60/incorrect_mask.png", "mask", "incorrect", "normal"]
    with (run / "samples.csv").open(newline="") as file:
        genders = {row["person"]: row["gender"] for row in csv.DictReader(file)}
    assert genders["000001"] == "0"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    longer = maskkit("train", f"--resume={run}", "--epochs=2", cwd=elsewhere)
    assert longer.code == 0, longer.err
    (tmp_path / "fixes.csv").rename(tmp_path / "moved.csv")
    lost = maskkit("train", f"--resume={run}", "--epochs=3")
    assert lost.code == 1
    assert "fixes.csv cannot be read: No such file" in lost.err
    told = maskkit("train", f"--resume={run}", "--epochs=3", f"--relabel={tmp_path / 'moved.csv'}")
    assert told.code == 0, told.err
    other = maskkit("train", f"--resume={run}", "--epochs=4", "--relabel=known")
    assert other.code == 1
    assert "there is no such id" in other.err
