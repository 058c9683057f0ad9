"""A tiny folder in the competition's layout."""

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["write_faces"]

_SHOTS = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")


def write_faces(root: Path) -> list[Path]:
    """Write some noise as a folder in the competition's layout, and return the folders that a data set may ask for."""
    train, evaluation = root / "train" / "images", root / "eval"
    noise = np.random.default_rng(0)

    def write(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (40, 32, 3), dtype=np.uint8)).save(path)

    for number in range(12):
        gender, age = ("male", "female")[number % 2], (22, 41, 63)[number // 2 % 3]
        for shot in _SHOTS:
            write(train / f"{number:06}_{gender}_Asian_{age}" / f"{shot}.jpg")
    names = [f"{number:02}.jpg" for number in range(4)]
    for name in names:
        write(evaluation / "images" / name)
    rows = "".join(f"{name},0\n" for name in names)
    (evaluation / "info.csv").write_text(f"ImageID,ans\n{rows}", encoding="utf-8")
    return [train, root, evaluation]
