"""Schedules of the learning rate in the box: torch's own."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LinearLR,
    MultiStepLR,
    ReduceLROnPlateau,
    SequentialLR,
)
from torch.optim.lr_scheduler import StepLR as TorchStepLR

from maskkit import Schedule

__all__ = ["cosine", "plateau", "step10", "steplr", "warm_restarts"]

_WARMUP_START = 0.01


def step10(optimizer: Optimizer, *, epochs: int, steps_per_epoch: int) -> Schedule:  # noqa: ARG001  fixed epochs
    """Divide the learning rate by 10 after epochs 10, 20 and 25, counted from 0."""
    return Schedule(MultiStepLR(optimizer, milestones=[11, 21, 26], gamma=0.1))


def steplr(
    optimizer: Optimizer,
    *,
    epochs: int,  # noqa: ARG001  the steps are the user's
    steps_per_epoch: int,  # noqa: ARG001  it moves by epochs
    step_size: int = 20,
    gamma: float = 0.1,
) -> Schedule:
    """Multiply the learning rate by `gamma` every `step_size` epochs."""
    _at_least_one("step_size", step_size)
    return Schedule(TorchStepLR(optimizer, step_size=step_size, gamma=gamma))


def cosine(
    optimizer: Optimizer, *, epochs: int, steps_per_epoch: int, min_lr: float = 0.0, warmup_epochs: float = 0.0
) -> Schedule:
    """Go down to `min_lr` along half a cosine over the run (Loshchilov and Hutter, arXiv 1608.03983).

    Over `warmup_epochs` before it the rate rises evenly from a hundredth (Goyal et al., arXiv 1706.02677).
    """
    steps = epochs * steps_per_epoch
    warmup = round(warmup_epochs * steps_per_epoch)
    if not 0 <= warmup < steps:
        raise ValueError(f"warmup_epochs must be 0 or more and less than the {epochs} epochs; received {warmup_epochs}")
    falling = CosineAnnealingLR(optimizer, T_max=steps - warmup, eta_min=min_lr)
    if not warmup:
        return Schedule(falling, interval="step")
    rising = LinearLR(optimizer, start_factor=_WARMUP_START, total_iters=warmup)
    return Schedule(SequentialLR(optimizer, [rising, falling], milestones=[warmup]), interval="step")


def warm_restarts(
    optimizer: Optimizer,
    *,
    epochs: int,  # noqa: ARG001  the cycles have lengths of their own
    steps_per_epoch: int,
    first_cycle: int = 5,
    factor: int = 2,
    min_lr: float = 0.0,
) -> Schedule:
    """Go down a cosine in `first_cycle` epochs, start again, each cycle `factor` times longer (arXiv 1608.03983)."""
    scheduler = CosineAnnealingWarmRestarts(optimizer, T_0=first_cycle * steps_per_epoch, T_mult=factor, eta_min=min_lr)
    return Schedule(scheduler, interval="step")


def plateau(
    optimizer: Optimizer,
    *,
    epochs: int,  # noqa: ARG001  it moves by what it sees
    steps_per_epoch: int,  # noqa: ARG001  it moves by epochs
    patience: int = 3,
    factor: float = 0.1,
) -> Schedule:
    """Multiply the learning rate by `factor` after `patience` epochs without a better validation macro F1."""
    _at_least_one("patience", patience)
    # torch counts the epochs that it lets pass before the one that lowers, and calls less than 0.01 % no better.
    scheduler = ReduceLROnPlateau(optimizer, mode="max", factor=factor, patience=patience - 1, threshold=0.0)
    return Schedule(scheduler, monitor="valid_f1_macro")


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be 1 or more; received {value}")
