"""A run that was killed at any moment goes on to the same bits, and refuses what would make it another run."""

import csv
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from maskkit.cli.shell import main
from maskkit.engine.checkpoint import Checkpoint

NUM_KILLS = 10
TIMINGS = {"seconds", "images_per_second"}
SMALL = ("--resize=32", "--batch_size=32", "--num_workers=0", "--epochs=5", "--seed=7", "--log_interval=2")
KINDS = {
    "plain": ("--scheduler=cosine", "--augmentation=GaussianAugmentation", "--model_args=dropout=0.5"),
    "accumulation": ("--accumulate=2", "--batch_size=16", "--scheduler=warm_restarts", "--optimizer=SGD", "--lr=0.02"),
    "early stopping": ("--patience=2", "--epochs=12", "--lr=0.02", "--scheduler=plateau", "--clip_norm=1"),
    "multihead": ("--classification=multihead", "--optimizer=AdamW", "--criterion=focal", "--scheduler=StepLR"),
}

# A server that has loaded torch forks each run: a kill costs no start-up, and no run knows of another.
forked = multiprocessing.get_context("forkserver")
forked.set_forkserver_preload(
    ["maskkit.cli.shell", "maskkit.engine.training", "torch.utils.tensorboard", "sklearn.model_selection"]
)


def run_command(place: Path, words: tuple[str, ...], fatal_write: int) -> None:
    """Run maskkit in `place`, and die by kill -9 in the middle of the write to disk of that number, if there is one."""
    os.chdir(place)
    os.environ["MASKKIT_DISABLE_PLUGINS"] = "*"
    num_writes = 0
    flush = os.fsync

    def flush_or_die(handle: int) -> None:
        nonlocal num_writes
        num_writes += 1
        if num_writes == fatal_write:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(handle)

    os.fsync = flush_or_die
    with Path("log.txt").open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        raise SystemExit(main(list(words)))


def attempt(place: Path, words: tuple[str, ...], *, seconds: float | None = None, fatal_write: int = 0) -> int | None:
    """Run maskkit to its end, or kill it after some seconds or in the middle of a write; return its exit code."""
    process = forked.Process(target=run_command, args=(place, words, fatal_write))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode


def run_with_kills(place: Path, words: tuple[str, ...], seconds: float, seed: int) -> int:
    """Kill and resume a run again and again, then let it end; return how many kills hit it."""
    draws = random.Random(seed)
    place.mkdir()
    hits = 0
    command = words
    for number in range(100):
        in_a_write = number % 2 == 0
        code = attempt(
            place,
            command,
            seconds=None if in_a_write else draws.uniform(0, seconds),
            fatal_write=draws.randint(1, 12) if in_a_write else 0,
        )
        assert code in {0, -signal.SIGKILL}, (place / "log.txt").read_text(encoding="utf-8")
        hits += code != 0
        is_begun = (place / "runs" / "exp" / "config.json").exists()
        command = ("train", "--resume=runs/exp") if is_begun else words
        if not is_begun:
            shutil.rmtree(place / "runs", ignore_errors=True)
        if hits == NUM_KILLS or (code == 0 and is_begun):
            break
    assert attempt(place, command) == 0, (place / "log.txt").read_text(encoding="utf-8")
    return hits


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
    for name in ("valid_soft.csv", "eval_soft.csv", "eval_hard.csv"):
        assert (found / "predictions" / name).read_bytes() == (expected / "predictions" / name).read_bytes()
    assert curves_of(found) == curves_of(expected)
    assert not list(found.rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_again_and_again_ends_with_the_same_bits(
    train_images: Path, tmp_path: Path, kind: str, precision: str
) -> None:
    words = ("train", f"--data_dir={train_images}", *SMALL, f"--precision={precision}", *KINDS[kind])
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    started = time.perf_counter()
    assert attempt(whole, words) == 0
    hits = run_with_kills(broken, words, (time.perf_counter() - started) / 2, seed=len(kind + precision))
    assert hits >= NUM_KILLS // 2  # the last ones may come too late
    assert_same_run(broken / "runs" / "exp", whole / "runs" / "exp")
    if kind == "early stopping":
        assert len(metrics_of(whole / "runs" / "exp")) < 12
