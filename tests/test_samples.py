"""The table of images: what it refuses, and the answers and folds that it gives."""

from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from maskkit.data.samples import Samples
from maskkit.errors import DataError
from maskkit.labels import encode


def labelled_table(num_people: int = 12) -> pd.DataFrame:
    """Return three images a person, in a table as a data set gives it."""
    rows = [
        (
            f"/data/{person:03d}/{mask}.jpg",
            f"{person:03d}/{mask}.jpg",
            f"{person:03d}",
            mask,
            person % 2,
            20 + person * 4,
        )
        for person in range(num_people)
        for mask in range(3)
    ]
    return pd.DataFrame(rows, columns=["path", "sample", "person", "mask", "gender", "age"])


def test_answers_are_the_classes_of_mask_gender_and_age_group() -> None:
    table = labelled_table(3).assign(age=[29, 29, 29, 30, 30, 59, 59, 60, 60])
    answers = Samples(table).answers
    assert answers.dtype == np.int64
    groups = [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert answers.tolist() == [
        encode(mask, gender, group)
        for mask, gender, group in zip([0, 1, 2] * 3, [0, 0, 0, 1, 1, 1, 0, 0, 0], groups, strict=True)
    ]


def test_lists_paths_and_names_in_the_order_of_the_table() -> None:
    samples = Samples(labelled_table(2).iloc[::-1])
    assert len(samples) == 6
    assert samples.names[0] == "001/2.jpg"
    assert samples.paths[-1] == "/data/000/0.jpg"
    assert samples.table.index.tolist() == list(range(6))


def test_unlabelled_samples_have_paths_but_neither_answers_nor_folds() -> None:
    samples = Samples(labelled_table()[["path", "sample"]])
    assert not samples.labelled
    with pytest.raises(DataError, match="carry no labels"):
        _ = samples.answers
    with pytest.raises(DataError, match="carry no labels"):
        samples.split(val_ratio=0.2, seed=0)


def test_a_split_by_person_keeps_the_images_of_a_person_together() -> None:
    samples = Samples(labelled_table())
    folds = samples.split(val_ratio=0.25, seed=7)
    assert folds.dtype == np.int64
    assert set(folds.tolist()) == {0, 1}
    assert samples.table.assign(fold=folds).groupby("person")["fold"].nunique().max() == 1
    assert (folds == 0).sum() == 3 * 3


def test_a_split_by_image_takes_people_apart() -> None:
    samples = Samples(labelled_table(), unit="image")
    folds = samples.split(val_ratio=0.5, seed=7)
    assert (folds == 0).sum() == 18
    assert samples.table.assign(fold=folds).groupby("person")["fold"].nunique().max() == 2


@pytest.mark.parametrize("unit", ["person", "image"])
def test_the_order_of_the_table_changes_no_fold(unit: Literal["person", "image"]) -> None:
    table = labelled_table()
    shuffled = table.sample(frac=1, random_state=3)
    folds = Samples(table, unit=unit).split(val_ratio=0.3, seed=5)
    other = Samples(shuffled, unit=unit).split(val_ratio=0.3, seed=5)
    assert dict(zip(table["sample"], folds, strict=True)) == dict(zip(shuffled["sample"], other, strict=True))


def test_a_person_whose_images_disagree_is_split_the_same_in_any_order() -> None:
    table = labelled_table()
    table.loc[0, "gender"] = 1
    folds = Samples(table).split(val_ratio=0.3, seed=5)
    other = Samples(table.iloc[::-1]).split(val_ratio=0.3, seed=5)
    assert folds.tolist() == other.tolist()[::-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample": "same"}, "1 samples stand in the table more than once: same"),
        ({"path": "relative.jpg"}, "36 paths are not absolute: relative.jpg"),
        ({"person": 7}, "person is not text in 36 rows: 7"),
        ({"sample": None}, "sample is not text in 36 rows"),
        ({"mask": 3}, r"mask must be 0..2; 36 rows differ: 000/0.jpg \(3\)"),
        ({"gender": "male"}, "gender holds .*; it must hold a whole number"),
        ({"age": 0}, "age must be 1..120; 36 rows differ"),
        ({"age": 30.5}, "age holds float64; it must hold a whole number"),
    ],
)
def test_refuses_a_table_with_wrong_values(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Samples(labelled_table().assign(**change))


def test_refuses_a_table_without_the_needed_columns() -> None:
    with pytest.raises(DataError, match="lacks sample; it has path"):
        Samples(labelled_table()[["path"]])
    with pytest.raises(DataError, match="lacks person, age"):
        Samples(labelled_table().drop(columns=["person", "age"]))


def test_refuses_an_empty_table_and_an_unknown_unit() -> None:
    with pytest.raises(DataError, match="the table of images is empty"):
        Samples(labelled_table().iloc[:0])
    with pytest.raises(DataError, match="'people'; it must be 'person' or 'image'"):
        Samples(labelled_table(), unit="people")  # type: ignore[arg-type]
