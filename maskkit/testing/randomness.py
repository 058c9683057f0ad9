"""Whether something draws from what it is given alone, and leaves the global generators as they are."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from maskkit.testing.check import expect
from maskkit.testing.inputs import generator_states, seeded

__all__ = ["expect_draws_alone", "expect_undisturbed"]


def expect_draws_alone(attempt: Callable[[], Sequence[Tensor]], what: str) -> None:
    """Expect the same tensors of two attempts whatever the global generators, which are left as they are."""
    results = []
    for seed in (0, 1):
        with seeded(seed):
            results.append(attempt())
    expect(
        all(torch.equal(first, second) for first, second in zip(*results, strict=True)),
        f"{what} must depend on its draws alone, or a resumed run goes another way, but it drew from a generator of"
        " torch, numpy or random; use draws.uniform, draws.normal or draws.seeds",
    )
    expect_undisturbed(attempt, what)


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
