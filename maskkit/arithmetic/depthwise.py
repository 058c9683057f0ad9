"""Depthwise convolutions that go backward in float32 where bfloat16 is slow, in a network that computes in bfloat16.

On x86, oneDNN has no fast backward in bfloat16 for the images of a depthwise convolution that strides, nor for weights
above 3x3, and falls onto a plain loop: 3 to 200 times as long as float32 takes for the images, 2 to 6 times for the
weights (two cores with AVX-512 bf16, torch 2.14). The way forward is fast, and stays as it is. It costs copies in
float32 of the gradient and, for large weights, of the images, while one layer goes backward.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

__all__ = ["DepthwiseInFloat32", "is_slow_in_bfloat16"]

Numbers = int | Sequence[int]


class DepthwiseInFloat32(TorchFunctionMode):
    """While it is entered, depthwise convolutions in bfloat16 that are slow there will go backward in float32.

    A part of a network that is kept out of autocast, or compiled, goes as before. Gradients of gradients are refused.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return (_conv2d if func is torch.conv2d else func)(*args, **(kwargs or {}))


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
    if max(geometry.stride) == 1 and not _is_large(weight):
        return torch.conv2d(input, weight, bias, *geometry)
    return _BackwardInFloat32.apply(input, weight, bias, geometry)  # type: ignore[no-any-return]


class _BackwardInFloat32(torch.autograd.Function):
    """A convolution in bfloat16 whose slow gradients come in float32; autograd gives them the formats of the inputs."""

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
        first = second = third = None
        if of_images:
            dtype = torch.float32 if max(ctx.geometry.stride) > 1 else torch.bfloat16
            unread = torch.empty_like(images, dtype=dtype)  # of the images, only their shape matters to their gradient
            wanted = (True, False, False)
            first, _, _ = _backward(gradient.to(dtype), unread, weight.to(dtype), ctx.geometry, wanted)
        if of_weight or of_bias:
            dtype = torch.float32 if _is_large(weight) else torch.bfloat16
            wanted = (False, of_weight, of_bias)
            _, second, third = _backward(gradient.to(dtype), images.to(dtype), weight.to(dtype), ctx.geometry, wanted)
        return first, second, third, None


def _backward(
    gradient: Tensor, images: Tensor, weight: Tensor, geometry: _Geometry, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the images, the weight and the bias that are wanted."""
    found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
        gradient,
        images,
        weight,
        bias_sizes=weight.shape[:1],
        stride=geometry.stride,
        padding=geometry.padding,
        dilation=geometry.dilation,
        transposed=False,
        output_padding=(0, 0),
        groups=geometry.groups,
        output_mask=wanted,
    )
    return found


@cache
def is_slow_in_bfloat16() -> bool:
    """Return whether this CPU takes more than three times as long in bfloat16: a probe of some 30 milliseconds.

    Where the format falls onto the plain loop it takes 10 times as long; where it has a way of its own, less than once.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the seconds of a thread are its own, however busy the machine is
    try:
        return _seconds(torch.bfloat16) > 3 * _seconds(torch.float32)
    finally:
        torch.set_num_threads(num_threads)


def _seconds(dtype: torch.dtype) -> float:
    """Return the shortest of a few times that a small layer takes to go backward on this thread."""
    images = torch.ones(8, 32, 16, 16, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.ones(32, 1, 5, 5, dtype=dtype)
    geometry = _Geometry((2, 2), (2, 2), (1, 1), 32)
    gradient = torch.ones_like(torch.conv2d(images, weight, None, *geometry))
    times = []
    for _ in range(5):
        started = time.thread_time()
        _backward(gradient, images, weight, geometry, (True, True, False))
        times.append(time.thread_time() - started)
    return min(times)


def _computes_in_bfloat16(images: Tensor) -> bool:
    if torch.is_autocast_enabled("cpu"):
        return images.dtype != torch.float64 and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return images.dtype == torch.bfloat16


def _is_large(weight: Tensor) -> bool:
    return max(weight.shape[2:]) > 3


def _pair(numbers: Numbers) -> tuple[int, ...]:
    return tuple(numbers) if isinstance(numbers, Sequence) else (int(numbers), int(numbers))
