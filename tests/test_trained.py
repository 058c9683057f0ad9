"""A trained run in the hands of a plugin: from an image to the same probabilities as `maskkit predict` writes."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from maskkit import TrainedRun, load_run, open_image
from maskkit.cli.shell import main
from maskkit.errors import CheckpointError


@pytest.fixture(scope="module", params=["multi", "multihead", "age"])
def run(request: pytest.FixtureRequest, train_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    words = [f"--model_dir={folder}", "--resize=48,32", "--epochs=1", "--num_workers=0", "--reporters=csv"]
    words += ["--precision=fp32"]  # as a trained run computes when it is loaded
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASKKIT_DISABLE_PLUGINS", "*")
        assert main(["train", f"--data_dir={train_images}", f"--classification={request.param}", *words]) == 0
    return folder / "exp"


def by_module(trained: TrainedRun, images: Path, names: list[str]) -> torch.Tensor:
    prepared = [trained.prepare(open_image(images / name)) for name in names]
    assert {(one.dtype, one.shape) for one in prepared} == {(torch.uint8, (3, *trained.size))}
    with torch.inference_mode():
        return trained.probabilities(trained.module(torch.stack(prepared) / 255))


def test_its_module_gives_the_probabilities_that_predict_wrote(run: Path, drawn_root: Path) -> None:
    with (run / "predictions" / "eval_soft.csv").open(newline="") as file:
        rows = [(row[0], [float(cell) for cell in row[2:]]) for row in list(csv.reader(file))[1:]]
    names, written = [name for name, _ in rows], np.array([numbers for _, numbers in rows])
    for source in (run, run / "checkpoints" / "best.safetensors"):
        found = by_module(load_run(source), drawn_root / "eval" / "images", names)
        np.testing.assert_allclose(found.numpy(), written, atol=1e-5)


def test_it_tells_what_it_is(run: Path) -> None:
    trained = load_run(run, checkpoint="last")
    assert trained.checkpoint == run / "checkpoints" / "last.safetensors"
    assert trained.size == (48, 32)
    assert trained.view.name == trained.description["classification"]
    assert trained.description["model"]["name"] == "BaseModel"
    assert not trained.network.training


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no run folder or checkpoint"):
        load_run(tmp_path / "nothing")
