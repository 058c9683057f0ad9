"""Means over whole images: the numbers of torch, forward and backward, and where they are taken so."""

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from maskkit.arithmetic.pooling import QuickMeans

WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "adaptive_avg_pool2d": lambda images: functional.adaptive_avg_pool2d(images, 1),
    "AdaptiveAvgPool2d": nn.AdaptiveAvgPool2d((1, 1)),
    "Tensor.mean": lambda images: images.mean((2, 3), keepdim=True),
    "torch.mean": lambda images: torch.mean(images, dim=[-1, -2]),
}


def is_quick(mean: Tensor) -> bool:
    """Return whether a mean, or what it is a view of, has a gradient of ours."""
    function = mean.grad_fn
    assert function is not None
    before = [name for name, _ in function.next_functions if name is not None]
    return any(one.name() == "_MeanBackward" for one in (function, *before))


@settings(deadline=None)
@given(
    way=st.sampled_from(sorted(WAYS)),
    shape=st.tuples(st.integers(1, 4), st.integers(2, 40), st.integers(2, 20), st.integers(2, 20)),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 99),
)
def test_a_mean_and_its_gradient_are_those_of_float64(
    way: str, shape: Sequence[int], dtype: torch.dtype, seed: int
) -> None:
    """Beside another gradient of the same images, as in a squeeze-and-excitation block."""
    draws = torch.Generator().manual_seed(seed)
    images = torch.randn(*shape, generator=draws).to(dtype).contiguous(memory_format=torch.channels_last)
    images.requires_grad_()
    exact = images.detach().double().requires_grad_()
    with QuickMeans():
        mean = WAYS[way](images)
    assert is_quick(mean)
    wanted = WAYS[way](exact)
    close = 0.004 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(mean.double(), wanted, rtol=close, atol=close)

    weights = torch.randn(*shape, generator=draws).to(dtype).contiguous(memory_format=torch.channels_last)
    gate, exact_gate = mean.reshape(*shape[:2], 1, 1), wanted.reshape(*shape[:2], 1, 1)
    (found,) = torch.autograd.grad(images * gate, images, weights)
    (gradient,) = torch.autograd.grad(exact * exact_gate, exact, weights.double())
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), gradient, rtol=5 * close, atol=5 * close)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mean_has_the_bits_of_torch(way: str, dtype: torch.dtype) -> None:
    images = torch.randn(3, 33, 14, 11).to(dtype).contiguous(memory_format=torch.channels_last)
    with QuickMeans():
        found = WAYS[way](images)
    torch.testing.assert_close(found, WAYS[way](images), rtol=0, atol=0)


def test_other_means_are_left_alone() -> None:
    images = torch.randn(2, 4, 6, 8, requires_grad=True)
    ordered = images.contiguous(memory_format=torch.channels_last)
    with QuickMeans():
        for mean in (
            images.mean((2, 3)),
            ordered.mean((1, 2)),
            ordered.mean(3),
            ordered.mean(),
            ordered.mean(dim=(2, 3), dtype=torch.float64),
            ordered[0].mean((1, 2)),
            functional.adaptive_avg_pool2d(ordered, (1, 2)),
            functional.adaptive_avg_pool2d(ordered, 2),
        ):
            assert not is_quick(mean)
    assert functional.adaptive_avg_pool2d(ordered, (1, 2)).shape == (2, 4, 1, 2)
