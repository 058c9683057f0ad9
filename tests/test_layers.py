"""Layers learn at their own share of the rate, and the last one can be told from the others."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from maskkit.builtin.models import efficientnet_b0
from maskkit.builtin.optimizers import adamw, sgd
from maskkit.engine.layers import body_of, hold_statistics, learn_by_layer
from maskkit.errors import UsageError

LR = 0.4


def chain(num_layers: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(2, 2) for _ in range(num_layers)))


def rates_of(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
    """Return the learning rate of each parameter, in the order of the network."""
    rates = {id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in optimizer.param_groups) == len([*network.parameters()])
    return [rates[id(parameter)] for parameter in network.parameters()]


@given(num_layers=st.integers(1, 40), first=st.floats(0.001, 1))
@settings(deadline=None)
def test_rates_grow_by_one_ratio_from_the_first_layer_to_the_last(num_layers: int, first: float) -> None:
    network = chain(num_layers)
    optimizer = sgd(network.parameters(), lr=LR, weight_decay=0.1)
    learn_by_layer(optimizer, network, first)
    rates = rates_of(network, optimizer)
    assert rates[-1] == pytest.approx(LR)
    assert rates[::2] == rates[1::2], "a layer's weight and bias learn alike"
    if num_layers > 1:
        assert rates[0] == pytest.approx(first * LR)
    groups = [group["lr"] for group in optimizer.param_groups]
    assert len(groups) == min(8, num_layers)
    ratios = [later / earlier for earlier, later in pairwise(groups)]
    assert ratios == pytest.approx(ratios[:1] * len(ratios))
    assert all(group["weight_decay"] == 0.1 for group in optimizer.param_groups)


def test_groups_that_an_optimizer_made_by_itself_keep_their_settings() -> None:
    network = chain(4)
    groups = [{"params": [*network[:2].parameters()], "lr": 1.0}, {"params": [*network[2:].parameters()], "lr": 0.1}]
    optimizer = torch.optim.SGD(groups, momentum=0.5)
    learn_by_layer(optimizer, network, 0.125)
    assert rates_of(network, optimizer)[::2] == pytest.approx([0.125, 0.25, 0.05, 0.1])
    assert {group["momentum"] for group in optimizer.param_groups} == {0.5}


def test_a_step_is_the_one_that_each_layer_would_take_by_itself_at_its_rate() -> None:
    network = chain(3)
    optimizer = adamw(network.parameters(), lr=LR, weight_decay=0.01)
    learn_by_layer(optimizer, network, 0.25)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    network(torch.ones(4, 2)).square().sum().backward()
    optimizer.step()
    for parameter, start, rate in zip(network.parameters(), before, (0.1, 0.1, 0.2, 0.2, 0.4, 0.4), strict=True):
        alone = nn.Parameter(start.clone())
        alone.grad = parameter.grad
        adamw([alone], lr=rate, weight_decay=0.01).step()
        torch.testing.assert_close(parameter, alone)


def test_weights_that_several_layers_share_learn_with_the_first() -> None:
    network = chain(3)
    network[2].weight = network[0].weight
    optimizer = sgd(network.parameters(), lr=LR, weight_decay=0.0)
    learn_by_layer(optimizer, network, 0.25)
    rates = {id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]}
    assert rates[id(network[0].weight)] == pytest.approx(0.1)


def test_the_body_is_all_but_the_last_layer_with_a_row_for_each_output() -> None:
    network = efficientnet_b0(18, pretrained=False)
    body = {id(parameter) for parameter in body_of(network, 18)}
    outside = [name for name, parameter in network.named_parameters() if id(parameter) not in body]
    assert outside == ["_fc.weight", "_fc.bias"]
    head_first = nn.ModuleDict({"head": nn.Linear(4, 18), "features": nn.Linear(3, 4)})
    assert len(body_of(head_first, 18)) == 2
    with pytest.raises(UsageError, match="the network has no last layer of 7 outputs"):
        body_of(network, 7)


def test_weights_that_a_plugin_froze_stay_out_of_the_body() -> None:
    network = chain(3)
    network[0].requires_grad_(requires_grad=False)
    assert {id(one) for one in body_of(network, 2)} == {id(one) for one in network[1].parameters()}


def test_held_statistics_do_not_move() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    hold_statistics(network)
    network(torch.rand(2, 3, 8, 8))
    assert torch.equal(network.state_dict()["1.running_mean"], torch.zeros(4))
    assert network[2].training
