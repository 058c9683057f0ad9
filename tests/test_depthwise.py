"""Depthwise convolutions in bfloat16 that go backward by detours: the gradients, and where it happens."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from maskkit.arithmetic.depthwise import DepthwiseByDetours, detours_are_faster
from maskkit.builtin.models import efficientnet_b0
from maskkit.engine.classifier import Classifier
from maskkit.engine.device import Precision, choose_precision, for_training

CPU = torch.device("cpu")
MEAN = STD = (0.5, 0.5, 0.5)


def autocast(*, enabled: bool = True) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled)


def functions_behind(result: Tensor) -> list[str]:
    """Return the names of the functions that autograd will call."""
    names, seen, waiting = [], set[Any](), [result.grad_fn]
    while waiting:
        function = waiting.pop()
        if function is not None and function not in seen:
            seen.add(function)
            names.append(function.name())
            waiting += [before for before, _ in function.next_functions]
    return names


def number_by_detours(result: Tensor) -> int:
    return sum("ByDetour" in name for name in functions_behind(result))


@settings(deadline=None)
@given(
    groups=st.integers(2, 5),
    multiplier=st.integers(1, 2),
    size=st.sampled_from([(15, 14), (7, 7), (4, 3)]),
    kernel=st.sampled_from([(1, 1), (3, 3), (4, 4), (5, 5), (7, 7), (5, 3), (3, 6)]),
    stride=st.sampled_from([1, 2, (2, 1)]),
    padding=st.sampled_from([0, 3, (3, 2), "same", "valid"]),
    dilation=st.integers(1, 2),
    has_bias=st.booleans(),
    in_channels_last=st.booleans(),
    seed=st.integers(0, 99),
)
def test_gradients_are_those_of_a_convolution_in_float64(  # noqa: PLR0917  drawn by name
    groups: int,
    multiplier: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: Any,
    padding: Any,
    dilation: int,
    has_bias: bool,  # noqa: FBT001
    in_channels_last: bool,  # noqa: FBT001
    seed: int,
) -> None:
    """What autograd finds in float64 for the same rounded numbers, but for the rounding of the gradients."""
    if padding == "same":
        stride, kernel = 1, (kernel[0] | 1, kernel[1] | 1)
    margins = {"same": (9, 9), "valid": (0, 0), 0: (0, 0), 3: (3, 3)}.get(padding, padding)
    for pixels, margin, side in zip(size, margins, kernel, strict=True):
        assume(pixels + 2 * margin > (side - 1) * dilation)
    draws = torch.Generator().manual_seed(seed)
    images, weight, bias = (
        torch.randn(shape, generator=draws).bfloat16().float()
        for shape in ((2, groups, *size), (groups * multiplier, 1, *kernel), (groups * multiplier,))
    )
    if in_channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    inputs = [tensor.requires_grad_() for tensor in ((images, weight, bias) if has_bias else (images, weight))]
    convolve: Callable[..., Tensor] = partial(
        functional.conv2d, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    with autocast(), DepthwiseByDetours():
        result = convolve(*inputs)
    plain = convolve(*(tensor.bfloat16() for tensor in inputs))
    torch.testing.assert_close(result, plain, rtol=0.02, atol=0.02)  # another order of the same sums

    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    gradient = torch.randn(result.shape, generator=draws).bfloat16()
    found = torch.autograd.grad(result, inputs, gradient)
    wanted = torch.autograd.grad(convolve(*exact), exact, gradient.double())
    assert [tensor.dtype for tensor in found] == [torch.float32] * len(inputs)
    is_applied = not isinstance(padding, str) and (kernel[1] > 3 or stride != 1)
    assert number_by_detours(result) == is_applied
    bounds = (0.01, 2**-8 if is_applied else 0.01, 0.01)[: len(inputs)]  # bfloat16 keeps eight bits of a number
    for ours, theirs, bound in zip(found, wanted, bounds, strict=True):
        assert (ours - theirs).abs().max() < bound * (float(theirs.abs().max()) + 0.1)


def test_other_convolutions_are_left_alone() -> None:
    images, whole, alone = torch.randn(2, 4, 8, 8), torch.randn(4, 4, 3, 3), torch.randn(4, 1, 3, 3)
    for weight in (whole, alone):
        weight.requires_grad_()
    with autocast(), DepthwiseByDetours():
        assert number_by_detours(functional.conv2d(images, whole, stride=2)) == 0
        assert number_by_detours(functional.conv2d(images, alone, groups=4)) == 0
        assert number_by_detours(functional.conv2d(images, torch.cat([alone, alone], dim=1), stride=2, groups=2)) == 0
        assert number_by_detours(functional.conv2d(images, alone, stride=2, groups=4)) == 1


def test_what_is_kept_out_of_autocast_stays_in_its_format() -> None:
    weight = torch.randn(4, 1, 5, 5, requires_grad=True)
    with autocast(), DepthwiseByDetours():
        for images in (torch.randn(2, 4, 8, 8), torch.randn(4, 8, 8)):
            with autocast(enabled=False):
                exact = functional.conv2d(images, weight, groups=4)
            assert (exact.dtype, number_by_detours(exact)) == (torch.float32, 0)
        assert functional.conv2d(images, weight, groups=4).shape == exact.shape
        assert number_by_detours(functional.conv2d(images, weight, groups=4)) == 0
        assert number_by_detours(functional.conv2d(images[None], weight, stride=np.int64(2), groups=4)) == 1  # type: ignore[call-overload]


def classifier_of(network: nn.Module, precision: Precision) -> Classifier:
    classifier = Classifier(network, MEAN, STD, CPU, precision)
    classifier.to_device()
    return classifier


@pytest.mark.parametrize("by_detours", [True, False])
def test_a_network_that_learns_goes_backward_so_when_it_was_decided(by_detours: bool) -> None:  # noqa: FBT001
    network = efficientnet_b0(18, pretrained=False)
    slow = [module for module in network.modules() if isinstance(module, nn.Conv2d) and is_slow(module)]
    precision = Precision("bf16", torch.bfloat16, "", depthwise_by_detours=by_detours)
    logits = classifier_of(network, precision).logits(torch.rand(2, 3, 64, 48))
    assert number_by_detours(logits) == (len(slow) if by_detours else 0)
    assert len(slow) == 11  # of the 16 blocks of the paper's table 1, those with 5x5 kernels or a stride
    with torch.inference_mode():
        classifier_of(network, precision).logits(torch.rand(2, 3, 64, 48))


def is_slow(module: nn.Conv2d) -> bool:
    return module.groups > 1 and (module.kernel_size[1] > 3 or module.stride[0] > 1)


def test_gradients_of_a_network_are_no_farther_from_float32_than_those_of_bfloat16_alone() -> None:
    distances = dict(distances_to_float32())
    assert distances[True] <= distances[False] * 1.1


def distances_to_float32() -> Iterator[tuple[bool, float]]:
    """Yield how far the gradient in bfloat16 is from that in float32, as a share of its length, with and without."""
    torch.manual_seed(0)
    network = efficientnet_b0(18, pretrained=False, dropout=0.0)
    network._global_params = network._global_params._replace(drop_connect_rate=0.0)  # type: ignore[union-attr, operator]  # noqa: SLF001
    pixels, answers = torch.rand(16, 3, 64, 48), torch.arange(16)
    exact = gradient_of(network, Precision("fp32", torch.float32, ""), pixels, answers)
    for by_detours in (True, False):
        rounded = gradient_of(network, Precision("bf16", torch.bfloat16, "", by_detours), pixels, answers)
        yield by_detours, float((rounded - exact).norm() / exact.norm())


def gradient_of(network: nn.Module, precision: Precision, pixels: Tensor, answers: Tensor) -> Tensor:
    network.train()
    network.zero_grad()
    functional.cross_entropy(classifier_of(network, precision).logits(pixels), answers).backward()  # type: ignore[no-untyped-call]
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None])


def test_the_probe_decides_alike_and_leaves_the_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    decided = [detours_are_faster.__wrapped__() for _ in range(3)]
    assert len(set(decided)) == 1
    assert torch.get_num_threads() == before


def test_only_bf16_on_a_cpu_is_probed() -> None:
    assert for_training(choose_precision("bf16", CPU), CPU).depthwise_by_detours == detours_are_faster()
    assert not for_training(choose_precision("fp32", CPU), CPU).depthwise_by_detours


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="this system does not tell what its CPU has")
@pytest.mark.skipif(not hasattr(torch.cpu, "get_capabilities"), reason="this torch does not tell what a CPU has")
def test_a_cpu_computes_in_bf16_where_it_has_it() -> None:
    told = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    flags = set(told[1].split()) if told else set[str]()
    has_it = not flags.isdisjoint({"avx512_bf16", "amx_bf16"})
    assert choose_precision("auto", CPU).name == ("bf16" if has_it else "fp32")
