"""`maskkit find-lr`: the loss by learning rate, as a picture, as numbers and as a flag to type."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import Runner, write_faces
from PIL import Image

from maskkit.engine.lr_search import Curve
from maskkit.errors import TrainingError


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces") / "images", people=12)


def curve(least: float, *, noise: float = 0.0) -> Curve:
    """Return a valley over the logarithm of the rate, as the real ones look."""
    rates = np.geomspace(1e-6, 1, 121)
    losses = 3 + np.abs(np.log10(rates / least)) / 3 + noise * np.random.default_rng(0).normal(size=121)
    return Curve(rates, losses)


@pytest.mark.parametrize("least", [1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_tenth_of_the_rate_with_the_least_loss_is_suggested(least: float, noise: float) -> None:
    found = curve(least, noise=noise)
    assert math.log10(found.least) == pytest.approx(math.log10(least), abs=0.3 if noise else 0.06)
    assert found.suggested == found.least / 10


def test_a_loss_that_only_rises_suggests_nothing() -> None:
    with pytest.raises(TrainingError, match="the loss falls nowhere between the learning rates 1e-06 and 1") as caught:
        _ = curve(1e-7).least
    assert "--lowest" in caught.value.hint


@pytest.mark.slow
def test_it_writes_the_picture_and_the_numbers_and_says_what_to_type(
    maskkit: Runner, faces: Path, tmp_path: Path
) -> None:
    words = (f"--data_dir={faces}", "--resize=32", "--batch_size=16", "--steps=40", "--first_layer_lr=0.5")
    outcome = maskkit("find-lr", *words, "--plot=out/rates.png", "--precision=fp32")
    assert outcome.code == 0, outcome.err
    with Image.open(tmp_path / "out" / "rates.png") as picture:
        assert picture.width > 300
    with (tmp_path / "out" / "rates.csv").open(newline="", encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    rates = [row["lr"] for row in rows]
    assert 10 <= len(rows) <= 40
    assert rates == pytest.approx(np.geomspace(1e-6, 1, 40)[: len(rows)].tolist(), rel=1e-4)
    found = Curve(np.array(rates), np.array([row["loss"] for row in rows]))
    assert f"next: maskkit train --lr={found.suggested:.1e}, with" in outcome.out
    assert not (tmp_path / "runs").exists()
    again = maskkit("find-lr", *words, "--plot=again.png", "--precision=fp32", "--num_workers=0")
    assert again.code == 0, again.err
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "out" / "rates.csv").read_bytes()


@pytest.mark.slow
def test_a_loss_that_explodes_ends_the_search_early(maskkit: Runner, faces: Path, tmp_path: Path) -> None:
    words = (f"--data_dir={faces}", "--resize=32", "--batch_size=16", "--steps=40", "--optimizer=SGD")
    outcome = maskkit("find-lr", *words, "--highest=1e9", "--lowest=1e-4", "--precision=fp32")
    assert outcome.code == 0, outcome.err
    assert len((tmp_path / "lr.csv").read_text(encoding="utf-8").splitlines()) < 40


REFUSED = {
    "--plot=lr.jpg": "--plot=lr.jpg is no .png",
    "--lowest=1 --highest=0.1": "--lowest=1 must be less than --highest=0.1",
    "--fold=2": "--fold=2: of how many folds?",
    "--steps=5": "--steps must be at least 20",
    "--model=BasModel": "Did you mean BaseModel?",
}


@pytest.mark.parametrize("words", REFUSED)
def test_wrong_flags_are_told(maskkit: Runner, faces: Path, tmp_path: Path, words: str) -> None:
    outcome = maskkit("find-lr", f"--data_dir={faces}", *words.split())
    assert outcome.code == 2
    assert REFUSED[words] in outcome.err
    assert not [*tmp_path.iterdir()]
