"""The order in which an epoch visits images, by the seed and the epoch alone, and how it is cut into steps."""

import torch
from torch import Tensor

__all__ = ["epoch_order", "epoch_seed", "num_steps", "rows_of", "split_epoch", "split_rows"]


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Return the seed of a process's generators in an epoch, which take 64 bits; any whole number is a seed."""
    return (seed * 1_000_003 + epoch + rank * 1_000_000_007) % 2**63


def epoch_order(
    rows: Tensor, *, seed: int, epoch: int, weights: Tensor | None = None, num_images: int | None = None
) -> Tensor:
    """Return the visits of an epoch, int64 [N], in their order: a function of the seed and the epoch.

    Each of the rows int64 [N] is visited once, or with weights float64 [N] in their proportion: as often as the next
    whole number below or above N w_i / sum(w), which of them is drawn so that the mean over epochs is the proportion.
    Of a row's visits the first is its number, and the next ones are larger by `num_images` each, the length of the
    table: `rows_of` gives the row, and no two visits draw the same augmentation.
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
    order = torch.randperm(len(rows), generator=generator)
    if weights is None:
        return rows[order]
    assert num_images is not None  # noqa: S101  without it a second visit has no number
    times = _drawn_times(weights[order], float(torch.rand((), generator=generator, dtype=torch.float64)))
    visited = rows[order].repeat_interleave(times)
    first_of = (times.cumsum(0) - times).repeat_interleave(times)
    visits = visited + num_images * (torch.arange(len(visited)) - first_of)
    return visits[torch.randperm(len(visits), generator=generator)]


def rows_of(visits: Tensor, num_images: int) -> Tensor:
    """Return the rows of a table of so many images that are visited, int64 [N]."""
    return visits % num_images


def _drawn_times(weights: Tensor, start: float) -> Tensor:
    """Return how often each of N is drawn, int64 [N], N times in all: systematic sampling.

    Madow, "On the theory of systematic sampling, II", Annals of Mathematical Statistics 20 (1949): the expected numbers
    are laid end to end, and each whole number on the way, shifted by `start` in 0..1, falls into one of them.
    """
    ends = (weights / weights.sum() * len(weights)).cumsum(0)
    ends[-1] = len(weights)  # whatever rounding made of it
    marks = (ends + start).floor().long()
    return marks.diff(prepend=torch.zeros(1, dtype=torch.int64))


def split_rows(rows: Tensor, batch_size: int, *, at_least: int = 2) -> list[Tensor]:
    """Return the rows int64 [N] in their order, `batch_size` at a time.

    A last batch of fewer than `at_least` joins the batch before it, since batch statistics need two images; not when
    all are as small.
    """
    parts = list(torch.split(rows, batch_size))
    if len(parts) > 1 and len(parts[-1]) < min(at_least, batch_size):
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def split_epoch(order: Tensor, batch_size: int, accumulate: int, num_processes: int = 1) -> list[list[Tensor]]:
    """Return the batches of each step of an epoch, of rows int64 [N] in their order; of each step, every process has
    as many.

    A step is of `batch_size` x `accumulate` x `num_processes` rows. The last one may be smaller, and a few more rows
    join the step before; its batches are as many as they must be, and as even as they can be.
    """
    num_batches = accumulate * num_processes
    steps = split_rows(order, batch_size * num_batches, at_least=2 * num_batches)
    return [_split_step(rows, batch_size, accumulate, num_processes) for rows in steps]


def _split_step(rows: Tensor, batch_size: int, accumulate: int, num_processes: int) -> list[Tensor]:
    fewest = 2 if batch_size > 1 else 1  # rows of a batch
    of_each = min(accumulate, -(-len(rows) // (batch_size * num_processes)), len(rows) // (fewest * num_processes))
    return list(torch.tensor_split(rows, max(of_each, 1) * num_processes))


def num_steps(num_rows: int, batch_size: int, *, at_least: int = 2) -> int:
    """Return the number of batches that `split_rows` makes of so many rows."""
    steps, rest = -(-num_rows // batch_size), num_rows % batch_size
    return steps - 1 if steps > 1 and 0 < rest < min(at_least, batch_size) else steps
