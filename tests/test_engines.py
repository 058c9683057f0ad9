"""Engines of searches: which there are, what is said where one is not, and the one that trains on this machine."""

import json
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import psutil
import pytest
from conftest import ROOT, Runner, write_faces
from experiments import wait_for
from searches import rows

from maskkit import LocalExperiment, LocalTraining, Search
from maskkit.config import TuneConfig
from maskkit.errors import CheckpointError
from maskkit.tuning.trials import Trial


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--engine=optuna"], "unknown tuner 'optuna'\n  Type: pip install maskkit-optuna\n  Valid: nni."),
        (["--engine=nnni"], "unknown tuner 'nnni'\n  Did you mean nni?"),
        (
            ["--tuner=Hyperban"],
            "--engine=nni has no tuner 'Hyperban'\n  Did you mean Hyperband?\n  Valid: TPE, Random,",
        ),
        (["--engine_args=port=80"], "tuner nni refuses its options port=80: port must be from 1024 to 65534"),
        (["--engine_args=page=80"], "tuner nni has no option 'page'\n  It takes: remote, port, expose."),
        (["--resume=x", "--engine=builtin:nni"], "it cannot take --engine"),
    ],
)
def test_an_engine_that_does_not_fit_is_refused_and_told_what_does(
    maskkit: Runner, words: list[str], sentence: str
) -> None:
    done = maskkit("tune", *words)
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err


def search_of(folder: Path, *, trials: int, epochs: int, concurrency: int = 1) -> Search:
    fixed: dict[str, Any] = {
        "data_dir": folder / "images",
        "model_dir": folder / "runs",
        "epochs": epochs,
        "resize": (16, 16),
        "batch_size": 16,
        "classification": "mask",
        "num_workers": 0,
        "reporters": ("csv",),
    }
    config = TuneConfig(trials=trials, concurrency=concurrency, **fixed)
    return Search(config, tuple(fixed), {"lr": {"_type": "choice", "_value": [1e-3]}}, "Random")


def choose(number: int, _: object) -> dict[str, float] | None:
    return {"lr": 0.001 * (number + 1)} if number < 3 else None


def to_the_end(experiment: LocalExperiment) -> list[Trial]:
    while experiment.advance():
        time.sleep(0.2)
    experiment.stop()
    return list(experiment.trials())


STARTER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_engines import choose, search_of
from maskkit import LocalExperiment

experiment = LocalExperiment(search_of(Path({folder!r}), trials=2, epochs=60, concurrency=2), choose)
print(experiment.id, flush=True)
while experiment.advance():
    time.sleep(0.1)
"""


@pytest.mark.slow
def test_trainings_end_with_the_process_that_started_them_and_go_on_with_another(tmp_path: Path) -> None:
    write_faces(tmp_path / "images", 12)
    code = STARTER.format(tests=str(ROOT / "tests"), folder=str(tmp_path))
    with Popen([sys.executable, "-c", code], stdout=PIPE, text=True) as starter:
        assert starter.stdout is not None
        name = starter.stdout.readline().strip()
        folder = tmp_path / "runs" / name
        tables = [folder / f"exp-{number}" / "metrics.csv" for number in range(2)]
        wait_for(lambda: all(table.exists() and len(rows(table)) >= 2 for table in tables))
        trainings = psutil.Process(starter.pid).children()
        assert len(trainings) == 2
        starter.kill()
    gone, alive = psutil.wait_procs(trainings, timeout=30)
    assert (len(gone), alive) == (2, [])

    trials = to_the_end(LocalExperiment(search_of(tmp_path, trials=2, epochs=60, concurrency=2), choose, name))
    assert [(trial.status, len(trial.scores), trial.flags) for trial in trials] == [
        ("SUCCEEDED", 60, {"lr": 0.001}),
        ("SUCCEEDED", 60, {"lr": 0.002}),
    ]
    assert [[row["epoch"] for row in rows(table)] for table in tables] == [[str(epoch) for epoch in range(60)]] * 2
    assert "going on with epoch" in (folder / "exp-0.log").read_text() or len(rows(tables[0])) == 60


@pytest.mark.slow
def test_a_training_that_fails_says_why_and_what_is_not_chosen_any_more_ends_the_search(tmp_path: Path) -> None:
    write_faces(tmp_path / "images", 12)
    search = search_of(tmp_path, trials=9, epochs=1)

    def once_badly(number: int, trials: object) -> dict[str, float] | None:
        return {"lr": 1e30} if number == 0 else choose(number + 1, trials)

    experiment = LocalExperiment(search, once_badly)
    trials = to_the_end(experiment)
    assert [trial.status for trial in trials] == ["FAILED", "SUCCEEDED"]
    assert experiment.error_of(trials[0]).startswith("error: the loss became nan")
    again = LocalExperiment(search, once_badly, experiment.id)
    assert not again.advance()
    assert list(again.trials()) == trials
    (tmp_path / "runs" / experiment.id / "trials.json").write_text(json.dumps([{"id": 1}]))
    with pytest.raises(CheckpointError, match=r"trials\.json is damaged"):
        LocalExperiment(search, once_badly, experiment.id)


def test_of_several_gpus_each_training_has_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: a'\necho 'GPU 1: b'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    search = search_of(tmp_path, trials=3, epochs=1)
    trainings = [LocalTraining.start(search, "gpus", str(slot), {}, slot=slot) for slot in range(3)]
    seen = [psutil.Process(training.process.pid).environ().get("CUDA_VISIBLE_DEVICES") for training in trainings]
    LocalTraining.end(trainings)
    assert seen == ["0", "1", "0"]
