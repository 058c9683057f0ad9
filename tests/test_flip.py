"""Predictions that take the mean of each image and its mirror image."""

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import Runner, write_faces
from numpy.typing import NDArray
from PIL import Image

SMALL = ("--resize=32", "--epochs=1", "--num_workers=0", "--precision=fp32")


def soft(path: Path) -> NDArray[np.float64]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row[str(number)]) for number in range(18)] for row in rows])


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces") / "images", people=12)


@pytest.fixture
def mirrored(faces: Path, tmp_path: Path) -> Path:
    """Some photos, and in another folder the same ones left for right."""
    for number, path in enumerate(sorted(faces.rglob("*.png"))[:12]):
        with Image.open(path) as image:
            for folder, photo in (("plain", image), ("mirrored", image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))):
                (tmp_path / folder).mkdir(exist_ok=True)
                photo.save(tmp_path / folder / f"{number:02}.png")
    return tmp_path


@pytest.mark.slow
def test_a_prediction_is_the_scaled_geometric_mean_of_both_sides(maskkit: Runner, mirrored: Path, faces: Path) -> None:
    trained = maskkit("train", f"--data_dir={faces}", *SMALL, "--test_flip=predictions", "--eval_dir=plain")
    assert trained.code == 0, trained.err
    for name, words in {
        "left": ("--images=plain", "--test_flip=false"),
        "right": ("--images=mirrored", "--test_flip=false"),
        "both": ("--images=plain",),
        "mirror": ("--images=mirrored",),
    }.items():
        predicted = maskkit("predict", "runs/exp", f"--out={name}", "--num_workers=0", *words)
        assert predicted.code == 0, predicted.err
    left, right, both, mirror = (
        soft(mirrored / name / "eval_soft.csv") for name in ("left", "right", "both", "mirror")
    )
    assert np.abs(left - right).max() > 1e-3, "the network is not blind for sides"
    mean = np.sqrt(left * right)
    np.testing.assert_allclose(both, mean / mean.sum(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(both, mirror, atol=1e-6)
    of_run = soft(mirrored / "runs" / "exp" / "predictions" / "eval_soft.csv")
    np.testing.assert_allclose(of_run, both, atol=1e-6)


@pytest.mark.slow
def test_validation_takes_both_sides_only_when_asked_to(maskkit: Runner, faces: Path, tmp_path: Path) -> None:
    """Training is the same in all; valid_soft.csv is of predictions, and so of both sides before validation is."""
    rows: dict[str, dict[str, str]] = {}
    for choice in ("no", "predictions", "always"):
        words = (f"--data_dir={faces}", *SMALL, f"--test_flip={choice}", f"--name={choice}", "--eval_dir=none")
        trained = maskkit("train", *words)
        assert trained.code == 0, trained.err
        with (tmp_path / "runs" / choice / "metrics.csv").open(newline="", encoding="utf-8") as file:
            (rows[choice],) = csv.DictReader(file)
    assert len({row["train_loss"] for row in rows.values()}) == 1
    assert rows["no"]["valid_loss"] == rows["predictions"]["valid_loss"] != rows["always"]["valid_loss"]
    held_out = {choice: soft(tmp_path / "runs" / choice / "predictions" / "valid_soft.csv") for choice in rows}
    assert np.array_equal(held_out["predictions"], held_out["always"])
    assert not np.array_equal(held_out["no"], held_out["always"])
