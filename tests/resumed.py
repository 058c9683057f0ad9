"""Runs that were killed and went on, and what must be the same in them as in a run that was left alone."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from forked import run_forked
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from maskkit.engine.checkpoint import Checkpoint

TIMINGS = {"seconds", "images_per_second"}
SMALL = ("--resize=32", "--num_workers=0", "--seed=7", "--log_interval=2")
RECIPES = {
    "drawing": "--balance=person_age --oversample_old=2",
    "mix": "--mix=half_face --mix_probability=0.5",
    "sum of losses": "--criterion=0.3*cross_entropy+0.7*focal",
    "label smoothing": "--label_smoothing=0.1 --class_weights=balanced",
    "average of weights": "--ema_decay=0.9",
    "warm-up": "--scheduler=cosine --scheduler_args=warmup_epochs=1.5",
    "frozen": "--freeze_epochs=2",
    "layers": "--first_layer_lr=0.1",
    "growing images": "--resize_from=16",
    "mirror images": "--test_flip=always --augmentation=AffineAugmentation --augmentation_args=flip=0.5",
}
"""The flags of each recipe; all of them go together."""


def attempt(place: Path, words: tuple[str, ...], *, seconds: float | None = None, fatal_write: float = 0) -> int:
    """Run maskkit to its end, or kill it at a moment; what it says is added to a log, and its exit code returned."""
    environment = os.environ | {"MASKKIT_DISABLE_PLUGINS": "*"}
    done = run_forked(place, *words, env=environment, seconds=seconds, fatal_write=fatal_write)
    with (place / "log.txt").open("a", encoding="utf-8") as log:
        log.write(done.out + done.err)
    return done.code


def log_of(place: Path) -> str:
    return (place / "log.txt").read_text(encoding="utf-8")


def metrics_of(run: Path) -> list[dict[str, str]]:
    """Return the rows of metrics.csv without the timings."""
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [{name: row[name] for name in row if name not in TIMINGS} for row in csv.DictReader(file)]


def tensors(state: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of a nested state with its place."""
    if isinstance(state, dict):
        for key, value in state.items():
            yield from tensors(value, f"{name}.{key}")
    elif isinstance(state, list | tuple):
        for number, value in enumerate(state):
            yield from tensors(value, f"{name}.{number}")
    elif not TIMINGS & set(name.split(".")):
        yield name, state


def assert_same_checkpoint(found: Path, expected: Path) -> None:
    states = [dict(tensors(dict(Checkpoint.load(path).state))) for path in (found, expected)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[1].items():
        same = torch.equal(states[0][name], value) if isinstance(value, torch.Tensor) else states[0][name] == value
        assert same, name


def curves_of(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the points of every curve that TensorBoard shows, without the timings."""
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.rpartition("/")[2] not in TIMINGS]
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in tags}


def assert_same_run(found: Path, expected: Path) -> None:
    assert metrics_of(found) == metrics_of(expected)
    for which in ("best", "last"):
        path = Path("checkpoints") / f"{which}.safetensors"
        assert_same_checkpoint(found / path, expected / path)
    predictions = Path("predictions") / "valid_soft.csv"
    assert (found / predictions).read_bytes() == (expected / predictions).read_bytes()
    assert curves_of(found) == curves_of(expected)
    assert not list(found.rglob("*.tmp"))


def done_of(place: Path) -> int:
    """Return how many epochs the last checkpoint holds."""
    state = Checkpoint.load(place / "runs" / "exp" / "checkpoints" / "last.safetensors").state
    done: int = state["progress"]["epochs_done"]
    return done


def resume(place: Path, *words: str | Path) -> str:
    """Go on with the run of a folder, and return what it printed."""
    before = log_of(place) if (place / "log.txt").exists() else ""
    code = attempt(place, ("train", "--resume=runs/exp", *map(str, words)))
    return f"exit code {code}\n" + log_of(place).removeprefix(before)
