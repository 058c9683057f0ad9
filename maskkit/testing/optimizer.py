"""The contract of optimizers: `maskkit.plugin.contracts.OptimizerFactory`."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from maskkit.testing.candidate import Candidate
from maskkit.testing.check import expect
from maskkit.testing.packable import expect_packable

__all__ = ["CHECKS"]

_LR = 0.01
_NUM_STEPS = 100


def _gives_an_optimizer(candidate: Candidate) -> None:
    parameters = _parameters()
    optimizer = candidate.build(iter(parameters), lr=_LR, weight_decay=5e-5)
    expect(
        isinstance(optimizer, Optimizer),
        f"it must give a torch.optim.Optimizer, which schedules can move, but gave {type(optimizer).__name__}",
    )
    lr = float(optimizer.param_groups[0]["lr"])
    expect(lr == _LR, f"its first group must have the lr that it was given, {_LR:g}, but has {lr:g}")
    held = {id(one) for group in optimizer.param_groups for one in group["params"]}
    expect(
        held == set(map(id, parameters)),
        "it must hold every parameter that it was given, but holds others; parameters come as an iterator, which can be"
        " gone through once: begin with list(parameters)",
    )


def _makes_a_loss_smaller(candidate: Candidate) -> None:
    parameters = _parameters()
    optimizer = _required(candidate, parameters)
    first = float(_loss(parameters))
    for _ in range(_NUM_STEPS):
        _step(optimizer, parameters)
    last = float(_loss(parameters))
    expect(
        last < first,
        f"{_NUM_STEPS} steps of lr {_LR:g} must make the loss of a small bowl smaller, but took it from {first:.4g} to"
        f" {last:.4g}",
    )


def _decays_weights(candidate: Candidate) -> None:
    ends = []
    for weight_decay in (0.0, 0.5):
        parameters = _parameters()
        optimizer = candidate.require(Optimizer, iter(parameters), lr=_LR, weight_decay=weight_decay)
        for _ in range(3):
            _step(optimizer, parameters)
        ends.append(parameters)
    expect(
        not all(torch.equal(one, other) for one, other in zip(*ends, strict=True)),
        "weight_decay must change what it does, but 0 and 0.5 led to the same weights; pass it on",
    )


def _goes_on_to_the_same_bits(candidate: Candidate) -> None:
    parameters = _parameters()
    optimizer = _required(candidate, parameters)
    for _ in range(3):
        _step(optimizer, parameters)
    copies = [nn.Parameter(one.detach().clone()) for one in parameters]
    again = _required(candidate, copies)
    again.load_state_dict(deepcopy(optimizer.state_dict()))
    for one, held in ((optimizer, parameters), (again, copies)):
        _step(one, held)
    expect(
        all(torch.equal(one, other) for one, other in zip(parameters, copies, strict=True)),
        "a new one that loads the state_dict must take the same next step to the bit, or a resumed run goes another"
        " way; keep all that it remembers in self.state and self.param_groups",
    )


def _fits_into_a_checkpoint(candidate: Candidate) -> None:
    parameters = _parameters()
    optimizer = _required(candidate, parameters)
    _step(optimizer, parameters)
    expect_packable(optimizer.state_dict(), "optimizer")


def _required(candidate: Candidate, parameters: list[nn.Parameter]) -> Optimizer:
    return candidate.require(Optimizer, iter(parameters), lr=_LR, weight_decay=5e-5)


def _parameters() -> list[nn.Parameter]:
    """Return a bias, a matrix and the kernel of a convolution."""
    numbers = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=numbers)) for shape in ((5,), (4, 5), (4, 3, 3, 3))]


def _loss(parameters: list[nn.Parameter]) -> Tensor:
    """Return a bowl whose lowest point is at 3 everywhere."""
    return torch.stack([((one - 3) ** 2).mean() for one in parameters]).sum()


def _step(optimizer: Optimizer, parameters: list[nn.Parameter]) -> None:
    optimizer.zero_grad(set_to_none=True)
    _loss(parameters).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


CHECKS: dict[str, Callable[[Candidate], None]] = {
    "it gives an optimizer of the lr asked for": _gives_an_optimizer,
    "it makes a loss smaller": _makes_a_loss_smaller,
    "it heeds the weight decay": _decays_weights,
    "it goes on from its state to the same bits": _goes_on_to_the_same_bits,
    "its state fits into a checkpoint": _fits_into_a_checkpoint,
}
