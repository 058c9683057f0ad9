"""`--profile` records whole steps, changes nothing of the run, and says when there was nothing to record."""

import json
from pathlib import Path

import pytest
from conftest import Runner, write_faces

from maskkit.engine.checkpoint import Checkpoint

pytestmark = pytest.mark.slow

SMALL = ("--resize=32", "--batch_size=8", "--num_workers=0", "--reporters=csv", "--eval_dir=none")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of 12 people: nine steps of eight an epoch."""
    return write_faces(tmp_path_factory.mktemp("faces") / "images", 12)


def test_five_steps_are_recorded_and_the_run_is_the_same(maskkit: Runner, images: Path, tmp_path: Path) -> None:
    words = ("train", f"--data_dir={images}", *SMALL, "--epochs=2")
    assert maskkit(*words, "--name=plain").code == 0
    done = maskkit(*words, "--name=profiled", "--profile")
    assert (done.code, done.err) == (0, "")
    folder = tmp_path / "runs" / "profiled" / "profile"
    assert "wrote runs/profiled/profile/trace.json, for https://ui.perfetto.dev" in done.out.splitlines()
    names = [event.get("name", "") for event in json.loads((folder / "trace.json").read_text())["traceEvents"]]
    steps = {name for name in names if name.startswith("ProfilerStep#")}
    assert steps == {f"ProfilerStep#{number}" for number in range(5, 10)}
    # As many in each of the five steps.
    convolutions = [name for name in names if name == "aten::convolution_backward"]
    assert convolutions
    assert len(convolutions) % 5 == 0
    assert "aten::convolution_backward" in (folder / "operations.txt").read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["operations.txt", "trace.json"]
    plain, profiled = (
        Checkpoint.load(tmp_path / "runs" / name / "checkpoints" / "best.safetensors").weights
        for name in ("plain", "profiled")
    )
    assert all(profiled[name].equal(value) for name, value in plain.items())


def test_a_run_that_is_too_short_says_so(maskkit: Runner, images: Path, tmp_path: Path) -> None:
    options = '--reporters_args={"profile": {"first": 12}}'
    done = maskkit("train", f"--data_dir={images}", *SMALL, "--epochs=1", "--profile", options)
    assert (done.code, done.err) == (0, "")
    assert "profile: nothing is recorded, since the run ended before step 12" in done.out
    assert not (tmp_path / "runs" / "exp" / "profile" / "trace.json").exists()


def test_steps_that_there_cannot_be_are_refused_before_the_run(maskkit: Runner, images: Path, tmp_path: Path) -> None:
    options = '--reporters_args={"profile": {"first": 1}}'
    done = maskkit("train", f"--data_dir={images}", *SMALL, "--profile", options)
    assert (done.code, done.out) == (2, "")
    assert "cannot record 5 steps from step 1 on\n  It takes first=2 or more, steps=1 or more." in done.err
    assert not (tmp_path / "runs").exists()
