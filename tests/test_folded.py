"""`maskkit train --folds=N`: a run for each fold in one folder, and what they say together."""

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import Runner, write_faces
from searches import MASKKIT

from maskkit.metrics import confusion_counts, f1_per_class
from maskkit.predictions import Predictions, read_predictions

QUICK = ("--resize=32", "--batch_size=16", "--num_workers=0", "--classification=gender", "--reporters=csv")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve people to learn from, and an eval folder."""
    folder = tmp_path_factory.mktemp("data")
    write_faces(folder / "train" / "images", 12)
    (folder / "eval" / "images").mkdir(parents=True)
    for number, path in enumerate(sorted((folder / "train" / "images").glob("*/normal.png"))[:5]):
        (folder / "eval" / "images" / f"{number}.png").write_bytes(path.read_bytes())
    return folder / "train" / "images"


def predictions(run: Path, name: str) -> Predictions:
    return read_predictions(run / "predictions" / name)


def values(file: Predictions) -> np.ndarray:
    assert file.values is not None
    return file.values


@pytest.mark.slow
def test_each_image_is_predicted_by_the_run_that_held_it_out(maskkit: Runner, data: Path, tmp_path: Path) -> None:
    outcome = maskkit("train", f"--data_dir={data}", "--folds=3", "--epochs=2", *QUICK, cwd=tmp_path, timeout=300)
    assert outcome.code == 0, outcome.err
    run = tmp_path / "runs" / "exp"
    with (run / "samples.csv").open(newline="") as file:
        samples = list(csv.DictReader(file))
    folds: dict[str, str] = {}
    for row in samples:
        assert folds.setdefault(row["person"], row["fold"]) == row["fold"], "a person is in two folds"
    joined = predictions(run, "oof_soft.csv")
    assert joined.ids == [row["sample"] for row in samples]
    assert len(joined.ids) == 84
    for fold in range(3):
        part = predictions(run / f"fold-{fold}", "valid_soft.csv")
        rows = [row for row, sample in enumerate(samples) if sample["fold"] == str(fold)]
        assert set(part.ids) == {joined.ids[row] for row in rows}
        by_id = dict(zip(part.ids, values(part).tolist(), strict=True))
        assert [by_id[joined.ids[row]] for row in rows] == values(joined)[rows].tolist()
    mean = np.mean([values(predictions(run / f"fold-{fold}", "eval_soft.csv")) for fold in range(3)], axis=0)
    together = predictions(run, "eval_soft.csv")
    assert values(together) == pytest.approx(mean, abs=1e-7)
    assert predictions(run, "eval_hard.csv").ans.tolist() == together.ans.tolist()

    assert joined.truth is not None
    f1 = f1_per_class(confusion_counts(joined.truth, joined.ans, 2)).mean()
    assert f"out of fold: 84 images, macro F1 {f1:.4f} (" in outcome.out
    with (run / "folds.csv").open(newline="") as file:
        scores = [float(row["f1_macro"]) for row in csv.DictReader(file)]
    assert f"mean of the folds {np.mean(scores):.4f}, standard deviation {np.std(scores, ddof=1):.4f}" in outcome.out
    scored = maskkit("evaluate", run)
    assert scored.code == 0, scored.err
    assert f"{f1:.4f}" in scored.out
    assert "people                12" in scored.out

    alone = maskkit(
        "train", f"--data_dir={data}", "--folds=3", "--fold=1", "--epochs=2", *QUICK, "--name=one", cwd=tmp_path
    )
    assert alone.code == 0, alone.err
    for name in ("valid_soft.csv", "eval_soft.csv"):
        of_all, of_one = (folder / "predictions" / name for folder in (run / "fold-1", tmp_path / "runs" / "one"))
        assert of_all.read_bytes() == of_one.read_bytes()

    own = {name: (run / "predictions" / name).read_bytes() for name in ("eval_soft.csv", "eval_hard.csv")}
    outcome = maskkit("predict", run, "--out=again", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    assert f"5 images predicted by the mean of the 3 folds of {run}" in outcome.out
    predicted = read_predictions(tmp_path / "again" / "eval_soft.csv")
    assert predicted.ids == together.ids
    assert values(predicted) == pytest.approx(values(together), abs=1e-6)
    assert maskkit("predict", run).code == 0
    assert (run / "predictions" / "eval_hard.csv").read_bytes() == own["eval_hard.csv"]
    (run / "fold-1" / "checkpoints" / "best.safetensors").rename(tmp_path / "away.safetensors")
    refused = maskkit("predict", run)
    assert refused.code == 1
    assert f"{run} has no best checkpoint of fold-1" in refused.err
    assert f"maskkit train --resume={run}" in refused.err
    again = maskkit("train", f"--resume={run}", "--epochs=3")
    assert (again.code, again.err.splitlines()[0]) == (
        2,
        f"error: --resume={run}: --epochs is the same for all folds",
    )


@pytest.mark.slow
def test_killed_in_the_third_of_five_folds_it_goes_on_to_the_same_file(
    maskkit: Runner, data: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    words = ["train", f"--data_dir={data}", "--folds=5", *QUICK, "--epochs=4"]
    whole = maskkit(*words, f"--model_dir={tmp_path / 'whole'}", timeout=600)
    assert whole.code == 0, whole.err
    run = tmp_path / "runs" / "exp"
    with subprocess.Popen(
        [MASKKIT, *words], cwd=tmp_path, env=os.environ | environment, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 300
        while not (run / "fold-2" / "checkpoints" / "last.safetensors").exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (run / "fold-3").exists()
    before = (run / "fold-1" / "predictions" / "valid_soft.csv").stat().st_mtime_ns
    outcome = maskkit("train", "--resume=runs/exp", cwd=tmp_path, timeout=600)
    assert outcome.code == 0, outcome.err
    assert [line for line in outcome.out.splitlines() if line.startswith("fold ")][:3] == [
        f"fold {fold} of 0..4" for fold in (2, 3, 4)
    ]
    assert (run / "fold-1" / "predictions" / "valid_soft.csv").stat().st_mtime_ns == before
    for name in ("oof_soft.csv", "eval_soft.csv", "eval_hard.csv"):
        assert (run / "predictions" / name).read_bytes() == (tmp_path / "whole/exp/predictions" / name).read_bytes()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fold=1"], "--fold=1: of how many folds?"),
        (["--folds=3", "--fold=3"], "--fold=3: there is none among 3\n  It is one of 0..2."),
        (["--folds=4", "--val_ratio=0.3"], "--folds=4 holds out one part in 4, so --val_ratio says nothing"),
        (["--folds=1"], "--folds must be at least 2"),
        (["--folds=13"], "13 folds need as many people or images at least, and there are 12"),
    ],
)
def test_folds_that_cannot_be_are_refused_and_nothing_is_written(
    maskkit: Runner, data: Path, tmp_path: Path, flags: list[str], message: str
) -> None:
    outcome = maskkit("train", f"--data_dir={data}", *QUICK, *flags, cwd=tmp_path)
    assert outcome.code in {1, 2}
    assert message in outcome.err
    assert not (tmp_path / "runs").exists()


def test_a_trial_and_a_search_take_one_fold(maskkit: Runner, data: Path, tmp_path: Path) -> None:
    (tmp_path / "parameter.cfg").write_text(json.dumps({"parameter_id": 0, "parameters": {"lr": 0.001}}))
    place = {"NNI_SYS_DIR": str(tmp_path), "NNI_OUTPUT_DIR": str(tmp_path)}
    names = {"NNI_EXP_ID": "search", "NNI_TRIAL_JOB_ID": "one", "NNI_TRIAL_SEQ_ID": "0"}
    trial = {"NNI_PLATFORM": "local", **place, **names}
    for outcome in (
        maskkit("train", f"--data_dir={data}", "--folds=3", env=trial),
        maskkit("tune", f"--data_dir={data}", "--folds=3"),
    ):
        assert outcome.code == 2, outcome.err
        assert "a trial has one result, not one for each of --folds" in outcome.err
        assert "--fold=0" in outcome.err
