"""`torchrun -m maskkit train`: several processes take the steps of one, and torchrun may begin them again."""

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
import torch
from conftest import ROOT, Runner, run, write_faces
from forked import Outcome
from safetensors.torch import load_file
from searches import rows
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

EXAMPLES = ROOT / "examples" / "torchrun"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
# Five and seven do not divide the images: 48 are trained on when 3 people of 12 are held out, and 16 predicted.
QUICK = (
    "--resize=32",
    "--device=cpu",
    "--precision=fp32",
    "--num_workers=0",
    "--valid_batch_size=5",
    "--log_interval=1",
)
RECIPES = (  # that change what is drawn, which gradients there are, or what is kept of the weights
    "--balance=person_age",
    "--oversample_old=2",
    "--mix=cutmix",
    "--mix_probability=0.5",
    "--label_smoothing=0.1",
    "--ema_decay=0.9",
    "--freeze_epochs=1",
    "--first_layer_lr=0.2",
    "--resize_from=24",
)
STILL = ("--model_args=dropout=0", "--optimizer=SGD", "--lr=0.05")  # nothing that each process draws for itself

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_faces(folder / "train" / "images", 12)
    (folder / "eval" / "images").mkdir(parents=True)
    for number, path in enumerate(sorted((folder / "train" / "images").glob("*/mask[12].png"))[:16]):
        (folder / "eval" / "images" / f"{number}.png").write_bytes(path.read_bytes())
    return folder / "train" / "images"


