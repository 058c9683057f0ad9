"""What a run tells, as rows of figures under the names that they have in TensorBoard.

A row of a step has its number under "step", a row of an epoch under "epoch": these are the axes of its curves.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from maskkit import EpochEnd, RunStart, StepEnd

__all__ = ["AXES", "BEST", "Row", "best_figures", "epoch_row", "flags_of", "place_of", "step_row", "was_before"]

Row = dict[str, float]
Place = tuple[str, int]
"""An axis and the number on it."""

AXES = {"step": ("step/*",), "epoch": ("train/*", "valid/*", "run/*", "f1/*", "best/*")}
"""By axis, its curves."""

BEST = {"best/f1_macro": "valid_f1_macro", "best/accuracy": "valid_accuracy", "best/loss": "valid_loss"}


def step_row(step: StepEnd, loss: float) -> Row:
    return {"step": step.total_steps, "step/loss": loss, "step/lr": step.lr, **_now()}


def epoch_row(result: EpochEnd, classes: Sequence[str]) -> Row:
    """Return the figures of an epoch; one that its view lacks is left out."""
    f1 = {f"f1/{name}": value for name, value in zip(classes, result.class_f1, strict=False)}
    best = best_figures(result) if result.is_best else {}
    return {"epoch": result.epoch, **dict(_figures(result)), **f1, **best, **_now()}


def best_figures(best: EpochEnd) -> Row:
    return {name: value for name, column in BEST.items() if (value := best.metrics[column]) is not None}


def place_of(row: Mapping[str, Any]) -> Place | None:
    """Return where a row stands on its axis, None when it has none."""
    return next(((axis, int(row[axis])) for axis in AXES if axis in row), None)


def was_before(run: RunStart, row: Row) -> bool:
    """Return whether a row was written before the point from which a run goes on."""
    return row["step"] <= run.total_steps if "step" in row else row["epoch"] < run.first_epoch


def flags_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags of a run without what may be secret: options of reporters, and the user and query of a URL."""
    flags = {name: value for name, value in config.items() if name not in {"reporters_args", "resume"}}
    if flags.get("weights") and "://" in str(flags["weights"]):
        flags["weights"] = _without_secrets(str(flags["weights"]))
    return flags


def _figures(result: EpochEnd) -> Iterator[tuple[str, float]]:
    for name, value in result.metrics.items():
        part, _, figure = name.partition("_")
        if name != "epoch" and value is not None:
            yield f"{part}/{figure}" if part in {"train", "valid"} else f"run/{name}", value


def _now() -> Row:
    """Return the time under W&B's name: a row that is sent again later keeps it."""
    return {"_timestamp": time.time()}


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
