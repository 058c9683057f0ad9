"""What the tests share: photos of noise, and runs that were really trained on them."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from maskkit_onnx.command import export_onnx
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from maskkit import load_run, open_image
from maskkit.cli.shell import main

# Small tensors gain nothing from threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHOTS = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")
Trainer = Callable[..., Path]


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in the competition's layout: train/images, eval/images and an eval/info.csv in an order of its own."""
    root = tmp_path_factory.mktemp("faces")
    draws = np.random.default_rng(0)

    def photo(file: Path, height: int, width: int) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(draws.integers(0, 256, (8, 6, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(file)

    for person in range(4):
        profile = f"{person:06}_{('male', 'female')[person % 2]}_Asian_{(20, 40, 60)[person % 3]}"
        for shot in SHOTS:
            photo(root / "train" / "images" / profile / f"{shot}.png", 64, 48)
    # Larger than the crop and smaller, of odd sides, and one that a camera turned.
    names = ["c.png", "a.jpg", "d.PNG", "b.jpg"]
    sizes = [(512, 384), (401, 377), (90, 401), (33, 47)]
    for name, (height, width) in zip(names, sizes, strict=True):
        photo(root / "eval" / "images" / name, height, width)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = root / "eval" / "images" / "a.jpg"
    Image.open(turned).save(turned, exif=exif)
    (root / "eval" / "info.csv").write_text("ImageID,ans\n" + "".join(f"{name},0\n" for name in names))
    return root


@pytest.fixture(scope="session")
def trained_run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A run of one epoch, trained once for each choice of flags: `trained_run("--classification=multi")`."""
    runs: dict[tuple[str, ...], Path] = {}

    def train(*words: str) -> Path:
        if words not in runs:
            folder = tmp_path_factory.mktemp("runs")
            fixed = [f"--data_dir={faces / 'train' / 'images'}", f"--model_dir={folder}", "--epochs=1"]
            fixed += ["--batch_size=14", "--num_workers=0", "--reporters=csv", "--precision=fp32"]
            assert main(["train", *fixed, *words]) == 0
            runs[words] = folder / "exp"
        return runs[words]

    return train


@pytest.fixture(scope="session")
def run(trained_run: Trainer) -> Path:
    """A run of three heads, whose features at 48x32 do not fall into equal cells."""
    return trained_run("--classification=multihead", "--resize=48,32")


@pytest.fixture(scope="session")
def exported(run: Path) -> Path:
    """The file of that run, exported once since it takes seconds."""
    export_onnx(run)
    return run / "best.onnx"


def settle(run: Path, photos: list[Path]) -> None:
    """Set the batch norms of a run's best checkpoint to the photos, and predict anew.

    They follow the images so slowly that after an epoch of two steps an EfficientNet answers every photo alike.
    """
    trained = load_run(run)
    for module in trained.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    trained.network.train()
    with torch.no_grad():
        trained.module.train()(torch.stack([trained.prepare(open_image(photo)) for photo in photos]) / 255)
    with safe_open(trained.checkpoint, framework="pt") as file:
        metadata, names = file.metadata(), list(file.keys())
    state = {f"model.{name}": tensor.contiguous() for name, tensor in trained.network.state_dict().items()}
    assert sorted(state) == sorted(names)
    save_file(state, trained.checkpoint, metadata)
    assert main(["predict", str(run)]) == 0
