"""Pictures of how a model does, drawn by matplotlib's objects alone: no window, no global state."""

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ["confusion_figure"]


def confusion_figure(counts: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Return the confusion counts int64 [K, K] as a picture: rows are the truth, shaded by their share of the row."""
    num_classes = len(classes)
    side = 2.5 + 0.45 * num_classes
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(num_classes), classes, rotation=90)
    axes.set_yticks(range(num_classes), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth")
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour, fontsize=8)
    return figure
