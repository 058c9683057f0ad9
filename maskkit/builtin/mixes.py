"""Mixes in the box: each takes (images [B, 3, H, W], targets [B, K], draws) and gives the same, mixed.

The share of an image's own pixels is the share of its own targets; of an odd width, a half is taken as a half.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from maskkit import Draws
from maskkit.labels import AGE

__all__ = ["cutmix", "half_face", "mixup"]

_Mix = Callable[[Tensor, Tensor, Draws], tuple[Tensor, Tensor]]


def mixup(*, num_classes: int, alpha: float = 0.2) -> _Mix:
    """Blend each image with its neighbour, by a share that is drawn from Beta(alpha, alpha) (arXiv 1710.09412)."""
    _above_zero("alpha", alpha)
    return _of_torchvision(v2.MixUp(alpha=alpha, num_classes=num_classes))


def cutmix(*, num_classes: int, alpha: float = 1.0) -> _Mix:
    """Paste a rectangle of its neighbour into each image, as large as Beta(alpha, alpha) says (arXiv 1905.04899)."""
    _above_zero("alpha", alpha)
    return _of_torchvision(v2.CutMix(alpha=alpha, num_classes=num_classes))


def half_face(*, num_classes: int) -> _Mix:
    """Give each image the right half of an old person's, drawn from the batch; without one, nothing is mixed.

    Old people are few and decide the macro F1; this way they are in half of every picture.
    """
    old_classes = slice(AGE.classes.index("old"), num_classes, len(AGE.classes))  # age runs fastest

    def mix(images: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        old = targets[:, old_classes].sum(dim=1) > 0.5
        # Everything stays on the device: the old ones stand first, and each image draws one of them.
        first_old = old.to(torch.int8).argsort(descending=True, stable=True)
        num_old = old.sum()
        partner = first_old[(draws.uniform() * num_old).long()]
        partner = torch.where(num_old > 0, partner, torch.arange(len(images), device=partner.device))
        middle = images.shape[3] // 2
        mixed = torch.cat((images[..., :middle], images[partner][..., middle:]), dim=3)
        return mixed, (targets + targets[partner]) / 2

    return mix


def _of_torchvision(transform: v2.Transform) -> _Mix:
    """Return a mix by a transform of torchvision, which draws from torch's global generator on the CPU."""

    def mix(images: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(draws.seeds()[0])
            mixed: tuple[Tensor, Tensor] = transform(images, targets)
        return mixed

    return mix


def _above_zero(name: str, value: float) -> None:
    if value <= 0:
        raise ValueError(f"{name} must be above 0; received {value}")
