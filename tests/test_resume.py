"""A run that was killed at any moment goes on to the same bits, and refuses what would make it another run."""

import json
import os
import random
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Runner, write_faces
from forked import run_forked
from resumed import RECIPES, SMALL, assert_same_run, attempt, curves_of, done_of, log_of, metrics_of, resume

NUM_KILLS = 10
KINDS = {
    "plain": "--epochs=12 --scheduler=cosine --augmentation=GaussianAugmentation --model_args=dropout=0.5 --mix=cutmix",
    "accumulation": "--epochs=12 --accumulate=2 --batch_size=16 --scheduler=warm_restarts --optimizer=SGD --lr=0.02",
    "early stopping": "--epochs=40 --patience=7 --lr=0.02 --scheduler=plateau --clip_norm=1 --mix=half_face",
    "multihead": "--epochs=12 --classification=multihead --optimizer=AdamW --criterion=focal --scheduler=StepLR",
    "every recipe": f"--epochs=12 {' '.join(RECIPES.values())}",
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of 30 people."""
    return write_faces(tmp_path_factory.mktemp("faces") / "images", people=30)


def run_with_kills(place: Path, words: tuple[str, ...], seconds: float, seed: int) -> None:
    """Kill a run ten times, in turn within some seconds and in a write to disk, resume it each time, and let it end.

    On a machine whose speed changes, the last kills may come too late.
    """
    draws = random.Random(seed)
    place.mkdir()
    command = words
    for number in range(NUM_KILLS):
        if number % 2:
            code = attempt(place, command, fatal_write=draws.randint(1, 8))
        else:
            code = attempt(place, command, seconds=draws.uniform(0, seconds))
        if code == 0 and number > NUM_KILLS // 2:
            break
        assert code == -signal.SIGKILL, log_of(place)
        is_begun = (place / "runs" / "exp" / "config.json").exists()
        command = ("train", "--resume=runs/exp") if is_begun else words
        if not is_begun:
            shutil.rmtree(place / "runs", ignore_errors=True)
    assert attempt(place, command) == 0, log_of(place)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "precision"), [*((kind, "fp32") for kind in KINDS), ("plain", "bf16"), ("every recipe", "bf16")]
)
def test_a_run_killed_again_and_again_ends_with_the_same_bits(
    faces: Path, tmp_path: Path, kind: str, precision: str
) -> None:
    words = ("train", f"--data_dir={faces}", *SMALL, f"--precision={precision}", *KINDS[kind].split())
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    run_forked(whole, "version", env=os.environ)  # the server is up
    started = time.perf_counter()
    assert attempt(whole, words) == 0, log_of(whole)
    run_with_kills(broken, words, (time.perf_counter() - started) / 10, seed=len(kind + precision))
    assert_same_run(broken / "runs" / "exp", whole / "runs" / "exp")
    if kind == "early stopping":
        assert len(metrics_of(whole / "runs" / "exp")) < 40


@pytest.fixture
def stopped(faces: Path, tmp_path: Path) -> Path:
    """The folder in which a run was killed in the last checkpoint of its third epoch of six."""
    # Two for each file: config.json and samples.csv, then best and last of each epoch; all of them are better.
    words = ("train", f"--data_dir={faces}", *SMALL, "--epochs=6", "--scheduler=cosine", "--lr=3e-4")
    assert attempt(tmp_path, words, fatal_write=2 * (2 + 2 * 3) - 1) == -signal.SIGKILL
    assert done_of(tmp_path) == 2
    return tmp_path


def snapshot(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


REFUSED = {
    "a flag of its own": (["--lr=0.1", "--model=BaseModel"], "it cannot take --model, --lr\n  It takes --epochs"),
    "fewer epochs than done": (["--epochs=1"], "--epochs=1: runs/exp has 2 epochs behind it already"),
    "another precision by itself": (["--precision=fp16"], "--precision=fp16 needs a GPU"),
}


@pytest.mark.slow
def test_what_would_make_it_another_run_is_refused_and_changes_nothing(stopped: Path, faces: Path) -> None:
    run = stopped / "runs" / "exp"
    for leftover in run.rglob("*.tmp"):
        leftover.unlink()
    before = snapshot(run)
    for words, text in REFUSED.values():
        said = resume(stopped, *words)
        assert text in said
        assert "Traceback" not in said
    (stopped / "plain.json").write_text('{"epochs": 9}', encoding="utf-8")
    assert "--resume=runs/exp and --config=plain.json exclude each other" in resume(stopped, "--config=plain.json")
    other = stopped / "other"
    shutil.copytree(faces, other)
    (other / "000000_male_Asian_20").rename(other / "000000_male_Asian_40")
    said = resume(stopped, f"--data_dir={other}")
    assert "the data are not those that runs/exp began with: " in said
    assert "000000_male_Asian_40/mask1.png" in said
    assert "exit code 1" in said
    assert snapshot(run) == before


@pytest.mark.slow
def test_other_reporters_may_hear_of_the_rest(stopped: Path) -> None:
    config = json.loads((stopped / "runs" / "exp" / "config.json").read_text(encoding="utf-8"))
    config["values"]["reporters_args"] = {"tensorboard": {}}
    (stopped / "runs" / "exp" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    said = resume(stopped, "--reporters=console")
    assert said.startswith("exit code 0"), said
    config = json.loads((stopped / "runs" / "exp" / "config.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in config["reporters"]] == ["console"]
    assert config["origins"]["reporters"] == "flag, on resuming"


@pytest.mark.slow
def test_data_that_moved_are_found_again_where_the_flag_says(stopped: Path, faces: Path, tmp_path: Path) -> None:
    shutil.copytree(faces, tmp_path / "moved")
    said = resume(stopped, f"--data_dir={tmp_path / 'moved'}")
    assert said.startswith("exit code 0")
    config = json.loads((stopped / "runs" / "exp" / "config.json").read_text(encoding="utf-8"))
    assert config["values"]["data_dir"] == str(tmp_path / "moved")
    assert config["origins"]["data_dir"] == "flag, on resuming"
    assert config["decisions"]["resumed_after"] == [2]


@pytest.mark.slow
def test_depthwise_convolutions_go_on_to_the_same_bits_in_bf16(faces: Path, tmp_path: Path) -> None:
    flags = ("--model=Efficientnet_b0", "--pretrained=false", "--epochs=2", "--precision=bf16")
    words = ("train", f"--data_dir={faces}", *SMALL, *flags)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    assert attempt(whole, words) == 0, log_of(whole)
    assert attempt(broken, words, fatal_write=2 * (2 + 2) + 1) == -signal.SIGKILL  # in the second epoch
    assert done_of(broken) == 1
    assert resume(broken).startswith("exit code 0")
    assert_same_run(broken / "runs" / "exp", whole / "runs" / "exp")


@pytest.mark.slow
def test_what_a_probe_found_at_the_start_holds_to_the_end(faces: Path, tmp_path: Path) -> None:
    """Whatever it would find on the day of resuming; in another format it is asked anew."""

    def decided() -> dict[str, Any]:
        decisions: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))["decisions"]
        return decisions

    record = tmp_path / "runs" / "exp" / "config.json"
    assert attempt(tmp_path, ("train", f"--data_dir={faces}", *SMALL, "--epochs=1", "--precision=bf16")) == 0
    found = decided()["depthwise_by_detours"]
    for number, other in enumerate((True, False), start=2):
        content = json.loads(record.read_text(encoding="utf-8"))
        content["decisions"]["depthwise_by_detours"] = other
        record.write_text(json.dumps(content), encoding="utf-8")
        resume(tmp_path, f"--epochs={number}")
        assert decided()["depthwise_by_detours"] is other
    resume(tmp_path, "--epochs=4", "--precision=fp32")
    assert not decided()["depthwise_by_detours"]
    resume(tmp_path, "--epochs=5", "--precision=bf16")
    assert decided()["depthwise_by_detours"] is found


@pytest.mark.slow
def test_more_epochs_go_on_along_the_schedule_of_a_run_that_long(stopped: Path) -> None:
    """A cosine over 9 epochs, of which the first two were trained along one over 6; the second try knows of 9 too."""
    longer = ("train", "--resume=runs/exp", "--epochs=9")
    assert attempt(stopped, longer, fatal_write=5) == -signal.SIGKILL  # after config.json, before any checkpoint
    assert resume(stopped).startswith("exit code 0")
    metrics = metrics_of(stopped / "runs" / "exp")
    assert [int(row["epoch"]) for row in metrics] == list(range(9))
    rates = [float(row["lr"]) for row in metrics[2:]]
    assert rates == pytest.approx([3e-4 * (1 + np.cos(np.pi * epoch / 9)) / 2 for epoch in range(2, 9)], rel=1e-6)


@pytest.mark.slow
def test_a_run_that_is_done_only_predicts_again(stopped: Path) -> None:
    assert resume(stopped).startswith("exit code 0")
    run = stopped / "runs" / "exp"
    metrics, curves = metrics_of(run), curves_of(run)
    weights = {path: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    (run / "predictions" / "valid_soft.csv").unlink()
    said = resume(stopped)
    assert "steps each; all are done" in said
    assert "wrote runs/exp/predictions/valid_soft.csv" in said
    assert (metrics_of(run), curves_of(run)) == (metrics, curves)
    assert {path: path.read_bytes() for path in (run / "checkpoints").iterdir()} == weights


@pytest.mark.slow
def test_a_run_that_stopped_early_goes_on_only_with_more_patience(faces: Path, tmp_path: Path) -> None:
    words = ("train", f"--data_dir={faces}", *SMALL, "--epochs=9", "--patience=1", "--lr=1e-30")
    assert attempt(tmp_path, words) == 0
    run = tmp_path / "runs" / "exp"
    num_epochs = len(metrics_of(run))
    assert num_epochs < 9
    said = resume(tmp_path, "--epochs=12")
    assert "runs/exp stopped early: 1 epochs brought nothing better" in said
    assert "--patience=0" in said
    assert resume(tmp_path, f"--epochs={num_epochs + 2}", "--patience=0").startswith("exit code 0")
    assert len(metrics_of(run)) == num_epochs + 2


@pytest.mark.slow
def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    assert "runs/exp/config.json cannot be read" in resume(tmp_path)
    run = tmp_path / "runs" / "exp"
    run.mkdir(parents=True)
    for text in ("", "[]", "{}", '{"values": {"epochs": "many"}}', '{"values": {}, "origins": {}}'):
        (run / "config.json").write_text(text, encoding="utf-8")
        said = resume(tmp_path)
        assert said.startswith("exit code 1\nerror: --resume=runs/exp: runs/exp/config.json is damaged")


@pytest.mark.slow
def test_a_checkpoint_of_weights_alone_is_refused(stopped: Path) -> None:
    checkpoints = stopped / "runs" / "exp" / "checkpoints"
    shutil.copy(checkpoints / "best.safetensors", checkpoints / "last.safetensors")
    said = resume(stopped)
    assert "exit code 1" in said
    assert "no run can go on from runs/exp/checkpoints/last.safetensors: it lacks 'progress'" in said


@contextmanager
def running(environment: dict[str, str], place: Path, *words: str | Path) -> Iterator["subprocess.Popen[str]"]:
    """Start the installed command in a session of its own, and yield it when its second epoch is done."""
    command = Path(sysconfig.get_path("scripts")) / "maskkit"
    with subprocess.Popen(
        [str(command), *map(str, words)],
        cwd=place,
        env=environment | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert any(line.startswith("epoch   2/") for line in process.stdout)
            yield process
        finally:
            process.kill()


def processes_of_session(session: int) -> list[int]:
    found = subprocess.run(
        ["/bin/ps", "-o", "pid=", "--sid", str(session)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in found.stdout.split()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "ending",
    [
        (os.kill, signal.SIGTERM, 143, "terminated"),
        (os.killpg, signal.SIGTERM, 143, "terminated"),  # as a scheduler of jobs does
        (os.killpg, signal.SIGINT, 130, "interrupted"),  # as a terminal does
    ],
)
def test_a_signal_ends_a_run_cleanly_and_tells_how_to_go_on(
    environment: dict[str, str],
    faces: Path,
    tmp_path: Path,
    ending: tuple[Callable[[int, int], None], signal.Signals, int, str],
) -> None:
    send, sign, code, text = ending
    words = ("train", f"--data_dir={faces}", "--resize=32", "--num_workers=1", "--epochs=500")
    with running(environment, tmp_path, *words) as process:
        busy = run_forked(tmp_path, "train", "--resume=runs/exp", env=environment)
        assert (busy.code, busy.err.splitlines()[0]) == (1, "error: another process is training in runs/exp")
        send(process.pid, sign)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err == f"{text}\n  to go on: maskkit train --resume=runs/exp\n"
    assert not processes_of_session(process.pid)
    done = done_of(tmp_path)
    assert [int(row["epoch"]) for row in metrics_of(tmp_path / "runs" / "exp")][:done] == list(range(done))
    assert resume(tmp_path, f"--epochs={done + 1}").startswith("exit code 0")
    assert len(metrics_of(tmp_path / "runs" / "exp")) == done + 1


@pytest.mark.slow
def test_two_runs_of_one_name_at_once_get_two_folders(
    environment: dict[str, str], maskkit: Runner, faces: Path, tmp_path: Path
) -> None:
    words = ("train", f"--data_dir={faces}", "--resize=16", "--num_workers=0")
    with running(environment, tmp_path, *words, "--epochs=500"):
        assert maskkit(*words, "--epochs=1").code == 0
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"exp", "exp-2"}
