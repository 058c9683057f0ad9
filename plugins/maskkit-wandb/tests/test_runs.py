"""A real training that is killed, goes on, is interrupted, and goes on to its end: what W&B has of it in the end."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from maskkit_wandb.transaction_log import logs_of, read_history, read_records
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import STORE_EVERYTHING_SIZE_GUIDANCE, EventAccumulator
from wandb_server import serving

EPOCHS = 4
PATIENCE = 300  # seconds; machines may be busy
TIMES = {"run/seconds", "run/images_per_second"}
PLACES = {"epoch", "step"}

Curves = dict[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class Runner:
    """Starts `maskkit train` on small photos."""

    folder: Path
    environment: dict[str, str]

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "maskkit", "train", *words]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def processes(self) -> list[str]:
        """Return the commands of all living processes that this runner has started, by what they inherit."""
        return [" ".join(one.cmdline()) for one in psutil.process_iter() if self._is_ours(one)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("HOME") == self.environment["HOME"] and process.pid != os.getpid()
        except psutil.Error:
            return False


@dataclass(frozen=True)
class Story:
    """A run folder, what each of its three processes printed, and how each ended."""

    run_dir: Path
    printed: list[str]
    codes: list[int]


@pytest.fixture(scope="module")
def runner(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Runner:
    home = tmp_path_factory.mktemp("runner")
    return Runner(tmp_path_factory.mktemp("work"), environment | {"HOME": str(home)})


@pytest.fixture(scope="module")
def story(runner: Runner, train_images: Path) -> Story:
    """Killed once the first epoch is kept, and interrupted after the second."""
    flags = ["--resize=32", f"--epochs={EPOCHS}", "--num_workers=0", "--batch_size=8", "--log_interval=3"]
    options = json.dumps({"wandb": {"project": "masks", "tags": ["a", "b"]}, "tensorboard": {}})
    where = [f"--data_dir={train_images}", "--reporters=tensorboard,csv,wandb,console", f"--reporters_args={options}"]
    run_dir = runner.folder / "runs" / "exp"
    killed = runner.start(*flags, *where)
    wait_for(run_dir / "checkpoints" / "last.safetensors")
    killed.kill()
    ended = [finish(killed)]
    interrupted = runner.start(f"--resume={run_dir}")
    assert interrupted.stdout is not None
    begin = "".join(iter_until(interrupted.stdout, "epoch   2/"))
    interrupted.send_signal(signal.SIGINT)
    ended += [finish(interrupted), finish(runner.start(f"--resume={run_dir}"))]
    printed = [out + err for out, err, _ in ended]
    printed[1] = begin + printed[1]
    return Story(run_dir, printed, [code for _, _, code in ended])


def iter_until(lines: Iterable[str], beginning: str) -> Iterator[str]:
    for line in lines:
        yield line
        if line.startswith(beginning):
            return


def wait_for(path: Path) -> None:
    until = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.005)


def finish(process: subprocess.Popen[str]) -> tuple[str, str, int]:
    out, err = process.communicate(timeout=PATIENCE)
    return out, err, process.returncode


def history(run_dir: Path) -> list[dict[str, Any]]:
    return [row for log in logs_of(run_dir / "wandb") for row in read_history(log)]


def curves_of(rows: list[dict[str, Any]]) -> Curves:
    """Return the points of each curve over its own axis, doubled ones too."""
    found: Curves = {}
    for row in rows:
        if any(name.startswith("best/confusion") for name in row):
            continue
        place: int = row["step"] if "step" in row else row["epoch"]
        for name, value in row.items():
            if not name.startswith("_") and name not in PLACES:
                found.setdefault(name, []).append((place, value))
    return {name: sorted(points) for name, points in found.items()}


def read_tensorboard(run_dir: Path) -> EventAccumulator:
    return EventAccumulator(str(run_dir / "tensorboard"), size_guidance=STORE_EVERYTHING_SIZE_GUIDANCE).Reload()


def test_curves_are_those_of_tensorboard_with_each_point_once(story: Story) -> None:
    """TensorBoard's are cut back when a run goes on, and W&B takes nothing back."""
    assert story.codes == [-signal.SIGKILL, 130, 0], story.printed
    events = read_tensorboard(story.run_dir)
    expected = {
        name: sorted((one.step, one.value) for one in events.Scalars(name)) for name in events.Tags()["scalars"]
    }
    found = curves_of(history(story.run_dir))
    assert found.keys() == expected.keys()
    for name, points in expected.items():
        assert [place for place, _ in found[name]] == [place for place, _ in points], name
        if name not in TIMES:  # an epoch that is trained once more takes another time
            assert [value for _, value in found[name]] == pytest.approx([value for _, value in points], rel=1e-6), name


