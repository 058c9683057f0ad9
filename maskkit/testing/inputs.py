"""Tiny inputs, the same each time, and the global generators of random numbers."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from maskkit.data.augmentation import Draws
from maskkit.labels import NUM_CLASSES

__all__ = ["draws", "generator_states", "one_hot", "pixels", "seeded"]


def pixels(count: int, size: tuple[int, int], *, seed: int = 0) -> Tensor:
    """Return images as the engine hands them on: float32 [count, 3, H, W] in 0..1, in its memory order."""
    images = torch.rand((count, 3, *size), generator=torch.Generator().manual_seed(seed))
    return images.contiguous(memory_format=torch.channels_last)


def one_hot(count: int, num_classes: int = NUM_CLASSES) -> Tensor:
    """Return soft targets float32 [count, num_classes] that are sure of one class each, all classes in turn."""
    rows: Tensor = torch.eye(num_classes)[(torch.arange(count) * 5 + 2) % num_classes]
    return rows


def draws(rows: list[int], *, epoch: int = 0) -> Draws:
    """Return the random numbers of some samples."""
    return Draws(7, epoch, torch.tensor(rows))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python, and put them back afterwards."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  plugins may draw from it
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])


def generator_states() -> dict[str, bytes]:
    """Return where the global generators stand, by the library whose they are."""
    return {
        "random": repr(random.getstate()).encode(),
        "numpy": repr(np.random.get_state(legacy=False)["state"]).encode(),  # noqa: NPY002
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
