"""Macro F1 and its companions, all computed from confusion counts.

Counts are int64 [K, K]: `counts[t, p]` samples of the true class t were called p. They add up over batches, processes
and folds, which a mean of scores does not. TP is the diagonal, TP + FN a row's sum and TP + FP a column's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskkit.labels import Axis, View

__all__ = ["Scores", "accuracy", "axis_accuracy", "confusion_counts", "f1_per_class", "macro_f1"]
__all__ += ["precision_per_class", "recall_per_class", "scores", "support_per_class"]

Counts = NDArray[np.int64]
PerClass = NDArray[np.float64]


def confusion_counts(truth: NDArray[Any], predicted: NDArray[Any], num_classes: int) -> Counts:
    """Return int64 [K, K] of two int arrays [N]: rows are the true classes, columns the predicted ones.

    Raises:
        ValueError: the arrays differ in length, or a class lies outside 0..K-1.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"{truth.shape} true and {predicted.shape} predicted classes; both must be [N]")
    for name, column in (("truth", truth), ("prediction", predicted)):
        if column.size and not 0 <= column.min() <= column.max() < num_classes:
            raise ValueError(f"a {name} lies outside 0..{num_classes - 1}")
    pairs = truth.astype(np.int64) * num_classes + predicted.astype(np.int64)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def precision_per_class(counts: Counts) -> PerClass:
    """Return TP / (TP + FP) of each class, float64 [K]; 0 for a class that was never predicted."""
    return _share(counts.diagonal(), counts.sum(axis=0))


def recall_per_class(counts: Counts) -> PerClass:
    """Return TP / (TP + FN) of each class, float64 [K]; 0 for a class that does not occur."""
    return _share(counts.diagonal(), counts.sum(axis=1))


def f1_per_class(counts: NDArray[Any]) -> PerClass:
    """Return 2 TP / (2 TP + FP + FN) of each class, float64 [.., K] of counts [.., K, K].

    It is 0 for a class neither true nor predicted anywhere.
    """
    hits = counts.diagonal(axis1=-2, axis2=-1)
    return _share(2 * hits, counts.sum(axis=-2) + counts.sum(axis=-1))


def support_per_class(counts: Counts) -> Counts:
    """Return the number of samples of each true class, int64 [K]."""
    return np.asarray(counts.sum(axis=1))


def macro_f1(counts: Counts) -> float:
    """Return the plain mean of the F1 of all K classes; an absent class counts 0."""
    return float(f1_per_class(counts).mean())


def accuracy(counts: Counts) -> float:
    """Return the sum of TP / N, nan when there are no samples."""
    return _ratio(counts.trace(), counts.sum())


def axis_accuracy(counts: Counts, view: View, axis: Axis) -> float:
    """Return the share of samples whose answer on one axis of the view is right, nan when there are no samples.

    Raises:
        ValueError: the view does not answer this axis.
    """
    if axis not in view.axes:
        raise ValueError(f"the view {view.name} does not answer {axis.name}")
    answers = np.array([view.answer(axis, number) for number in range(view.num_classes)])
    return _ratio(counts[answers[:, None] == answers].sum(), counts.sum())


@dataclass(frozen=True)
class Scores:
    """What one set of predictions scores; `axis_accuracies` has a value for each axis that the view answers."""

    macro_f1: float
    accuracy: float
    axis_accuracies: dict[str, float]


def scores(counts: Counts, view: View) -> Scores:
    """Return every score of the confusion counts [K, K] of a view of K classes."""
    axis_accuracies = {axis.name: axis_accuracy(counts, view, axis) for axis in view.axes}
    return Scores(macro_f1(counts), accuracy(counts), axis_accuracies)


def _share(part: NDArray[Any], whole: NDArray[Any]) -> PerClass:
    return np.asarray(part / np.maximum(whole, 1))  # where the whole is 0, so is the part


def _ratio(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else float("nan")
