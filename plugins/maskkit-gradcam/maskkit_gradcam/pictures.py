"""The picture of an explanation: the photo as the network sees it, and beside it a map for each question."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ["Panel", "draw"]

_COLOURS = "viridis"  # even in brightness and told apart by colour-blind eyes, which rainbows are not
_SIDE = 3.4  # inches, the longer side of a photo
_NARROWEST = 2.2  # inches, for a title
_GAP = 0.12
_LINE, _BELOW, _BESIDE = 0.2, 0.35, 0.75  # inches, for a line of a title, the caption and the scale


@dataclass(frozen=True)
class Panel:
    """A heat map float32 [H, W] in 0..1, and what it is of."""

    title: str
    heat: NDArray[np.float32]


def draw(photo: NDArray[np.uint8], panels: Sequence[Panel], caption: str) -> Figure:
    """Return the figure of a photo uint8 [H, W, 3] and one or more maps of it."""
    titles = [f"what the network sees\n{photo.shape[0]}x{photo.shape[1]} pixels", *(panel.title for panel in panels)]
    height, width = (side * _SIDE / max(photo.shape[:2]) for side in photo.shape[:2])
    column = max(width, _NARROWEST) + _GAP
    above = 0.15 + _LINE * max(title.count("\n") + 1 for title in titles)
    size = (column * len(titles) + _BESIDE, height + above + _BELOW)
    figure = Figure(figsize=size)

    def add_axes(left: float, wide: float) -> Axes:
        return figure.add_axes((left / size[0], _BELOW / size[1], wide / size[0], height / size[1]))

    pictures: list[NDArray[Any]] = [photo, *(_overlaid(photo, panel.heat) for panel in panels)]
    for number, (title, picture) in enumerate(zip(titles, pictures, strict=True)):
        axes = add_axes(_GAP + number * column + (column - _GAP - width) / 2, width)
        axes.imshow(picture, interpolation="bicubic")
        axes.set_title(_printable(title), fontsize=10, parse_math=False)
        axes.set_axis_off()
    _add_scale(add_axes(_GAP + len(pictures) * column, 0.12))
    figure.text(_GAP / size[0], 0.1 / size[1], _printable(caption), fontsize=8, color="0.35", parse_math=False)
    return figure


def _add_scale(axes: Axes) -> None:
    steps = np.linspace(0, 1, 128, dtype=np.float32)[:, None]
    axes.imshow(_overlaid(np.full((128, 1, 3), 160, dtype=np.uint8), steps), aspect="auto", origin="lower")
    axes.set_xticks([])
    axes.set_yticks([0, 127], ["none", "most"], fontsize=8)
    axes.yaxis.tick_right()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _overlaid(photo: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return float [H, W, 3] in 0..1: the photo in grey, the more tinted the hotter a place is."""
    grey = (photo @ np.array([0.299, 0.587, 0.114]) / 255)[..., None]  # luma of ITU-R BT.601
    tint = colormaps[_COLOURS](heat)[..., :3]
    share = 0.8 * heat[..., None] ** 0.75
    return np.asarray((1 - share) * grey + share * tint)


def _printable(text: str) -> str:
    """Return a text in letters that the font has."""
    return text.encode("ascii", "replace").decode()
