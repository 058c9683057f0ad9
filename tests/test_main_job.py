"""The main job as a user does it: runs, and three tasks voted together."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import REAL_FACES, Runner
from forked import Outcome

pytestmark = pytest.mark.slow

TASKS = ("mask", "gender", "age")
QUICK = ("--epochs=1", "--resize=32", "--num_workers=0")


def soft_file(task: str) -> str:
    return f"runs/{task}/predictions/eval_soft.csv"


@pytest.fixture
def task_runs(maskkit: Runner, train_images: Path) -> None:
    for task in TASKS:
        done = maskkit("train", f"--data_dir={train_images}", f"--classification={task}", f"--name={task}", *QUICK)
        assert done.code == 0, done.err


@pytest.mark.usefixtures("task_runs")
def test_three_tasks_vote_to_the_product_of_their_files(maskkit: Runner, tmp_path: Path) -> None:
    done = maskkit("vote", *map(soft_file, TASKS), "--out=vote.csv", "--soft_out=soft.csv")
    assert "read as mask, gender and age" in done.out
    mask, gender, age = (pd.read_csv(tmp_path / soft_file(task)).iloc[:, 2:].to_numpy() for task in TASKS)
    by_hand = np.empty((len(mask), 18))
    for answer in range(18):
        by_hand[:, answer] = mask[:, answer // 6] * gender[:, answer // 3 % 2] * age[:, answer % 3]
    voted = pd.read_csv(tmp_path / "soft.csv")
    assert np.abs(voted.iloc[:, 2:].to_numpy() - by_hand).max() < 1e-6
    assert (voted["ans"].to_numpy() == by_hand.argmax(axis=1)).all()
    assert pd.read_csv(tmp_path / "vote.csv")["ans"].tolist() == voted["ans"].tolist()
    refused = maskkit("vote", *map(soft_file, reversed(TASKS)), "--out=wrong.csv")
    assert refused.code == 1
    assert "--mask=runs/mask/predictions/eval_soft.csv" in refused.err
    assert not (tmp_path / "wrong.csv").exists()


@pytest.mark.skipif(not REAL_FACES.is_dir(), reason="the real faces are not here")
def test_real_faces_are_trained_on_and_predicted_in_the_order_of_info_csv(maskkit: Runner, tmp_path: Path) -> None:
    words = "--epochs 1 --batch_size 64 --criterion cross_entropy --classification multi --model BaseModel --resize 32"
    done: Outcome = maskkit("train", f"--data_dir={REAL_FACES}/train/images", *words.split())
    assert done.code == 0, done.err
    order = pd.read_csv(REAL_FACES / "eval" / "info.csv")["ImageID"].tolist()
    for name in ("eval_hard.csv", "eval_soft.csv"):
        table = pd.read_csv(tmp_path / "runs" / "exp" / "predictions" / name)
        assert table["ImageID"].tolist() == order
        assert table["ans"].between(0, 17).all()
