"""Four processes on one study, on a real PostgreSQL and on SQLite: one is killed, no trial is lost or trained twice."""

import json
import re
from pathlib import Path

import optuna
import psutil
import pytest
from conftest import Start, ended, rows, wait_for
from maskkit_optuna.storage import open_storage
from optuna.trial import TrialState

pytestmark = pytest.mark.slow

TRIALS, WORKERS = 40, 4


def trainings(folder: Path) -> list[psutil.Process]:
    """Return the trainings that run in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and "train" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_four_workers_share_forty_trials_though_one_is_killed(tune: Start, database: str, tmp_path: Path) -> None:
    (tmp_path / "space.json").write_text(json.dumps({"lr": {"_type": "loguniform", "_value": [1e-4, 1e-2]}}))
    options = f"storage={database},study=forty,heartbeat=4"
    words = (f"--engine_args={options}", "--space=space.json", f"--trials={TRIALS}")
    workers = [tune(*words) for _ in range(WORKERS)]
    runs = tmp_path / "runs" / "forty"
    wait_for(lambda: len([*runs.glob("*/predictions/valid_soft.csv")]) >= 8)
    victim = workers.pop()
    (training,) = wait_for(lambda: psutil.Process(victim.pid).children())
    wait_for(lambda: "--name=" in " ".join(training.cmdline()))
    name = re.search(r"--name=(\S+)", " ".join(training.cmdline()))
    victim.kill()
    wait_for(lambda: not training.is_running() or training.status() == psutil.STATUS_ZOMBIE, 30)
    printed = [ended(worker) for worker in workers]

    study = optuna.load_study(study_name="forty", storage=open_storage(database))
    done = [trial for trial in study.trials if trial.state is TrialState.COMPLETE]
    lost = [trial for trial in study.trials if trial.state is TrialState.FAIL and "is_surplus" not in trial.user_attrs]
    surplus = [trial for trial in study.trials if "is_surplus" in trial.user_attrs]
    assert len(done) == TRIALS
    assert len(lost) == 1, "the trial of the worker that was killed"
    assert len(study.trials) == TRIALS + len(lost) + len(surplus)
    assert len(surplus) < WORKERS
    assert name is not None
    again = [trial for trial in done if trial.system_attrs.get("failed_trial") == lost[0].number]
    assert [f"exp-{trial.system_attrs['failed_trial']}" for trial in again] == [name[1]]
    assert again[0].params == lost[0].params

    folders = sorted(path.name for path in runs.glob("exp-*") if path.is_dir())
    assert len(folders) == TRIALS, "each trial has one run folder, also the one that began again"
    assert [len(rows(runs / folder / "metrics.csv")) for folder in folders] == [1] * TRIALS
    for told in printed:
        assert f"{TRIALS} succeeded" in told
    table = rows(runs / "trials.csv")
    assert [(row["number"], row["status"]) for row in table] == [(str(n), "SUCCEEDED") for n in range(TRIALS)]
    assert len({row["lr"] for row in table}) == TRIALS
    assert trainings(tmp_path) == []
