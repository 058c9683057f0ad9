"""On a CUDA device: each number format trains, agrees with the CPU, never waits within an interval, and resumes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import write_faces

from maskkit import Component, EpochStart, Reporter, StepEnd
from maskkit.config import TrainConfig
from maskkit.engine.training import train
from maskkit.flags import flags_of
from maskkit.plugin.discovery import Plugin, State, discover
from maskkit.plugin.registry import Registry

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]

INTERVAL = 4

Train = Callable[..., Path]


class Sentinel(Reporter):
    """Makes torch raise when anything waits for the device, but in the steps whose loss is read."""

    steps: ClassVar[int] = 0
    quiet_steps: ClassVar[int] = 0

    def on_epoch_start(self, epoch: EpochStart) -> None:
        Sentinel.steps = epoch.steps
        torch.cuda.set_sync_debug_mode("error")

    def on_step_end(self, step: StepEnd) -> None:
        is_next_read = (step.step + 1) % INTERVAL == 0 or step.step + 1 >= self.steps
        Sentinel.quiet_steps += step.loss is None
        torch.cuda.set_sync_debug_mode("default" if is_next_read else "error")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of 24 people."""
    return write_faces(tmp_path_factory.mktemp("faces") / "images", people=24)


@pytest.fixture
def run(faces: Path, tmp_path: Path) -> Train:
    part = Component(name="Sentinel", target="test_gpu:Sentinel", summary="A reporter of a test")
    guest = Plugin("test", "test", "0", State.OK, "", {"reporter": (part,)})
    registry = Registry([*discover({"MASKKIT_DISABLE_PLUGINS": "*"}), guest])

    def start(**flags: Any) -> Path:
        usual: dict[str, Any] = {
            "data_dir": faces,
            "model_dir": tmp_path,
            "batch_size": 16,
            "resize": (64, 48),
            "model_args": {"dropout": 0.0},
            "reporters": ("csv",),
            "num_workers": 2,
            "log_interval": INTERVAL,
            "device": "cuda",
            "epochs": 3,
        }
        given = flags if "resume" in flags else usual | flags
        origins = dict.fromkeys(flags_of(TrainConfig), "default") | dict.fromkeys(given, "flag")
        return train(TrainConfig(**given), origins, registry)

    return start


def metrics_of(run_dir: Path) -> pd.DataFrame:
    return pd.read_csv(run_dir / "metrics.csv")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "auto"])
def test_each_number_format_learns_and_is_recorded(run: Train, precision: str) -> None:
    folder = run(precision=precision, epochs=8)
    losses = metrics_of(folder)["train_loss"]
    assert losses.iloc[-1] < 0.7 * losses.iloc[0]
    decisions = json.loads((folder / "config.json").read_text(encoding="utf-8"))["decisions"]
    best = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    assert decisions["precision"] == (best if precision == "auto" else precision)
    assert decisions["device"] == "cuda:0"


def test_fp32_has_the_losses_of_the_cpu(run: Train) -> None:
    """TF32, which convolutions may use, keeps 10 bits of a factor."""
    on_gpu, on_cpu = (metrics_of(run(precision="fp32", device=device, epochs=2)) for device in ("cuda", "cpu"))
    for column in ("train_loss", "valid_loss"):
        np.testing.assert_allclose(on_gpu[column], on_cpu[column], rtol=5e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("augmentation", ["BaseAugmentation", "AffineAugmentation", "GaussianAugmentation"])
@pytest.mark.parametrize(
    ("criterion", "mix"), [("cross_entropy", None), ("focal", None), ("focal", "half_face"), ("f1", "cutmix")]
)
def test_nothing_waits_for_the_device_within_an_interval(
    run: Train, precision: str, augmentation: str, criterion: str, mix: str | None
) -> None:
    Sentinel.quiet_steps = 0
    run(
        precision=precision,
        augmentation=augmentation,
        criterion=criterion,
        class_weights="none" if criterion == "f1" else "balanced",
        mix=mix,
        reporters=("Sentinel",),
        scheduler="cosine",
        clip_norm=1.0,
        epochs=2,
    )
    assert Sentinel.quiet_steps > 0


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_resumed_run_goes_on_as_an_unbroken_one(run: Train, precision: str) -> None:
    """A GPU adds in no fixed order, so the figures agree but for rounding."""
    whole = metrics_of(run(precision=precision, epochs=4))
    broken = run(precision=precision, epochs=2)
    resumed = metrics_of(run(resume=broken, epochs=4))
    assert resumed["epoch"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(resumed["train_loss"], whole["train_loss"], rtol=2e-2)


def test_memory_that_runs_out_halves_the_batch(run: Train) -> None:
    """EfficientNet-b0 on 128 images of 224x224 wants more than 4 GB."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 3e9 / total))
    with pytest.warns(UserWarning, match="memory ran out in epoch 1 with 128 images at once"):
        folder = run(
            model="Efficientnet_b0",
            model_args={},
            pretrained=False,
            precision="fp32",
            resize=(224, 224),
            batch_size=128,
            epochs=1,
        )
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))["values"]
    assert values["batch_size"] * values["accumulate"] == 128
    assert values["batch_size"] < 128
