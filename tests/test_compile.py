"""A network that torch compiles learns what it would learn without, and its run is a run like others."""

import sysconfig
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import torch
from conftest import write_faces
from torch import Tensor, nn

from maskkit.config import TrainConfig
from maskkit.engine.checkpoint import Checkpoint
from maskkit.engine.training import train
from maskkit.errors import UsageError
from maskkit.flags import flags_of
from maskkit.plugin.component import Component
from maskkit.plugin.discovery import Plugin, State, discover
from maskkit.plugin.registry import Registry

COMPILER = (sysconfig.get_config_var("CXX") or "c++").split()[0]


class Tiny(nn.Module):
    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.last = nn.Linear(4, num_outputs)
        self.compiled = 0

    def forward(self, images: Tensor) -> Tensor:
        self.compiled += torch.compiler.is_compiling()
        logits: Tensor = self.last(self.convolution(images).relu().mean(dim=(2, 3)))
        return logits


def tiny(num_outputs: int, *, pretrained: bool) -> nn.Module:  # noqa: ARG001  there are no weights
    made.append(Tiny(num_outputs))
    return made[-1]


made: list[Tiny] = []


def run(faces: Path, folder: Path, **flags: Any) -> dict[str, Tensor]:
    """Train, and return the weights of the last epoch."""
    usual: dict[str, Any] = {
        "data_dir": faces,
        "model_dir": folder,
        "resize": (16, 16),
        "batch_size": 14,
        "model": "tiny",
        "reporters": ("csv",),
        "num_workers": 0,
        "epochs": 2,
        "precision": "fp32",
        "device": "cpu",
    }
    component = Component(name="tiny", target="test_compile:tiny", summary="A model of a test")
    guest = Plugin("test", "test", "0", State.OK, "", {"model": (component,)})
    origins = dict.fromkeys(flags_of(TrainConfig), "default") | dict.fromkeys(flags, "flag")
    registry = Registry([*discover({"MASKKIT_DISABLE_PLUGINS": "*"}), guest])
    path = train(TrainConfig(**usual | flags), origins, registry)
    return dict(Checkpoint.load(path / "checkpoints" / "last.safetensors").weights)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return write_faces(tmp_path / "images", people=6)


@pytest.mark.slow
@pytest.mark.skipif(which(COMPILER) is None, reason="torch compiles for a CPU with a C++ compiler, and there is none")
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_network_learns_the_same(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    plain, compiled = (run(faces, tmp_path, compile=how) for how in ("no", "default"))
    assert made[-2].compiled == 0 < made[-1].compiled
    assert plain.keys() == compiled.keys()
    for name, weights in plain.items():
        torch.testing.assert_close(compiled[name], weights, rtol=1e-4, atol=1e-6)


def test_graphs_on_a_cpu_are_refused_before_anything_is_written(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--compile=graphs needs a CUDA GPU, not cpu"):
        run(faces, tmp_path / "runs", compile="graphs")
    assert not (tmp_path / "runs").exists()
