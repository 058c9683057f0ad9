"""A network with the preprocessing, device and number format that it is used with."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from maskkit.arithmetic.depthwise import DepthwiseByDetours
from maskkit.arithmetic.folding import fold
from maskkit.arithmetic.pooling import QuickMeans
from maskkit.data.loader import Batch
from maskkit.engine.device import Precision

__all__ = ["MEAN", "STD", "Classifier"]

MEAN = (0.548, 0.504, 0.479)
STD = (0.237, 0.247, 0.246)
"""Mean and standard deviation of the competition's pixels in 0..1, for a network that brings none of its own."""


@dataclass(frozen=True)
class Classifier:
    """From prepared images to logits: both training and prediction go through here, so they cannot differ.

    parallel: the network as several processes train it together, which lets their gradients be one.
    flips: whether `logits_of` gives the mean of an image and its mirror image.
    """

    network: nn.Module
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    device: torch.device
    precision: Precision
    parallel: DistributedDataParallel | None = None
    flips: bool = False

    def to_device(self) -> None:
        """Move the network to its device, in the memory order that convolutions like."""
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def pixels(self, images: Tensor) -> Tensor:
        """Return uint8 images [B, 3, H, W] as float32 in 0..1 on the device."""
        moved = images.to(self.device, non_blocking=True)
        return moved.float().contiguous(memory_format=torch.channels_last).div_(255)

    def normalised(self, pixels: Tensor) -> Tensor:
        """Return pixels float32 [B, 3, H, W] in 0..1 as the network wants them.

        Rows are taken as they lie in channels_last, since torch would go through them three numbers at a time.
        """
        rows = pixels.permute(0, 2, 3, 1).flatten(2)
        mean, std = (statistic.repeat(pixels.shape[3]) for statistic in self._statistics)
        return torch.unflatten((rows - mean) / std, 2, (-1, 3)).permute(0, 3, 1, 2)

    def logits(self, pixels: Tensor) -> Tensor:
        """Return float32 logits [B, num_outputs] of pixels [B, 3, H, W] in 0..1."""
        if not torch.is_grad_enabled():
            return self._logits(pixels, self.network)
        mode = DepthwiseByDetours() if self.precision.depthwise_by_detours else nullcontext()
        with mode:
            return self._logits(pixels, self.parallel or self.network)

    def _logits(self, pixels: Tensor, network: nn.Module) -> Tensor:
        reduced = self.precision.dtype != torch.float32
        with (
            torch.autocast(self.device.type, dtype=self.precision.dtype if reduced else None, enabled=reduced),
            QuickMeans(),
        ):
            logits: Tensor = network(self.normalised(pixels))
        return logits.float()

    @cached_property
    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and std float32 [3] on the device; made once, since a copy would wait for it in every step."""
        with torch.inference_mode(mode=False):  # whoever asks first, gradients may pass by them later
            mean, std = (torch.tensor(values, device=self.device) for values in (self.mean, self.std))
        return mean, std

    @torch.inference_mode()
    def logits_of(self, batches: Iterator[Batch]) -> Tensor:
        """Return the logits of every batch in turn, float32 [N, num_outputs], in evaluation mode.

        The mean of two rows of logits has the geometric mean of their probabilities, scaled to a sum of 1.
        """
        self.network.eval()
        pixels = (self.pixels(batch.images) for batch in batches)
        first = next(pixels)
        mode = fold(self.network, self.normalised(first[:2]), self.precision.dtype) or nullcontext()
        return torch.cat([self._measured_logits(one, mode) for one in chain([first], pixels)])

    def _measured_logits(self, pixels: Tensor, mode: AbstractContextManager[object]) -> Tensor:
        with mode:
            logits = self._logits(pixels, self.network)
            return (logits + self._logits(pixels.flip(3), self.network)) / 2 if self.flips else logits