class Launcher:
    """Runs maskkit in several processes by the real torchrun."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        scripts = sysconfig.get_path("scripts")
        self.environment = environment | {"PATH": f"{scripts}{os.pathsep}{environment['PATH']}"}
        self.folder = folder

    def __call__(self, num_processes: int, *words: str | Path) -> Outcome:
        return run(*self.line(f"--nproc-per-node={num_processes}"), *words, cwd=self.folder, env=self.environment)

    def line(self, *flags: str) -> list[str]:
        return [*TORCHRUN, *flags, "-m", "maskkit"]

    def begin(self, log: Path, line: Sequence[str | Path]) -> "subprocess.Popen[bytes]":
        with log.open("w") as out:
            return subprocess.Popen(line, cwd=self.folder, env=self.environment, stdout=out, stderr=subprocess.STDOUT)


@pytest.fixture
def torchrun(environment: dict[str, str], tmp_path: Path) -> Launcher:
    return Launcher(environment, tmp_path)


def step_losses(run_dir: Path) -> list[float]:
    events = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return [point.value for point in events.Scalars("step/loss")]


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for name, tensor in load_file(run_dir / "checkpoints" / "last.safetensors").items()
        if name.startswith(("model.", "averages.")) and tensor.is_floating_point() and "running_" not in name
    }


def metrics(run_dir: Path) -> list[dict[str, str]]:
    clocks = {"seconds", "images_per_second"}
    return [{name: value for name, value in row.items() if name not in clocks} for row in rows(run_dir / "metrics.csv")]


@pytest.mark.parametrize(
    ("num_processes", "flags"),
    [(2, ["--criterion=cross_entropy+focal", *RECIPES]), (4, ["--criterion=label_smoothing"])],
)
def test_several_processes_take_the_steps_of_one(
    maskkit: Runner, torchrun: Launcher, data: Path, num_processes: int, flags: list[str]
) -> None:
    words = ["train", f"--data_dir={data}", *QUICK, *STILL, "--epochs=2", "--batch_size=4", *flags]
    words += ["--augmentation=AffineAugmentation", "--reporters=tensorboard,csv", "--clip_norm=1"]
    one = maskkit(*words, f"--accumulate={num_processes}", "--name=one")
    assert one.code == 0, one.err
    several = torchrun(num_processes, *words, "--name=several")
    assert several.code == 0, several.err
    assert several.out.count("wrote runs/several/predictions/valid_soft.csv") == 1, "one process speaks for all"
    runs = torchrun.folder / "runs"
    single, joint = runs / "one", runs / "several"
    losses, joint_losses = step_losses(single), step_losses(joint)
    assert len(losses) == len(joint_losses) >= 8
    assert joint_losses == pytest.approx(losses, abs=1e-5)
    expected, found = weights(single), weights(joint)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.allclose(found[name], tensor, atol=1e-5, rtol=0), name
    for before, after in zip(metrics(single), metrics(joint), strict=True):
        assert float(after["train_loss"]) == pytest.approx(float(before["train_loss"]), abs=1e-5)
        assert float(after["train_accuracy"]) == pytest.approx(float(before["train_accuracy"]), abs=1e-9)
    assert sorted(path.name for path in runs.iterdir()) == ["one", "several"]


def test_predictions_do_not_depend_on_the_number_of_processes(
    maskkit: Runner, torchrun: Launcher, data: Path, tmp_path: Path
) -> None:
    """Of every image in a set that three processes cannot share evenly, held out or to predict."""
    words = [f"--data_dir={data}", *QUICK, "--epochs=1", "--batch_size=8", "--reporters=csv"]
    trained = torchrun(3, "train", *words, "--folds=3")
    assert trained.code == 0, trained.err
    whole = tmp_path / "runs" / "exp"
    again = torchrun(3, "predict", whole, "--out=three", "--batch_size=5", "--device=cpu")
    assert again.code == 0, again.err
    assert again.out.count("16 images predicted by the mean of the 3 folds") == 1
    alone = maskkit("predict", whole, "--out=one", "--batch_size=5", "--device=cpu")
    assert alone.code == 0, alone.err
    for name in ("eval_soft.csv", "eval_hard.csv"):
        assert (tmp_path / "three" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()

    # Whoever goes on alone with the last checkpoints finds nothing to train, and predicts the held-out images anew.
    written = {path: path.read_bytes() for path in whole.rglob("*_soft.csv")}
    assert {path.name for path in written} == {"oof_soft.csv", "valid_soft.csv", "eval_soft.csv"}
    for path in written:
        path.unlink()
    resumed = maskkit("train", f"--resume={whole}")
    assert resumed.code == 0, resumed.err
    assert {path: path.read_bytes() for path in written} == written


def waited_for(process: "subprocess.Popen[bytes]", log: Path, text: str, seconds: float = 200) -> None:
    """Wait until a log holds a text."""
    deadline = time.monotonic() + seconds
    while text not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def workers(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return [one for one in psutil.Process(process.pid).children() if "maskkit" in one.cmdline()]


def assert_one_run_of(folder: Path, epochs: int) -> dict[str, list[dict[str, str]]]:
    """Return the rows of the tables of the only run, whose curves have every epoch and every step once."""
    (run_dir,) = (folder / "runs").iterdir()
    table = metrics(run_dir)
    assert [row["epoch"] for row in table] == [str(epoch) for epoch in range(epochs)]
    events = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    steps = [point.step for point in events.Scalars("step/loss")]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) % epochs == 0
    assert [point.step for point in events.Scalars("valid/f1_macro")] == list(range(epochs))
    return {"metrics": table, "valid": rows(run_dir / "predictions" / "valid_soft.csv")}


def test_a_process_killed_in_an_epoch_comes_back_and_the_run_is_the_same(
    torchrun: Launcher, data: Path, tmp_path: Path
) -> None:
    words = ["train", f"--data_dir={data}", *QUICK, "--epochs=6", "--batch_size=2", "--eval_dir=none"]
    words += ["--reporters=console,csv,tensorboard"]
    whole = Launcher(torchrun.environment, tmp_path / "whole")
    whole.folder.mkdir()
    undisturbed = whole(2, *words)
    assert undisturbed.code == 0, undisturbed.err
    log = tmp_path / "log"
    process = torchrun.begin(log, [*torchrun.line("--nproc-per-node=2", "--max-restarts=3"), *words])
    try:
        waited_for(process, log, "epoch   2/6")
        ranks = {one.environ()["RANK"]: one for one in workers(process)}
        ranks["0"].send_signal(signal.SIGKILL)
        assert process.wait(200) == 0, log.read_text()
    finally:
        process.kill()
    text = log.read_text()
    assert "torchrun begins again: going on with runs/exp" in text
    assert "Traceback" not in text
    assert assert_one_run_of(tmp_path / "whole", 6) == assert_one_run_of(tmp_path, 6)
    decisions = json.loads((tmp_path / "runs" / "exp" / "config.json").read_text())["decisions"]
    assert decisions["num_processes"] == 2
    assert len(decisions["resumed_after"]) >= 1


def test_a_machine_leaves_and_comes_back(torchrun: Launcher, data: Path, tmp_path: Path) -> None:
    """Two torchruns meet by a real rendezvous; while one is away, the other takes the same steps alone."""
    words = [f"--data_dir={data}", *QUICK, *STILL, "--epochs=60", "--batch_size=2", "--eval_dir=none"]
    words += ["--reporters=console,csv,tensorboard"]
    port = free_port()
    torchrun.environment |= {"NODES": "1:2", "PROCESSES": "1", "JOB": "exam", "LAST_CALL": "2"}
    line: list[str | Path] = ["sh", EXAMPLES / "two_nodes.sh", f"localhost:{port}", *words]
    logs = [tmp_path / name for name in ("stays", "leaves", "returns")]
    stays = torchrun.begin(logs[0], line)
    while not listens(port):  # so that it is the one where the others meet
        assert stays.poll() is None, logs[0].read_text()
        time.sleep(0.1)
    others = [torchrun.begin(logs[1], line)]
    try:
        waited_for(stays, logs[0], "epoch   2/60")
        assert "2 processes, cpu" in logs[0].read_text()
        others[0].send_signal(signal.SIGTERM)
        waited_for(stays, logs[0], "2 of them a step")
        others.append(torchrun.begin(logs[2], line))
        assert stays.wait(300) == 0, logs[0].read_text()
        assert others[1].wait(60) == 0, logs[2].read_text()
    finally:
        for process in (stays, *others):
            process.kill()
    told = logs[0].read_text()
    assert told.count("torchrun begins again: going on with runs/exp") == 2
    assert told.count("2 processes, cpu") == 2
    assert_one_run_of(tmp_path, 60)
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert json.loads((run_dir / "config.json").read_text())["decisions"]["num_processes"] == 2


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_script_for_slurm_can_be_read_by_its_shell() -> None:
    assert run("bash", "-n", EXAMPLES / "slurm.sbatch").code == 0


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        ("--modle=BaseModel", "error: unknown flag --modle"),
        ("--lr=1e38", "error: no epoch has a validation macro F1"),
    ],
)
def test_one_process_tells_of_an_error_of_all(torchrun: Launcher, data: Path, faulty: str, message: str) -> None:
    outcome = torchrun(2, "train", f"--data_dir={data}", *QUICK, "--epochs=1", "--optimizer=SGD", faulty)
    assert outcome.code == 1, "torchrun's own"
    assert outcome.err.count("error: ") == 1, outcome.err
    assert message in outcome.err


def test_other_processes_go_on_with_the_same_steps(
    maskkit: Runner, torchrun: Launcher, data: Path, tmp_path: Path
) -> None:
    words = ["train", f"--data_dir={data}", *QUICK, *STILL, "--eval_dir=none", "--batch_size=2", "--reporters=csv"]
    assert maskkit(*words, "--epochs=2", "--accumulate=4", "--name=alone").code == 0
    first = maskkit(*words, "--epochs=1", "--accumulate=4", "--name=shared")
    assert first.code == 0, first.err
    shared = tmp_path / "runs" / "shared"
    resumed = torchrun(2, "train", f"--resume={shared}", "--epochs=2")
    assert resumed.code == 0, resumed.err
    assert json.loads((shared / "config.json").read_text())["values"]["accumulate"] == 2
    expected, found = weights(tmp_path / "runs" / "alone"), weights(shared)
    for name, tensor in expected.items():
        assert torch.allclose(found[name], tensor, atol=1e-5, rtol=0), name
