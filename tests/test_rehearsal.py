"""A part that breaks its contract is named before a run folder exists, whatever it breaks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import write_faces
from PIL import Image
from torch import Tensor, nn

from maskkit import Augmentation, Component, Draws
from maskkit.config import TrainConfig
from maskkit.engine.training import train
from maskkit.errors import PluginError
from maskkit.flags import flags_of
from maskkit.plugin.discovery import Plugin, State, discover
from maskkit.plugin.registry import Registry

made: Any = None
"""What the factory of the part under test gives."""


def part(*_: object, **__: object) -> Any:
    """Return what a test wants, whatever the kind."""
    return made


class Network(nn.Module):
    """A network of which a test chooses the answer."""

    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.weight, self.answer = nn.Parameter(torch.zeros(1)), answer

    def forward(self, images: Tensor) -> Any:
        return self.answer(images)


class Loss(nn.Module):
    """A loss of which a test chooses the number."""

    def __init__(self, number: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.number = number

    def forward(self, logits: Tensor, targets: Tensor) -> Any:
        return self.number(logits, targets)


def black(image: Image.Image) -> Tensor:
    assert image.mode == "RGB"
    return torch.zeros((3, 20, 16), dtype=torch.uint8)


def mixing(mix: Callable[[Tensor, Tensor], Any]) -> Callable[[Tensor, Tensor, Draws], Any]:
    return lambda images, targets, _: mix(images, targets)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces") / "images", people=6)


FLAGS = {
    "model": "model",
    "loss": "criterion",
    "augmentation": "augmentation",
    "mix": "mix",
    "optimizer": "optimizer",
    "scheduler": "scheduler",
}

CASES: list[tuple[str, Any, str]] = [
    ("model", None, "its factory gave NoneType instead of Module"),
    ("model", Network(lambda images: torch.zeros(len(images), 25)), r"\[2, 18\]; it is torch.float32 \[2, 25\]"),
    ("model", Network(lambda images: torch.zeros(len(images), 18, 1, 1)), r"it is torch.float32 \[2, 18, 1, 1\]"),
    ("model", Network(lambda images: images @ torch.zeros(5, 5)), "RuntimeError: "),
    ("loss", None, "its factory gave NoneType instead of Module"),
    ("loss", Loss(lambda logits, _: logits.sum(1)), r"the loss must be torch.float32 \[\]; it is torch.float32 \[2\]"),
    ("loss", Loss(lambda logits, _: logits.sum().item()), "the loss must be a tensor, not float"),
    ("augmentation", None, "its factory gave NoneType instead of Augmentation"),
    ("augmentation", Augmentation(lambda _: torch.zeros(3, 20, 16)), "prepare must be torch.uint8"),
    ("augmentation", Augmentation(lambda image: black(image).mT), r"it is torch.uint8 \[3, 16, 20\]"),
    ("augmentation", Augmentation(black, lambda _, __: None), "augment must be a tensor, not NoneType"),  # type: ignore[arg-type,return-value]
    ("augmentation", Augmentation(black, lambda images, _: images + 255), r"augment must give pixels in 0\.\.1"),
    ("augmentation", Augmentation(black, lambda images, _: images[:, :, :10]), r"it is torch.float32 \[2, 3, 10, 16\]"),
    ("mix", None, "its factory gave NoneType instead of a function"),
    ("mix", mixing(lambda images, _: images), "ValueError: "),
    ("mix", mixing(lambda images, targets: (images, 2 * targets)), "each row of the targets must sum to 1"),
    ("mix", mixing(lambda images, targets: (images, targets.argmax(1))), r"it is torch.int64 \[2\]"),
    ("optimizer", "Adam", "its factory gave str instead of Optimizer"),
    ("scheduler", torch.optim.lr_scheduler.StepLR, "its factory gave type instead of Schedule"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}: {case[2]}")
def test_a_part_that_breaks_its_contract_is_named_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, faces: Path, tmp_path: Path, case: tuple[str, Any, str]
) -> None:
    kind, wrong, told = case
    monkeypatch.setitem(globals(), "made", wrong)
    with pytest.raises(PluginError, match=told) as caught:
        run(faces, tmp_path, kind)
    assert caught.value.message.startswith(f"{kind} odd of guest-odd 1.2 failed: ")
    assert not list(tmp_path.iterdir())


def test_parts_that_keep_their_contracts_train(monkeypatch: pytest.MonkeyPatch, faces: Path, tmp_path: Path) -> None:
    monkeypatch.setitem(globals(), "made", mixing(lambda images, targets: (images, targets)))
    assert (run(faces, tmp_path, "mix") / "metrics.csv").is_file()


def run(faces: Path, folder: Path, kind: str) -> Path:
    usual: dict[str, Any] = {
        "data_dir": faces,
        "model_dir": folder,
        "resize": (20, 16),
        "reporters": ("csv",),
        "num_workers": 0,
        "epochs": 1,
        FLAGS[kind]: "odd",
    }
    component = Component(name="odd", target="test_rehearsal:part", summary="A part of a test")
    guest = Plugin("odd", "guest-odd", "1.2", State.OK, "", {kind: (component,)})
    origins = dict.fromkeys(flags_of(TrainConfig), "default")
    return train(TrainConfig(**usual), origins, Registry([*discover({"MASKKIT_DISABLE_PLUGINS": "*"}), guest]))
