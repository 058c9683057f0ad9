"""Depthwise convolutions that go backward by detours where bfloat16 is slow, in a network that computes in bfloat16.

On x86, oneDNN has no fast backward in bfloat16 for the images of a depthwise convolution that strides, nor for weights
wider than 3, and falls onto a plain loop: 3 to 200 times as long as float32 takes for the images, and 20 to 90 times as
long for weights of 5x5 as for those of 5x3 (two cores with AVX-512 bf16, torch 2.14). So the gradient of such images
comes in float32, and that of a wide weight three columns at a time. The way forward is fast, and stays as it is. It
costs a copy of the images with a margin, while a layer with such a weight goes backward.
"""

import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from maskkit.arithmetic.replacing import Replacing

__all__ = ["DepthwiseByDetours", "detours_are_faster"]

Numbers = int | Sequence[int]

_WIDEST = 3  # columns of a weight whose gradient is fast
_CACHE_BYTES = 16 * 2**20


class DepthwiseByDetours(Replacing):
    """While it is entered, depthwise convolutions in bfloat16 that are slow there will go backward by detours.

    A part of a network that is kept out of autocast, or compiled, goes as before. Gradients of gradients are refused.
    """

    def __init__(self) -> None:
        super().__init__({torch.conv2d: _conv2d})


class _Geometry(NamedTuple):
    """The arguments of a convolution after its tensors, in torch's order."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


def _conv2d(  # noqa: PLR0917  torch's order
    input: Tensor,  # noqa: A002  torch's own name
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> Tensor:
    is_depthwise = input.dim() == 4 and 1 < groups == input.shape[1]
    if isinstance(padding, str) or not (is_depthwise and _computes_in_bfloat16(input)):
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
    geometry = _Geometry(_pair(stride), _pair(padding), _pair(dilation), groups)
    if max(geometry.stride) == 1 and weight.shape[3] <= _WIDEST:
        return torch.conv2d(input, weight, bias, *geometry)
    return _ByDetour.apply(input, weight, bias, geometry)  # type: ignore[no-any-return]


class _ByDetour(torch.autograd.Function):
    """A convolution in bfloat16 whose slow gradients come by detours; autograd gives them the formats of the inputs."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, geometry: _Geometry) -> Tensor:
        images, weight = images.to(torch.bfloat16), weight.to(torch.bfloat16)
        ctx.save_for_backward(images, weight)
        ctx.geometry = geometry
        return torch.conv2d(images, weight, None if bias is None else bias.to(torch.bfloat16), *geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        of_images, of_weight, of_bias, _ = ctx.needs_input_grad
        return (
            _of_images(gradient, images, weight, ctx.geometry) if of_images else None,
            _of_weight(gradient, images, weight, ctx.geometry) if of_weight else None,
            gradient.sum(dim=(0, 2, 3)) if of_bias else None,
            None,
        )


def _of_images(gradient: Tensor, images: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor:
    """Return the gradient of images, a few at a time where it comes in float32, so that a cache holds it meanwhile."""
    found = torch.empty_like(images)  # of the images, only their shape matters to their gradient
    if max(geometry.stride) == 1:
        return _backward(gradient, found, weight, geometry, of_images=True)
    weight = weight.float()
    num_images = max(1, _CACHE_BYTES // (4 * images[0].numel()))
    for part, given in zip(*(torch.split(tensor, num_images) for tensor in (found, gradient)), strict=True):
        unread = torch.empty_like(part, dtype=torch.float32)
        part.copy_(_backward(given.float(), unread, weight, geometry, of_images=True))
    return found


def _of_weight(gradient: Tensor, images: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor:
    """Return the gradient of a weight, three of its columns at a time where it is wide."""
    width = weight.shape[3]
    if width <= _WIDEST:
        return _backward(gradient, images, weight, geometry, of_images=False)
    (vertical, horizontal), (_, stride), (_, dilation) = geometry.padding, geometry.stride, geometry.dilation
    narrow = geometry._replace(padding=(0, 0))  # a margin of its own, and small images would be slow
    margins = (horizontal, horizontal, vertical, vertical)
    padded = functional.pad(images, margins) if any(margins) else images
    met = (gradient.shape[3] - 1) * stride + (_WIDEST - 1) * dilation + 1  # columns of the images, by a narrow weight
    found = torch.empty_like(weight)
    for start in (*range(0, width - _WIDEST, _WIDEST), width - _WIDEST):
        columns = slice(start, start + _WIDEST)
        part = padded[..., start * dilation : start * dilation + met]
        found[..., columns] = _backward(gradient, part, weight[..., columns], narrow, of_images=False)
    return found


def _backward(gradient: Tensor, images: Tensor, weight: Tensor, geometry: _Geometry, *, of_images: bool) -> Tensor:
    """Return the gradient of the images, or that of the weight."""
    first, second, _ = torch.ops.aten.convolution_backward(
        gradient,
        images,
        weight,
        bias_sizes=None,
        stride=geometry.stride,
        padding=geometry.padding,
        dilation=geometry.dilation,
        transposed=False,
        output_padding=(0, 0),
        groups=geometry.groups,
        output_mask=(of_images, not of_images, False),
    )
    found: Tensor = first if of_images else second
    return found


@cache
def detours_are_faster() -> bool:
    """Return whether this CPU takes less than half as long by detours: a probe of some 30 milliseconds.

    Where bfloat16 falls onto the plain loop, they take a tenth; where it has a way of its own, more than that.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the seconds of a thread are its own, however busy the machine is
    try:
        return _seconds(_of_images, _of_weight) < 0.5 * _seconds(
            partial(_backward, of_images=True), partial(_backward, of_images=False)
        )
    finally:
        torch.set_num_threads(num_threads)


def _seconds(*ways: Callable[[Tensor, Tensor, Tensor, _Geometry], Tensor]) -> float:
    """Return the shortest of a few times that a small layer takes to go backward on this thread."""
    images = torch.ones(8, 32, 16, 16, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    weight = torch.ones(32, 1, 5, 5, dtype=torch.bfloat16)
    geometry = _Geometry((2, 2), (2, 2), (1, 1), 32)
    gradient = torch.ones_like(torch.conv2d(images, weight, None, *geometry))
    times = []
    for _ in range(5):
        started = time.thread_time()
        for way in ways:
            way(gradient, images, weight, geometry)
        times.append(time.thread_time() - started)
    return min(times)


def _computes_in_bfloat16(images: Tensor) -> bool:
    if torch.is_autocast_enabled("cpu"):
        return images.dtype != torch.float64 and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return images.dtype == torch.bfloat16


def _pair(numbers: Numbers) -> tuple[int, ...]:
    return tuple(numbers) if isinstance(numbers, Sequence) else (int(numbers), int(numbers))
