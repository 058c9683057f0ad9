"""Optimizers in the box: torch's own, in their fused forms where the parameters lie on a CPU or a CUDA device."""

from collections.abc import Iterable

import torch
from torch import nn

__all__ = ["adam", "adamw", "sgd"]


def sgd(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
    nesterov: bool = True,
) -> torch.optim.SGD:
    """Return stochastic gradient descent."""
    held = list(parameters)
    return torch.optim.SGD(
        held,
        lr=lr,
        weight_decay=weight_decay,
        momentum=momentum,
        nesterov=nesterov and momentum > 0,
        fused=_fuses(held),
    )


def adam(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> torch.optim.Adam:
    """Return Adam, which adds the decay to the gradient (Kingma and Ba, arXiv 1412.6980)."""
    held = list(parameters)
    return torch.optim.Adam(held, lr=lr, weight_decay=weight_decay, betas=(beta1, beta2), eps=eps, fused=_fuses(held))


def adamw(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    weight_decay: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> torch.optim.AdamW:
    """Return Adam with the decay apart from the gradient (Loshchilov and Hutter, arXiv 1711.05101)."""
    held = list(parameters)
    return torch.optim.AdamW(held, lr=lr, weight_decay=weight_decay, betas=(beta1, beta2), eps=eps, fused=_fuses(held))


def _fuses(parameters: list[nn.Parameter]) -> bool:
    return all(parameter.device.type in {"cpu", "cuda"} for parameter in parameters)
