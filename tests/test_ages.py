"""`--drop_ages` and `--old_from` change what a training learns from, and never a score."""

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import Runner, write_faces
from hypothesis import given, settings
from hypothesis import strategies as st
from test_samples import labelled_table

from maskkit.data.ages import are_of_ages, read_ages, targets
from maskkit.data.samples import Samples
from maskkit.errors import UsageError
from maskkit.labels import decode, encode
from maskkit.predictions import read_predictions

AGES = st.integers(1, 120)


@settings(deadline=None)
@given(st.lists(st.tuples(AGES, AGES).map(sorted), max_size=5), st.lists(AGES, max_size=5))
def test_ranges_hold_both_their_ends(ranges: list[list[int]], singles: list[int]) -> None:
    words = [f"{first}-{last}" for first, last in ranges] + [str(age) for age in singles]
    expected = [age for age in range(1, 121) if any(low <= age <= high for low, high in ranges) or age in singles]
    assert sorted(read_ages(words)) == expected


@pytest.mark.parametrize("word", ["29-27", "old", "27-", "-27", "27..29", "1000", "２７"])
def test_refuses_what_is_no_age_and_no_range(word: str) -> None:
    with pytest.raises(UsageError, match="is no age and no range of ages"):
        read_ages([word])


@settings(deadline=None)
@given(st.lists(AGES, min_size=12, max_size=12), st.integers(31, 60))
def test_who_is_old_for_the_training_keeps_mask_and_gender(ages: list[int], old_from: int) -> None:
    samples = Samples(labelled_table().assign(age=np.repeat(ages, 3)))
    for answer, target, age in zip(samples.answers, targets(samples, old_from), samples.table["age"], strict=True):
        mask, gender, _ = decode(int(answer))
        assert target == encode(mask, gender, 0 if age < 30 else 1 if age < min(old_from, 60) else 2)


def test_drops_people_by_their_years() -> None:
    samples = Samples(labelled_table())
    dropped = are_of_ages(samples, read_ages(["20-24", "60"]))
    assert samples.table["person"][dropped].unique().tolist() == ["000", "001", "010"]


def test_a_run_leaves_ages_out_of_training_alone_and_scores_by_the_official_groups(
    maskkit: Runner, tmp_path: Path
) -> None:
    data = tmp_path / "images"
    for folder in sorted(write_faces(data, 24).iterdir()):
        if folder.name.endswith("_60"):
            number = int(folder.name[:6])
            folder.rename(data / folder.name.replace("_60", "_59" if number % 4 else "_57"))
    quick = ("--resize=32", "--epochs=1", "--num_workers=0", f"--data_dir={data}", "--classification=age")
    plain = maskkit("train", *quick)
    outcome = maskkit("train", *quick, "--name=other", "--drop_ages=57,20-21", "--old_from=59")
    assert (plain.code, outcome.code) == (0, 0), outcome.err
    assert "of ages 57,20-21 left out, old from 59 on" in outcome.out
    with (tmp_path / "runs" / "other" / "samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert row["fold"] in (("0", "-1") if row["age"] in {"57", "20"} else ("0", "1"))
    assert any(row["age"] in {"57", "20"} and row["fold"] == "0" for row in rows)
    before, after = (
        read_predictions(tmp_path / "runs" / name / "predictions" / "valid_soft.csv") for name in ("exp", "other")
    )
    assert before.ids == after.ids
    assert before.truth is not None
    assert after.truth is not None
    assert before.truth.tolist() == after.truth.tolist()
    assert set(after.truth.tolist()) == {0, 1}


def test_nobody_left_to_train_on_is_an_error(maskkit: Runner, tmp_path: Path) -> None:
    data = write_faces(tmp_path / "images", 6)
    outcome = maskkit("train", f"--data_dir={data}", "--drop_ages=1-99", "--epochs=1")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-2:] == [
        "error: fewer than two images are left to train on",
        "  Give more people, or fewer --drop_ages.",
    ]
    assert not (tmp_path / "runs").exists()
