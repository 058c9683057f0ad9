"""The running mean of the weights follows its formula, for batch statistics too, and costs nobody a device."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from maskkit.engine.averages import Averages


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2)).to(torch.float64)


def stepped(module: nn.Module, seed: int) -> None:
    """Move everything, as a step does: the weights, and the statistics by a look at some images."""
    draws = torch.Generator().manual_seed(seed)
    module.train()(torch.rand(4, 3, 6, 6, generator=draws, dtype=torch.float64))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draws, dtype=torch.float64))


@given(decay=st.floats(0.01, 0.9999), num_steps=st.integers(1, 30))
@settings(deadline=None, max_examples=30)
def test_the_mean_is_that_of_the_formula(decay: float, num_steps: int) -> None:
    """Of the first step it is the weights; then each step n leaves min(decay, (1 + n) / (10 + n)) of it."""
    trained = network()
    stepped(trained, 0)
    averages = Averages(trained, decay)
    expected: dict[str, np.ndarray] = {}
    for step in range(num_steps):
        stepped(trained, step + 1)
        averages.update(trained)
        share = min(decay, (1 + step) / (10 + step)) if step else 0.0
        for name, tensor in trained.state_dict().items():
            now = tensor.numpy().copy()
            expected[name] = now if name not in expected else share * expected[name] + (1 - share) * now
    found = averages.network.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        if tensor.is_floating_point():
            assert tensor.numpy() == pytest.approx(expected[name], rel=1e-6, abs=1e-9), name
        else:
            assert torch.equal(tensor, trained.state_dict()[name]), "a count has no mean"


def test_what_is_averaged_is_left_alone_and_the_mean_goes_on_from_its_state() -> None:
    trained = network()
    stepped(trained, 0)
    before = copy.deepcopy(trained.state_dict())
    averages, again = Averages(trained, 0.9), Averages(trained, 0.9)
    for step in range(3):
        averages.update(trained)
        assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())
        stepped(trained, step)
        before = copy.deepcopy(trained.state_dict())
    again.load_state_dict(averages.state_dict())
    for one in (averages, again):
        one.update(trained)
    pairs = zip(averages.network.parameters(), again.network.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
