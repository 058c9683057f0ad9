"""The vote rules in the box: how the probabilities of several files become one row of scores for each image.

A factory returns the rule, a callable: (float64 probabilities [M, N, K], float64 weights [M]) -> float64 [N, K].
Both rules give every order of the files the same result to the last bit, so a tie never depends on it.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["hard", "soft"]

Floats = NDArray[np.float64]

_TIE_BREAK = 1e-6  # far below the share of one file, far above float64's rounding


def soft() -> Callable[[Floats, Floats], Floats]:
    """Return the weighted mean: sum_m w_m p_m / sum_m w_m."""
    return _weighted_mean


def hard() -> Callable[[Floats, Floats], Floats]:
    """Return the weighted share of the files whose largest probability is this class.

    A tie goes to the class with the larger mean probability, then to the lower class number.
    """

    def rule(probabilities: Floats, weights: Floats) -> Floats:
        answers = np.eye(probabilities.shape[2])[probabilities.argmax(axis=2)]
        share, mean = _weighted_mean(answers, weights), _weighted_mean(probabilities, weights)
        return share * (1 - _TIE_BREAK) + mean * _TIE_BREAK

    return rule


def _weighted_mean(probabilities: Floats, weights: Floats) -> Floats:
    weights = weights / weights.max()  # equal weights become exactly 1, and no sum of them overflows
    parts = (weights / math.fsum(weights))[:, None, None] * probabilities
    total, *others = _sorted(parts)  # floating-point sums depend on the order of their terms
    for other in others:
        total += other
    return total


def _sorted(parts: Floats) -> list[Floats]:
    """Return M arrays that hold at each place the numbers of [M, N, K] in rising order; it works in place.

    This exchanges whole arrays, M (M - 1) / 2 times. Up to ten files numpy sorts along the first axis half as fast.
    """
    rows, spare = list(parts), np.empty_like(parts[0])
    for last in range(len(rows) - 1, 0, -1):
        for place in range(last):
            low, high = rows[place], rows[place + 1]
            np.minimum(low, high, out=spare)
            np.maximum(low, high, out=high)
            rows[place], spare = spare, low
    return rows
