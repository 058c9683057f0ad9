"""Whether something draws from what it is given alone, and leaves the global generators as they are."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from maskkit.testing.check import expect
from maskkit.testing.inputs import generator_states, seeded

__all__ = ["SEEDS", "expect_draws_alone", "expect_undisturbed"]

SEEDS = range(6)
"""Of the global generators; what tosses a coin gives the same for two of them by chance, but hardly for all."""


def expect_draws_alone(attempt: Callable[[], Sequence[Tensor]], what: str) -> None:
    """Expect the same tensors of two attempts whatever the global generators, which are left as they are."""
    first, *others = (_seeded(attempt, seed) for seed in SEEDS)
    expect(
        all(torch.equal(one, same) for other in others for one, same in zip(first, other, strict=True)),
        f"{what} must depend on its draws alone, or a resumed run goes another way, but it drew from a generator of"
        " torch, numpy or random; use draws.uniform, draws.normal or draws.seeds",
    )
    expect_undisturbed(attempt, what)


def _seeded(attempt: Callable[[], Sequence[Tensor]], seed: int) -> Sequence[Tensor]:
    with seeded(seed):
        return attempt()


def expect_undisturbed(attempt: Callable[[], object], what: str) -> None:
    """Expect the global generators to be left as they are."""
    with seeded(0):
        before = generator_states()
        attempt()
        after = generator_states()
    moved = [name for name, state in before.items() if after[name] != state]
    expect(
        not moved,
        f"{what} must leave the global generators of random numbers as they are, but moved that of {', '.join(moved)};"
        " use a generator of its own",
    )
