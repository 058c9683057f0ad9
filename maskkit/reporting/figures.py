"""Figures: the confusion of classes and the surest mistakes of a validation, and the loss by learning rate.

Matplotlib is loaded when a figure is drawn, and by its objects alone: no display, and no state that a notebook shares.
"""

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from maskkit.errors import DataError
from maskkit.reporting.events import Mistake

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

__all__ = ["confusion_figure", "mistakes_figure", "rates_figure"]

_MANY = 6  # beyond so many classes a cell holds its count alone, and the names below lean
_MAX_COLUMNS = 4
_PICTURE_SIDE = 256  # pixels; what a cell of the grid shows, and all that is kept of a large photo


def confusion_figure(counts: NDArray[np.int64], classes: Sequence[str]) -> "Figure":
    """Return the picture of confusion counts int64 [K, K], true classes in rows, coloured by their share of the row."""
    from matplotlib.figure import Figure

    is_large = len(classes) > _MANY
    side = len(classes) * (0.45 if is_large else 1.1)  # inches
    figure = Figure(figsize=(side + 2.6, side + (1.4 if is_large else 0.7)), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (truth, predicted), count in np.ndenumerate(counts):
        share = shares[truth, predicted]
        text = "" if count == 0 else f"{count:,}" if is_large else f"{count:,}\n{share:.0%}"
        colour = "white" if share > 0.5 else "black"
        axes.text(predicted, truth, text, ha="center", va="center", color=colour, fontsize=8 if is_large else 11)
    _name_cells(axes, classes, is_large=is_large)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, format=lambda share, _: f"{share:.0%}")
    bar.set_label("share of the true class")
    return figure


def _name_cells(axes: "Axes", classes: Sequence[str], *, is_large: bool) -> None:
    places = range(len(classes))
    axes.set_yticks(places, classes)
    if is_large:
        axes.set_xticks(places, classes, rotation=45, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(places, classes)
    axes.set(xlabel="predicted", ylabel="truth")
    borders = np.arange(len(classes) + 1) - 0.5
    axes.set_xticks(borders, minor=True)
    axes.set_yticks(borders, minor=True)
    axes.grid(which="minor", color="0.85", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def mistakes_figure(
    mistakes: Sequence[Mistake], classes: Sequence[str], open_image: "Callable[[str], Image]"
) -> "Figure":
    """Return a grid of one or more wrongly answered images: the truth, the answer and its probability, the file.

    `open_image` raises DataError where an image can no longer be read; its cell then says so.
    """
    from matplotlib.figure import Figure

    num_columns = min(len(mistakes), _MAX_COLUMNS)
    num_rows = -(-len(mistakes) // num_columns)
    figure = Figure(figsize=(2.6 * num_columns, 3.2 * num_rows), layout="constrained")
    cells = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
    for axes, mistake in zip(cells, mistakes, strict=False):
        _show_picture(axes, mistake.path, open_image)
        answer = f"{classes[mistake.truth]}\n→ {classes[mistake.predicted]} {mistake.probability:.2f}"
        axes.set_title(answer, fontsize=9, parse_math=False)
        axes.set_xlabel(_file_name(mistake.path), fontsize=7, color="0.4", parse_math=False)
    for axes in cells[len(mistakes) :]:
        axes.set_axis_off()
    return figure


def _show_picture(axes: "Axes", path: str, open_image: "Callable[[str], Image]") -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("0.85")
    try:
        picture = open_image(path)
    except DataError:
        axes.text(0.5, 0.5, "cannot be read", ha="center", va="center", color="0.4", transform=axes.transAxes)
    else:
        picture.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
        axes.imshow(np.asarray(picture))


def _file_name(path: str) -> str:
    """Return the folder and the name of a file, in letters that the font has."""
    return "\n".join(PurePath(path).parts[-2:]).encode("ascii", "replace").decode()


def rates_figure(
    rates: NDArray[np.float64], losses: NDArray[np.float64], smooth: NDArray[np.float64], suggested: float
) -> "Figure":
    """Return the picture of the losses float64 [N] at rising learning rates float64 [N], and of their smooth course."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(rates, losses, ".", color="0.7", label="of a step")
    axes.semilogx(rates, smooth, color="tab:blue", label="smooth")
    axes.axvline(suggested, color="tab:orange", linestyle="--", label=f"suggested: {suggested:.1e}")
    axes.set(xlabel="learning rate", ylabel="loss", ylim=_around(smooth))
    axes.grid(color="0.9")
    axes.legend()
    return figure


def _around(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return limits that show the lower part of a curve whose end may explode."""
    low, begin = float(values.min()), float(values[0])
    room = max(begin - low, 1e-6)
    return low - 0.2 * room, begin + room
