"""When memory runs out: the batch is halved, the step keeps its images, and the run is the one that was asked for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from conftest import write_faces
from torch import Tensor, nn

from maskkit import Component
from maskkit.config import TrainConfig
from maskkit.data.order import num_steps, split_rows
from maskkit.engine.checkpoint import Checkpoint
from maskkit.engine.training import train
from maskkit.errors import TrainingError
from maskkit.flags import flags_of
from maskkit.plugin.discovery import Plugin, State, discover
from maskkit.plugin.registry import Registry


class Hungry(nn.Module):
    """A linear network on a device whose memory holds so many images at once, and later perhaps fewer."""

    room: ClassVar[dict[str, int]] = {}
    num_forwards: ClassVar[int] = 0

    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, num_outputs))

    def forward(self, images: Tensor) -> Tensor:
        Hungry.num_forwards += 1
        room = self.room["training" if self.training else "validation"]
        if self.training and Hungry.num_forwards > self.room.get("until", 10**9):
            room = self.room["later"]
        if len(images) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        logits: Tensor = self.layers(images)
        return logits


def hungry(num_outputs: int, *, pretrained: bool) -> nn.Module:  # noqa: ARG001  there are no weights
    return Hungry(num_outputs)


@pytest.fixture(autouse=True)
def room() -> Iterator[dict[str, int]]:
    Hungry.num_forwards = 0
    Hungry.room.clear()
    Hungry.room.update({"training": 10**9, "validation": 10**9})
    yield Hungry.room
    Hungry.room.clear()


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of 12 people, of which 56 are trained on and 28 held out."""
    return write_faces(tmp_path_factory.mktemp("faces") / "images", people=12)


def run(faces: Path, folder: Path, **flags: Any) -> Path:
    usual: dict[str, Any] = {
        "data_dir": faces,
        "model_dir": folder,
        "val_ratio": 0.34,
        "batch_size": 32,
        "resize": (16, 16),
        "model": "hungry",
        "reporters": ("csv",),
        "num_workers": 0,
        "epochs": 3,
    }
    component = Component(name="hungry", target="test_memory:hungry", summary="A model of a test")
    guest = Plugin("test", "test", "0", State.OK, "", {"model": (component,)})
    origins = dict.fromkeys(flags_of(TrainConfig), "default") | dict.fromkeys(flags, "flag")
    return train(TrainConfig(**usual | flags), origins, Registry([*discover({"MASKKIT_DISABLE_PLUGINS": "*"}), guest]))


def config_of(run_dir: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
    return content


def weights_of(run_dir: Path, which: str = "last") -> dict[str, Tensor]:
    return dict(Checkpoint.load(run_dir / "checkpoints" / f"{which}.safetensors").weights)


def assert_same_weights(found: Path, expected: Path, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    for name, value in weights_of(expected).items():
        torch.testing.assert_close(weights_of(found)[name], value, rtol=rtol, atol=atol)


def test_a_batch_that_does_not_fit_is_halved_and_the_step_keeps_its_images(
    faces: Path, tmp_path: Path, room: dict[str, int]
) -> None:
    """32 images, then 16, then 8 at once; from then on it is the run of --batch_size=8 --accumulate=4, to the bit."""
    expected = run(faces, tmp_path, batch_size=8, accumulate=4)
    room["training"] = 10
    with pytest.warns(UserWarning, match="memory ran out in epoch 1 with") as told:
        halved = run(faces, tmp_path)
    assert [str(one.message) for one in told] == [
        "memory ran out in epoch 1 with 32 images at once; going on with 16, 2 batches a step",
        "memory ran out in epoch 1 with 16 images at once; going on with 8, 4 batches a step",
    ]
    assert_same_weights(halved, expected)
    content = config_of(halved)
    assert (content["values"]["batch_size"], content["values"]["accumulate"]) == (8, 4)
    assert content["origins"]["batch_size"] == "halved when memory ran out (default)"
    assert content["decisions"]["smaller_batches"] == [str(one.message) for one in told]
    assert (halved / "metrics.csv").read_text(encoding="utf-8").count("\n") == 4


def test_accumulated_batches_learn_as_one_large_batch_does(faces: Path, tmp_path: Path) -> None:
    """A mean over samples is the same but for rounding; the second step is of 10, 10 and 6 images."""
    large = run(faces, tmp_path, batch_size=30, optimizer="SGD", lr=0.1, precision="fp32")
    small = run(faces, tmp_path, batch_size=10, accumulate=3, optimizer="SGD", lr=0.1, precision="fp32")
    assert_same_weights(small, large, rtol=1e-5, atol=1e-6)
    rows = [(path / "metrics.csv").read_text(encoding="utf-8").splitlines()[3].split(",") for path in (small, large)]
    assert float(rows[0][2]) == pytest.approx(float(rows[1][2]), rel=1e-4)


def test_auto_takes_what_fits_without_accumulating(faces: Path, tmp_path: Path, room: dict[str, int]) -> None:
    room["training"] = 7
    with pytest.warns(UserWarning, match="going on with 4, 1 batches a step"):
        folder = run(faces, tmp_path, batch_size="auto")
    content = config_of(folder)
    assert (content["values"]["batch_size"], content["values"]["accumulate"]) == (4, 1)
    assert content["origins"]["batch_size"] == "decided (flag)"


def test_memory_that_runs_out_later_goes_on_from_the_last_epoch(
    faces: Path, tmp_path: Path, room: dict[str, int]
) -> None:
    """Two steps, three looks at what can be folded and a validation an epoch, so the 13th pass begins the third."""
    room |= {"until": 12, "later": 16}
    with pytest.warns(UserWarning, match="memory ran out in epoch 3 with 32 images at once; going on with 16, 2"):
        folder = run(faces, tmp_path)
    epochs = [line.split(",")[0] for line in (folder / "metrics.csv").read_text(encoding="utf-8").splitlines()]
    assert epochs == ["epoch", "0", "1", "2"]


def test_validation_and_prediction_take_fewer_at_once(faces: Path, tmp_path: Path, room: dict[str, int]) -> None:
    expected = run(faces, tmp_path)
    room["validation"] = 5
    with pytest.warns(UserWarning, match="memory ran out with .* images at once") as told:
        folder = run(faces, tmp_path, valid_batch_size=16)
    assert len(told) == 2  # 16 and 8, once for the whole run
    assert_same_weights(folder, expected)
    assert (folder / "predictions" / "valid_soft.csv").is_file()


def test_a_single_image_that_does_not_fit_ends_the_run(faces: Path, tmp_path: Path, room: dict[str, int]) -> None:
    room["training"] = 0
    with (
        pytest.warns(UserWarning, match="memory ran out"),
        pytest.raises(TrainingError, match="memory ran out with a single image of 16x16 in hungry") as caught,
    ):
        run(faces, tmp_path, batch_size=2)
    assert "--resize" in caught.value.hint


@pytest.mark.parametrize("num_rows", range(2, 40))
@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_every_row_is_in_one_batch_and_no_batch_is_of_one(num_rows: int, batch_size: int) -> None:
    parts = split_rows(torch.arange(num_rows), batch_size)
    assert torch.cat(parts).tolist() == list(range(num_rows))
    assert len(parts) == num_steps(num_rows, batch_size)
    assert batch_size == 1 or min(map(len, parts)) > 1
    assert max(map(len, parts)) <= batch_size + 1