def test_figures_are_those_of_metrics_csv(story: Story) -> None:
    with (story.run_dir / "metrics.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    found = curves_of(history(story.run_dir))
    assert [int(row["epoch"]) for row in table] == list(range(EPOCHS))
    for column in ("train_loss", "valid_loss", "valid_f1_macro", "valid_age_accuracy"):
        values = [value for _, value in found[column.replace("_", "/", 1)]]
        assert values == pytest.approx([float(row[column]) for row in table], rel=1e-9)


def test_all_parts_are_one_run_whose_rows_are_counted_on(story: Story) -> None:
    logs = logs_of(story.run_dir / "wandb")
    runs = [record.run for log in logs for record in read_records(log) if record.WhichOneof("record_type") == "run"]
    assert 2 <= len(logs) == len(runs) <= 3  # of the killed one there may be nothing
    assert {(run.run_id, run.project, run.display_name) for run in runs} == {
        ((story.run_dir / "wandb" / "id").read_text(), "masks", "exp")
    }
    assert {tuple(run.tags) for run in runs} == {("a", "b")}
    steps = [row["_step"] for row in history(story.run_dir)]
    assert steps == sorted(set(steps))


def test_the_config_holds_the_flags_without_secrets(story: Story) -> None:
    log = logs_of(story.run_dir / "wandb")[-1]
    (run,) = (record.run for record in read_records(log) if record.WhichOneof("record_type") == "run")
    config = {one.key: json.loads(one.value_json) for one in run.config.update}
    flags = json.loads((story.run_dir / "config.json").read_text())
    assert config["batch_size"] == 8
    assert config["resize"] == [32, 32]
    assert "18 classes" in config["plan"]["learn"]
    assert "reporters_args" in json.dumps(flags)
    assert "reporters_args" not in config


def test_the_summary_and_the_images_are_those_of_the_best_epoch(story: Story) -> None:
    log = logs_of(story.run_dir / "wandb")[-1]
    records = list(read_records(log))
    summary: dict[str, Any] = {}
    for record in records:
        for one in record.summary.update:
            summary[one.key or ".".join(one.nested_key)] = json.loads(one.value_json)
    events = read_tensorboard(story.run_dir)
    for name in ("best/f1_macro", "best/accuracy", "best/loss"):
        assert summary[name] == pytest.approx(events.Scalars(name)[-1].value, rel=1e-6)
    assert [record.exit.exit_code for record in records if record.WhichOneof("record_type") == "exit"] == [0]
    for name in ("best/confusion", "best/mistakes"):
        (row,) = (row for row in read_history(log) if f"{name}.path" in row)
        (theirs,) = events.Images(name)
        assert row["epoch"] == theirs.step
        with (
            Image.open(log.parent / "files" / row[f"{name}.path"]) as mine,
            Image.open(io.BytesIO(theirs.encoded_image_string)) as other,
        ):
            assert np.array_equal(np.asarray(mine.convert("RGB")), np.asarray(other.convert("RGB")))


def test_the_interrupted_part_says_so(story: Story) -> None:
    codes = [
        [record.exit.exit_code for record in read_records(log) if record.WhichOneof("record_type") == "exit"]
        for log in logs_of(story.run_dir / "wandb")
    ]
    assert codes[-2:] == [[255], [0]]


def test_each_start_says_once_how_to_upload_and_nothing_else_is_printed(story: Story) -> None:
    for printed in story.printed[1:]:
        (line,) = (line for line in printed.splitlines() if "wandb" in line.lower())
        assert line.endswith(f"to upload it: wandb sync {story.run_dir / 'wandb'}")


@pytest.mark.usefixtures("story")
def test_no_process_is_left_and_all_files_lie_in_the_run_folder(runner: Runner) -> None:
    until = time.monotonic() + PATIENCE
    while runner.processes() and time.monotonic() < until:  # those of the killed one notice its end by looking
        time.sleep(0.1)
    assert runner.processes() == []
    assert [path.name for path in runner.folder.iterdir()] == ["runs"]


def test_a_server_gets_each_point_once_from_wandb_sync(story: Story, tmp_path: Path, runner: Runner) -> None:
    folder = tmp_path / "wandb"
    shutil.copytree(story.run_dir / "wandb", folder, symlinks=True)
    with serving() as server:
        key = {"WANDB_BASE_URL": server.address, "WANDB_API_KEY": "0" * 40}
        words = [sys.executable, "-m", "wandb", "sync", str(folder)]
        env = runner.environment | key
        subprocess.run(words, cwd=tmp_path, env=env, check=True, timeout=PATIENCE, capture_output=True)
        ((run_id, run),) = server.runs.items()
    assert run_id == (folder / "id").read_text()
    assert run.exit_codes[-1] == 0
    assert curves_of(run.history) == curves_of(history(story.run_dir))
    assert {name for name in run.files if name.startswith("media/images/best/confusion")}
