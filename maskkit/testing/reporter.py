"""The contract of reporters: `maskkit.plugin.contracts.ReporterFactory`."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskkit.config import TrainConfig
from maskkit.flags import as_json
from maskkit.labels import CLASS_NAMES, NUM_CLASSES
from maskkit.reporting.events import METRIC_COLUMNS, EpochEnd, EpochStart, Mistake, RunEnd, RunStart, StepEnd
from maskkit.reporting.reporter import Reporter
from maskkit.testing.candidate import Candidate
from maskkit.testing.check import CheckError, expect
from maskkit.testing.randomness import expect_undisturbed

__all__ = ["CHECKS"]

_EPOCHS, _STEPS = 2, 3
_FIGURES = (0, 1e-3, 2.5, 0.25, 2.25, 0.5, 0.125, 0.75, 0.875, 0.625, 3.5, 210.0)

Event = RunStart | EpochStart | StepEnd | EpochEnd | RunEnd
_MOMENTS: dict[type[Event], str] = {
    RunStart: "on_run_start",
    EpochStart: "on_epoch_start",
    StepEnd: "on_step_end",
    EpochEnd: "on_epoch_end",
    RunEnd: "on_run_end",
}


def _is_a_reporter(candidate: Candidate) -> None:
    reporter = candidate.build()
    expect(
        isinstance(reporter, Reporter),
        f"it must give a maskkit.Reporter, but gave {type(reporter).__name__}; derive its class from Reporter",
    )


def _hears_a_whole_run(candidate: Candidate) -> None:
    with tempfile.TemporaryDirectory(prefix="maskkit-") as name:
        _tell(candidate.require(Reporter), _whole_run(Path(name)))


def _hears_of_a_failure(candidate: Candidate) -> None:
    with tempfile.TemporaryDirectory(prefix="maskkit-") as name:
        start, *_ = _whole_run(Path(name))
        _tell(candidate.require(Reporter), [start, RunEnd("failed", None, "the loss became nan")])


def _goes_on_with_a_run(candidate: Candidate) -> None:
    with tempfile.TemporaryDirectory(prefix="maskkit-") as name:
        _tell(candidate.require(Reporter), _whole_run(Path(name)))
        _tell(candidate.require(Reporter), _whole_run(Path(name), first_epoch=_EPOCHS))


def _changes_nothing(candidate: Candidate) -> None:
    with tempfile.TemporaryDirectory(prefix="maskkit-") as name:
        events, untouched = _whole_run(Path(name)), _whole_run(Path(name))
        reporter = candidate.require(Reporter)
        expect_undisturbed(lambda: _tell(reporter, events), "it")
    for event, other in zip(events, untouched, strict=True):
        expect(
            repr(event) == repr(other),
            f"it must only watch, but changed what {_MOMENTS[type(event)]} was given; copy what it works on",
        )


def _tell(reporter: Reporter, events: list[Event]) -> None:
    for event in events:
        moment = _MOMENTS[type(event)]
        try:
            getattr(reporter, moment)(event)
        except Exception as error:
            raise CheckError(
                f"{moment} must bear {_title(event)}, but raised {type(error).__name__}: {error}"
            ) from error


def _title(event: Event) -> str:
    match event:
        case RunStart(first_epoch=first) if first:
            return f"a run that goes on at epoch {first}"
        case RunEnd(status="failed"):
            return "a run that fails before its first epoch is done"
        case StepEnd(loss=None):
            return "a step without a loss"
        case EpochEnd(metrics=metrics) if None in metrics.values():
            return "an epoch without some of the metrics"
        case _:
            return f"a plain {type(event).__name__}"


def _whole_run(folder: Path, first_epoch: int = 0) -> list[Event]:
    """Return the events of a run of two epochs more; the second is of a view that lacks some axes."""
    return list(_events(folder, first_epoch))


def _events(folder: Path, first_epoch: int) -> Iterator[Event]:
    photo = folder / "photo.jpg"
    Image.new("RGB", (32, 40), "grey").save(photo)
    epochs = first_epoch + _EPOCHS
    config: dict[str, Any] = as_json(TrainConfig(epochs=epochs))
    plan = {"data": "84 images", "model": "BaseModel, 0.12 M parameters"}
    classes = CLASS_NAMES
    notices = ("the images are noise",)
    yield RunStart(folder, config, classes, epochs, _STEPS, plan, notices, first_epoch, first_epoch * _STEPS)
    best = None
    for epoch in range(first_epoch, epochs):
        yield EpochStart(epoch, epochs, _STEPS)
        for step in range(1, _STEPS + 1):
            loss = None if step < _STEPS else 2.5 - epoch / 10
            yield StepEnd(epoch, step, epoch * _STEPS + step, loss, 1e-3)
        result = _epoch_end(epoch, photo, is_whole=epoch == first_epoch)
        best = result if result.is_best else best
        yield result
    yield RunEnd("completed", best)


def _epoch_end(epoch: int, photo: Path, *, is_whole: bool) -> EpochEnd:
    metrics: dict[str, float | None] = {**dict(zip(METRIC_COLUMNS, _FIGURES, strict=True)), "epoch": epoch}
    if not is_whole:
        metrics |= {"valid_mask_accuracy": None, "valid_gender_accuracy": None}
    counts = np.eye(NUM_CLASSES, dtype=np.int64) * 3
    counts[1, 2] = 1
    mistakes = (Mistake(str(photo), 1, 2, 0.75),)
    return EpochEnd(metrics, counts, is_whole, (0.5,) * NUM_CLASSES, mistakes)


CHECKS: dict[str, Callable[[Candidate], None]] = {
    "it is a Reporter": _is_a_reporter,
    "it hears a whole run": _hears_a_whole_run,
    "it hears of a run that fails at once": _hears_of_a_failure,
    "it goes on with a resumed run": _goes_on_with_a_run,
    "it changes nothing": _changes_nothing,
}
