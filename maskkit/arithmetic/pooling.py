"""Means over whole images that are quick forward and backward, as in a squeeze-and-excitation block.

Forward, torch's mean of bfloat16 in channels_last takes 2 to 8 times as long as its average pooling, which gives the
same bits. Backward, it writes one number a channel out for every pixel, in another order of memory than channels_last,
and adding that to what else reaches the images takes 5 to 16 times as long as in one order. Here each number stands for
all pixels, by strides of 0. Both together were an eighth of a step of EfficientNet-b0 at 224x224 (two cores with
AVX-512 bf16, torch 2.14). It costs nothing; other devices and other orders of memory go as before.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from maskkit.arithmetic.replacing import Replacing

__all__ = ["QuickMeans"]


class QuickMeans(Replacing):
    """While it is entered, the mean over all pixels of images in channels_last on a CPU is taken so."""

    def __init__(self) -> None:
        super().__init__({functional.adaptive_avg_pool2d: _pool, torch.mean: _mean, Tensor.mean: _mean})


def _pool(input: Tensor, output_size: Any) -> Any:  # noqa: A002  torch's own name
    sizes = (output_size,) if isinstance(output_size, int) else output_size
    if all(size == 1 for size in sizes) and _is_fitting(input):
        return _Mean.apply(input)
    return functional.adaptive_avg_pool2d(input, output_size)


def _mean(input: Tensor, *args: Any, **named: Any) -> Any:  # noqa: A002  torch's own name
    dim, keepdim, others = _asked(*args, **named)
    takes_all_pixels = isinstance(dim, Sequence) and sorted(one % 4 for one in dim) == [2, 3]
    if takes_all_pixels and not others and _is_fitting(input):
        mean = _Mean.apply(input)
        return mean if keepdim else mean.flatten(1)
    return torch.mean(input, *args, **named)


def _asked(dim: Any = None, keepdim: Any = None, **others: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Return the arguments of a mean by their names."""
    return dim, keepdim, others


class _Mean(torch.autograd.Function):
    """The mean of all pixels, [B, C, H, W] -> [B, C, 1, 1]."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        ctx.shape = images.shape
        is_quicker = images.dtype == torch.bfloat16
        mean: Tensor = functional.avg_pool2d(images, images.shape[2:]) if is_quicker else images.mean((2, 3), True)  # noqa: FBT003
        return mean

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        spread: Tensor = (gradient / ctx.shape[2:].numel()).expand(ctx.shape)
        return spread


def _is_fitting(images: Tensor) -> bool:
    return (
        images.dim() == 4
        and images.device.type == "cpu"
        and images.is_contiguous(memory_format=torch.channels_last)
        and not images.is_contiguous()
    )
