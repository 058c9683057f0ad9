"""A run that learned from noise, in which three bright squares alone tell gender, mask and age."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskkit.cli.shell import main

SQUARES = {
    "gender": (slice(3, 13), slice(3, 13)),
    "mask": (slice(3, 13), slice(37, 47)),
    "age": (slice(37, 47), slice(20, 30)),
}
"""Rows and columns of the squares, of 50 each: female, normal and old have theirs, the others have not."""


def photo(generator: np.random.Generator, cues: dict[str, bool]) -> Image.Image:
    pixels = generator.integers(0, 120, (50, 50, 3), dtype=np.uint8)
    for name, is_there in cues.items():
        if is_there:
            pixels[SQUARES[name]] = 255
    # What is prepared is cut to 350 pixels, so that nothing is cut away.
    return Image.fromarray(pixels).resize((350, 350), Image.Resampling.NEAREST)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, generator = tmp_path_factory.mktemp("noise"), np.random.default_rng(0)
    for number in range(24):
        is_female, is_old = bool(number % 2), bool(number // 2 % 2)
        person = folder / f"{number:06}_{'female' if is_female else 'male'}_Asian_{60 if is_old else 25}"
        person.mkdir()
        for name in ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal"):
            cues = {"gender": is_female, "age": is_old, "mask": name == "normal"}
            photo(generator, cues).save(person / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def run(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    words = ["--classification=multihead", "--resize=64", "--epochs=8", "--batch_size=16", "--lr=3e-3"]
    words += ["--num_workers=0", "--reporters=csv", f"--model_dir={folder}", f"--data_dir={data_dir}"]
    assert main(["train", *words]) == 0
    return folder / "exp"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos with every cue, of a folder of their own."""
    folder, generator = tmp_path / "photos", np.random.default_rng(1)
    folder.mkdir()
    for name in ("a.png", "b.png", "b.jpg"):
        photo(generator, dict.fromkeys(SQUARES, True)).save(folder / name)
    return folder
