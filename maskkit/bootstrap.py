"""The percentile bootstrap over people: how far a score would move if other people of the same kind had been asked.

Whole people are drawn with replacement, as many as there are, and all images of a person enter together, as often as
the person was drawn: images of one person are alike, and drawing them one by one would give too narrow an interval.
Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979); Efron and Tibshirani, "An
Introduction to the Bootstrap" (1993), section 13.3 for the percentile interval.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["COVERAGE", "RESAMPLES", "Estimate", "resampled_counts"]

COVERAGE, RESAMPLES = 0.95, 2_000
_SEED = 0  # fixed, so that the same file always gives the same interval


@dataclass(frozen=True)
class Estimate:
    """A score with the bounds of its interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Estimate":
        """Return the estimate from float64 [1 + R]: the score itself, then that of each resample."""
        low, high = np.quantile(values[1:], ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2))
        return cls(float(values[0]), float(low), float(high))


def resampled_counts(cells: NDArray[np.int64], people: NDArray[np.int64], num_cells: int) -> NDArray[np.float64]:
    """Return how many images fall into each cell, float64 [1 + RESAMPLES, num_cells]: as they are, then by resample.

    `cells` int64 [N], 0..num_cells-1, and `people` int64 [N], 0..P-1 without a gap: one of each for every image.
    """
    draws = np.random.default_rng(_SEED)
    num_people = int(people.max()) + 1
    counts = np.empty((1 + RESAMPLES, num_cells))
    counts[0] = np.bincount(cells, minlength=num_cells)
    for row in counts[1:]:
        times = np.bincount(draws.integers(num_people, size=num_people), minlength=num_people)
        row[:] = np.bincount(cells, weights=times[people], minlength=num_cells)
    return counts
