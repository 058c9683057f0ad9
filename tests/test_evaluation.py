"""Scoring files of predictions: which view they are read in, where the truth comes from, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from maskkit.bootstrap import Estimate
from maskkit.data.samples import Samples
from maskkit.engine.run_folder import samples_table, write_samples
from maskkit.errors import PredictionError, UnknownNameError, UsageError
from maskkit.evaluation import Evaluation, evaluate
from maskkit.labels import VIEWS
from maskkit.predictions import read_predictions, write_hard, write_soft

NAMES = [f"{number}.jpg" for number in range(12)]
DRAWS = np.random.default_rng(7)
EVERY = DRAWS.integers(0, 18, len(NAMES))  # the true classes 0..17


def soft_file(folder: Path, num_classes: int, *, run: str = "", truth: str = "") -> Path:
    """Write random predictions, with a column of the truth in the view `truth`, into a run that learned `run`."""
    path = folder / "predictions" / "soft.csv"
    true_classes = np.array(VIEWS[truth].of_class)[EVERY] if truth else None
    write_soft(path, NAMES, DRAWS.random((len(NAMES), num_classes)), truth=true_classes)
    return learned(path, run)


def hard_file(folder: Path, num_classes: int, *, run: str = "") -> Path:
    path = folder / "predictions" / "hard.csv"
    write_hard(path, NAMES, np.arange(len(NAMES))[::-1] % num_classes)
    return learned(path, run)


def learned(path: Path, view: str) -> Path:
    if view:
        (path.parent.parent / "config.json").write_text(json.dumps({"values": {"classification": view}}))
    return path


def truth_file(folder: Path) -> Path:
    """Write the true classes 0..17, in another order than the predictions."""
    write_hard(folder / "truth.csv", NAMES[::-1], EVERY[::-1])
    return folder / "truth.csv"


def evaluated(path: Path, truth: Path | None = None, classification: str = "auto") -> Evaluation:
    return evaluate(read_predictions(path), read_predictions(truth) if truth else None, classification=classification)


def f1_by_hand(path: Path, view: str) -> float:
    truth, predicted = np.array(VIEWS[view].of_class)[EVERY], read_predictions(path).ans
    labels = range(VIEWS[view].num_classes)
    return float(f1_score(truth, predicted, labels=labels, average="macro", zero_division=0))


@pytest.mark.parametrize(
    ("num_classes", "run", "classification", "view"),
    [
        (18, "", "auto", "multi"),
        (18, "multihead", "auto", "multihead"),
        (18, "multi", "multihead", "multihead"),
        (2, "", "auto", "gender"),
        (3, "mask", "auto", "mask"),
        (3, "age", "auto", "age"),
        (3, "", "age", "age"),
        (18, "age", "auto", "multi"),  # the columns are not those of the run
    ],
)
def test_the_view_is_told_by_flag_run_or_columns(
    tmp_path: Path, num_classes: int, run: str, classification: str, view: str
) -> None:
    path = soft_file(tmp_path, num_classes, run=run, truth=view)
    result = evaluated(path, classification=classification)
    assert result.view.name == view
    assert f"{path} read as {view} (" in result.reading
    assert result.scores.whole.macro_f1.value == pytest.approx(f1_by_hand(path, view))
    assert [part.name for part in result.scores.axes] == [axis.name for axis in result.view.axes]
    assert result.counts.shape == (num_classes, num_classes)
    assert result.counts.sum() == result.support.sum() == len(NAMES)
    assert result.f1.mean() == pytest.approx(result.scores.whole.macro_f1.value)
    assert result.precision.shape == result.recall.shape == (num_classes,)
    assert "truth from its own column" in result.reading


@pytest.mark.parametrize(
    ("run", "view"), [("", "multi"), ("multihead", "multihead"), ("mask", "mask"), ("gender", "gender")]
)
def test_a_hard_file_has_the_view_of_its_run_or_all_classes(tmp_path: Path, run: str, view: str) -> None:
    path = hard_file(tmp_path / "run", VIEWS[view].num_classes, run=run)
    result = evaluated(path, truth_file(tmp_path))
    assert result.view.name == view
    assert result.scores.whole.macro_f1.value == pytest.approx(f1_by_hand(path, view))


@pytest.mark.parametrize(("view", "num_classes"), [("mask", 3), ("gender", 2), ("age", 3)])
def test_a_truth_file_is_reduced_to_a_single_task(tmp_path: Path, view: str, num_classes: int) -> None:
    path = soft_file(tmp_path / "run", num_classes)
    result = evaluated(path, truth_file(tmp_path), classification=view)
    assert result.scores.whole.macro_f1.value == pytest.approx(f1_by_hand(path, view))
    assert result.reading.endswith(f"in the 18 classes, reduced to {view}")


def test_a_truth_file_is_taken_before_the_own_column(tmp_path: Path) -> None:
    path = soft_file(tmp_path / "run", 18, truth="multi")
    write_hard(tmp_path / "truth.csv", NAMES, read_predictions(path).ans)
    result = evaluated(path, tmp_path / "truth.csv")
    assert result.scores.whole.accuracy == Estimate(1, 1, 1)
    assert str(tmp_path / "truth.csv") in result.reading


def test_the_column_truth_of_a_truth_file_is_taken_before_its_answers(tmp_path: Path) -> None:
    oracle = soft_file(tmp_path / "other", 18, truth="multi")
    path = soft_file(tmp_path / "run", 18)
    assert evaluated(path, oracle).scores.whole.macro_f1.value == pytest.approx(f1_by_hand(path, "multi"))


def test_three_columns_of_no_known_run_are_asked_about(tmp_path: Path) -> None:
    path = soft_file(tmp_path, 3, truth="mask")
    with pytest.raises(UsageError, match="which mask and age both have") as caught:
        evaluated(path)
    assert str(path) in caught.value.message
    assert "--classification=mask or --classification=age" in caught.value.hint


def refusal(path: Path, truth: Path | None = None, classification: str = "auto") -> str:
    with pytest.raises(PredictionError) as caught:
        evaluated(path, truth, classification)
    return str(caught.value)


def test_a_view_that_the_file_contradicts_is_refused(tmp_path: Path) -> None:
    path = soft_file(tmp_path, 3, run="age", truth="age")
    assert f"{path} has 3 columns of classes; gender has 2: male, female" in refusal(path, classification="gender")
    message = refusal(path, classification="mask")
    assert f"{path} is given as mask, but the run it lies in learned age" in message
    assert "--classification=age" in message


def test_an_unknown_view_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="'face'"):
        evaluated(soft_file(tmp_path, 18, truth="multi"), classification="face")


def test_answers_outside_the_view_are_refused_with_their_line(tmp_path: Path) -> None:
    path = hard_file(tmp_path / "run", 12, run="mask")
    message = refusal(path, truth_file(tmp_path))
    assert f"{path}, line 2: ans is 11; the classes of mask are 0..2" in message
    assert "--classification=" in message
    assert evaluated(path, truth_file(tmp_path), classification="multi").view.name == "multi"
    assert "line 2: ans is 11; the classes of gender are 0..1" in refusal(
        hard_file(tmp_path / "loose", 12), truth_file(tmp_path), "gender"
    )


def test_a_hard_files_own_truth_outside_the_view_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hard.csv"
    path.write_text("ImageID,ans,truth\na,1,0\nb,1,2\n")
    assert f"{path}, line 3: truth is 2; the classes of gender are 0..1" in refusal(path, classification="gender")


def test_a_file_without_truth_is_refused(tmp_path: Path) -> None:
    path = soft_file(tmp_path, 18)
    message = refusal(path)
    assert f"{path} has no column 'truth'" in message
    assert "--truth=FILE" in message


def test_a_truth_file_of_other_images_is_refused(tmp_path: Path) -> None:
    write_hard(tmp_path / "truth.csv", NAMES[1:], EVERY[1:])
    message = refusal(soft_file(tmp_path / "run", 18), tmp_path / "truth.csv")
    assert f"1 is missing in {tmp_path / 'truth.csv'} (the first is '0.jpg', line 2" in message


def test_predictions_are_no_truth(tmp_path: Path) -> None:
    path, other = soft_file(tmp_path / "run", 18), soft_file(tmp_path / "other", 18)
    assert f"{other} has no column 'truth'; its ans are predictions" in refusal(path, other)
    three = soft_file(tmp_path / "three", 3, truth="age")
    assert f"{three} has 3 columns of classes; a truth file is in the 18 classes" in refusal(path, three)


def run_samples(folder: Path, names: list[str], *, people: list[str] | None = None) -> None:
    """Write the samples.csv of a run: the true classes, and two images a person unless told otherwise."""
    people = people or [f"{row // 2:06d}" for row in range(len(names))]
    every = dict(zip(NAMES, EVERY.tolist(), strict=True))
    ages = (20, 40, 60)
    rows = [
        (name, person, every[name] // 6, every[name] // 3 % 2, ages[every[name] % 3])
        for name, person in zip(names, people, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["sample", "person", "mask", "gender", "age"])
    table["path"] = "/" + table["sample"]
    write_samples(folder, samples_table(Samples(table), np.zeros(len(names), dtype=np.int64)))


def grouped(result: Evaluation) -> list[str]:
    return list(result.scores.groups)


def test_nobody_known_makes_each_image_stand_for_itself(tmp_path: Path) -> None:
    result = evaluated(soft_file(tmp_path, 18, truth="multi"))
    assert not result.people_known
    assert result.scores.whole.people == result.scores.whole.images == len(NAMES)
    assert grouped(result) == ["gender", "age", "gender x age", "mask"]


def test_the_run_tells_who_is_on_its_images(tmp_path: Path) -> None:
    path = soft_file(tmp_path, 18, run="multi", truth="multi")
    run_samples(tmp_path, NAMES)
    result = evaluated(path)
    assert result.people_known
    assert result.scores.whole.people == len(NAMES) // 2


def test_a_run_that_lacks_an_image_tells_of_none(tmp_path: Path) -> None:
    path = soft_file(tmp_path, 18, run="multi", truth="multi")
    run_samples(tmp_path, NAMES[1:])
    assert not evaluated(path).people_known


def test_a_truth_file_that_lies_in_a_run_lets_it_tell(tmp_path: Path) -> None:
    held_out = soft_file(tmp_path / "run", 18, run="multi", truth="multi")
    run_samples(tmp_path / "run", NAMES)
    write_hard(tmp_path / "vote.csv", NAMES[::-1], EVERY)
    assert evaluated(tmp_path / "vote.csv", held_out).scores.whole.people == len(NAMES) // 2


@pytest.mark.parametrize("place", ["truth", "file"])
def test_a_column_person_comes_before_the_run(tmp_path: Path, place: str) -> None:
    path = soft_file(tmp_path, 18, run="multi")
    run_samples(tmp_path, NAMES)
    rows = [f"{name},{answer},{row // 4}" for row, (name, answer) in enumerate(zip(NAMES, EVERY, strict=True))]
    truth = tmp_path / "truth.csv"
    truth.write_text("\n".join(["ImageID,ans,person", *rows[::-1], ""]))
    result = evaluated(path, truth) if place == "truth" else evaluated(truth, truth_file(tmp_path / "other"))
    assert result.people_known
    assert result.scores.whole.people == len(NAMES) // 4


@pytest.mark.parametrize("view", ["mask", "gender", "age"])
def test_a_single_task_is_grouped_by_what_its_run_or_a_truth_file_knows(tmp_path: Path, view: str) -> None:
    path = soft_file(tmp_path / "run", VIEWS[view].num_classes, run=view, truth=view)
    alone = evaluated(path)
    assert grouped(alone) == [view]
    assert len(alone.scores.unknown) == 3
    run_samples(tmp_path / "run", NAMES, people=NAMES)
    by_run, by_truth = evaluated(path), evaluated(path, truth_file(tmp_path))
    assert grouped(by_run) == ["gender", "age", "gender x age", "mask"]
    assert by_run.scores == by_truth.scores
    assert (by_run.counts == alone.counts).all()


def test_samples_that_contradict_the_truth_tell_no_groups(tmp_path: Path) -> None:
    path = soft_file(tmp_path, 2, run="gender", truth="gender")
    shifted = pd.read_csv(path).assign(truth=lambda table: 1 - table["truth"])
    shifted.to_csv(path, index=False)
    run_samples(tmp_path, NAMES)
    result = evaluated(path)
    assert grouped(result) == ["gender"]
    assert result.scores.whole.people == len(NAMES) // 2


def test_the_order_of_the_rows_changes_nothing(tmp_path: Path) -> None:
    path = soft_file(tmp_path, 18, run="multi", truth="multi")
    run_samples(tmp_path, NAMES)
    first = evaluated(path)
    pd.read_csv(path).sample(frac=1, random_state=1).to_csv(path, index=False)
    assert evaluated(path).scores == first.scores
