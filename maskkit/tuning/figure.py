"""The picture of a search: a line a trial across its flags to its score."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from maskkit.tuning.trials import Trial, best_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["parallel_coordinates"]

_SCORE = "macro F1"
_MOST_MARKS = 6  # so many different numbers are all written at their axis, else the ends
_LOGARITHMIC = 8  # of a flag whose largest value is so many times its smallest, the powers are what counts
_LINE = 0.035  # the height of a line of text, of that of an axis


def parallel_coordinates(trials: Sequence[Trial]) -> "Figure":
    """Return parallel coordinates of trials that all have a score: an upright axis for each flag, the last the score.

    Lines are coloured by their scores, and the best is the thickest. Flags that no trial varies are left out.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    columns = {name: [trial.flags.get(name) for trial in trials] for name in dict.fromkeys(_names(trials))}
    columns = {name: values for name, values in columns.items() if len({*map(str, values)}) > 1}
    scores = [trial.score for trial in trials]
    places = {name: _places(values) for name, values in columns.items()} | {_SCORE: _places(scores)}
    figure = Figure(figsize=(2.2 * len(places) + 1.5, 5), layout="constrained")
    axes = figure.subplots()
    best = best_of(trials)
    for row, trial in enumerate(trials):
        heights = [column[row] for column, _ in places.values()]
        colour = colormaps["viridis"](places[_SCORE][0][row])
        axes.plot(range(len(places)), heights, color=colour, linewidth=3.5 if trial is best else 1.2, alpha=0.85)
    for position, (name, (_, ticks)) in enumerate(places.items()):
        _draw_axis(axes, position, name, ticks)
    axes.set(xlim=(-0.35, len(places) - 0.5), ylim=(-0.05, 1.12))
    axes.set_axis_off()
    return figure


def _names(trials: Sequence[Trial]) -> list[str]:
    return [name for trial in trials for name in trial.flags]


def _places(values: Sequence[Any]) -> tuple[list[float], dict[float, str]]:
    """Return the heights of values from 0 to 1, and what stands at which height; equal steps for what is no number."""
    kinds = {*map(str, values)}
    if not all(isinstance(value, int | float) for value in values):
        order = sorted(kinds)
        step = 1 / max(len(order) - 1, 1)
        heights = {word: position * step for position, word in enumerate(order)}
        return [heights[str(value)] for value in values], {height: word for word, height in heights.items()}
    low, high = min(values), max(values)
    if high == low:
        return [0.5] * len(values), {0.5: f"{low:.4g}"}
    is_logarithmic = low > 0 and high / low >= _LOGARITHMIC

    def place(value: float) -> float:
        return math.log(value / low) / math.log(high / low) if is_logarithmic else (value - low) / (high - low)

    marks = sorted({*values}) if len(kinds) <= _MOST_MARKS else [low, high]
    return [place(value) for value in values], {place(mark): f"{mark:.4g}" for mark in marks}


def _draw_axis(axes: "Axes", position: int, name: str, ticks: dict[float, str]) -> None:
    axes.axvline(position, ymin=0.05 / 1.17, ymax=1.05 / 1.17, color="0.6", linewidth=1)
    axes.text(position, 1.07, name, ha="center", va="bottom", fontweight="bold", parse_math=False)
    for height, text in _legible(ticks).items():
        box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
        axes.text(position - 0.04, height, text, ha="right", va="center", fontsize=8, parse_math=False, bbox=box)


def _legible(ticks: dict[float, str]) -> dict[float, str]:
    """Leave out what would lie over another text; the ends stay."""
    low, high = min(ticks), max(ticks)
    kept = dict.fromkeys([low, high])
    for height in sorted(ticks):
        if all(abs(height - other) >= _LINE for other in kept):
            kept[height] = None
    return {height: ticks[height] for height in kept}
