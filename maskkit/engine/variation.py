"""What becomes of the images of a training batch: they are augmented, made smaller in the first epochs, and mixed."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from maskkit.data.augmentation import Augmentation, Draws
from maskkit.labels import NUM_CLASSES
from maskkit.plugin.contracts import Mix

__all__ = ["Growth", "Variation", "resized"]

_GRAIN = 8  # pixels


@dataclass(frozen=True)
class Growth:
    """Images that begin with the size `first` and have grown to `last`, height and width, after 2/3 of the epochs.

    Tan and Le, arXiv 2104.00298, section 4.2.
    """

    first: tuple[int, int]
    last: tuple[int, int]
    epochs: int

    def size(self, epoch: int) -> tuple[int, int]:
        """Return height and width in an epoch, in eights but for the last ones."""
        if 3 * epoch >= 2 * self.epochs:
            return self.last
        pairs = zip(self.first, self.last, strict=True)
        height, width = (
            first + (last - first) * 3 * epoch // (2 * self.epochs) // _GRAIN * _GRAIN for first, last in pairs
        )
        return height, width


@dataclass(frozen=True)
class Variation:
    """What becomes of the images of a training batch before the network sees them.

    mix_probability: the share of images that `mix` mixes.
    """

    augmentation: Augmentation
    mix: Mix | None = None
    mix_probability: float = 1.0
    growth: Growth | None = None

    def vary(self, pixels: Tensor, targets: Tensor, draws: Draws, epoch: int) -> tuple[Tensor, Tensor]:
        """Return float pixels [B, 3, H, W] in 0..1, varied, and the targets: int64 [B] or, when mixed, float [B, 18].

        What an image draws does not depend on those beside it.
        """
        if self.augmentation.augment is not None:
            pixels = self.augmentation.augment(pixels, draws)
        if self.growth is not None:
            pixels = resized(pixels, self.growth.size(epoch))
        if self.mix is None:
            return pixels, targets
        plain = functional.one_hot(targets, NUM_CLASSES).float()
        if self.mix_probability == 1:
            return self.mix(pixels, plain, draws)
        is_mixed = draws.uniform(1) < self.mix_probability
        mixed, soft = self.mix(pixels.clone(), plain.clone(), draws)  # it may work in place
        return torch.where(is_mixed[:, :, None, None], mixed, pixels), torch.where(is_mixed, soft, plain)


def resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return float pixels [B, 3, H, W] in another height and width, smoothed where they become fewer."""
    if tuple(pixels.shape[2:]) == size:
        return pixels
    return functional.interpolate(pixels, size, mode="bilinear", antialias=True)
