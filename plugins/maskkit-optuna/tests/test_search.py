"""`maskkit tune --engine=optuna` as a person uses it: it repeats, goes on after any end, prunes, and tells the best."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from sqlite3 import connect
from typing import Any

import psutil
import pytest
from conftest import Start, ended, rows, wait_for
from maskkit_optuna import grid

pytestmark = pytest.mark.slow

RATES = {"lr": {"_type": "choice", "_value": [1e-9, 0.003]}}


def write_space(folder: Path, space: dict[str, Any]) -> str:
    (folder / "space.json").write_text(json.dumps(space), encoding="utf-8")
    return "--space=space.json"


def without_times(path: Path) -> list[dict[str, str]]:
    return [{name: cell for name, cell in row.items() if name != "seconds"} for row in rows(path)]


def has_rows(path: Path, least: int) -> bool:
    return path.exists() and len(rows(path)) >= least


def told(process: "subprocess.Popen[str]", pattern: str) -> str:
    """Read what a search prints until a line matches, and return the match's first group."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError(f"it ended without {pattern}: {process.communicate()}")


def test_the_same_seed_gives_the_same_trials(tune: Start, tmp_path: Path) -> None:
    write_space(
        tmp_path,
        {"lr": {"_type": "loguniform", "_value": [1e-4, 1e-2]}, "seed": {"_type": "randint", "_value": [0, 9]}},
    )
    tables = []
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        options = f"--engine_args=study={name},seed={seed}"
        ended(tune("--space=space.json", options, "--trials=2", f"--model_dir={name}"))
        tables.append(without_times(tmp_path / name / name / "trials.csv"))
    assert tables[0] == tables[1]
    assert {row["status"] for row in tables[0]} == {"SUCCEEDED"}
    assert [row["lr"] for row in tables[2]] != [row["lr"] for row in tables[0]]


def test_a_search_goes_on_after_ctrl_c_and_after_a_power_cut(tune: Start, tmp_path: Path) -> None:
    first = tune(write_space(tmp_path, RATES), "--tuner=Grid", "--epochs=40", "--engine_args=heartbeat=2")
    name = told(first, r"^experiment (\w+): 20 trials, Grid")
    folder = tmp_path / "runs" / name
    metrics = folder / "exp-0" / "metrics.csv"
    wait_for(lambda: has_rows(metrics, 2))
    first.send_signal(signal.SIGINT)
    time.sleep(0.2)
    first.send_signal(signal.SIGINT)  # once more, by somebody impatient
    _, err = first.communicate(timeout=60)
    assert first.returncode == 130
    assert f"maskkit tune --resume={name}" in err
    assert [process for process in psutil.process_iter(["cmdline"]) if f"runs/{name}" in str(process.info)] == []
    before = len(rows(metrics))

    second = tune(f"--resume={name}", is_resume=True)
    wait_for(lambda: len(rows(metrics)) > before + 1)
    second.kill()
    out = ended(tune(f"--resume={name}", is_resume=True))
    assert "2 succeeded" in out
    assert "the space has no more choices than these" in out
    table = rows(folder / "trials.csv")
    assert {float(row["lr"]) for row in table} == {1e-9, 0.003}
    assert [(row["number"], row["status"], row["epochs"]) for row in table] == [
        (number, "SUCCEEDED", "40") for number in "01"
    ]
    assert [row["epoch"] for row in rows(metrics)] == [str(epoch) for epoch in range(40)]
    runs = {path.name for path in folder.glob("exp-*") if path.is_dir()}
    assert runs == {f"exp-{row['trial']}" for row in table}
    assert (folder / "trials.png").read_bytes().startswith(b"\x89PNG")
    best = out.splitlines()[-1]
    assert best.startswith("maskkit train ")
    assert "--lr=0.003" in best
    stamp = metrics.stat().st_mtime_ns
    again = ended(tune(f"--resume={name}", "--trials=20", is_resume=True), 120)
    assert "2 succeeded" in again
    assert metrics.stat().st_mtime_ns == stamp
    repeated = subprocess.run(
        [sys.executable, "-m", *shlex.split(best), "--model_dir=again"], cwd=tmp_path, capture_output=True, check=False
    )
    assert repeated.returncode == 0, repeated.stderr
    scores = [float(row["valid_f1_macro"]) for row in rows(tmp_path / "again" / "exp" / "metrics.csv")]
    assert max(scores) == pytest.approx(max(float(row["valid_f1_macro"]) for row in table), abs=1e-9)


def test_a_hopeless_trial_is_pruned_and_its_run_ends_as_one_that_is_done(tune: Start, tmp_path: Path) -> None:
    space = {"lr": {"_type": "choice", "_value": [1e-9, 0.003, 0.0031, 0.0032, 0.0033, 0.0034]}}
    seed = next(seed for seed in range(1000) if grid.points(space, seed)[-1]["lr"] == 1e-9)
    options = f"--engine_args=study=pruned,seed={seed}"
    out = ended(tune(write_space(tmp_path, space), "--tuner=Grid", options, "--epochs=6", "--trials=6"))
    assert "5 succeeded, 1 pruned" in out
    (pruned,) = (row for row in rows(tmp_path / "runs" / "pruned" / "trials.csv") if row["status"] == "PRUNED")
    assert (float(pruned["lr"]), pruned["epochs"]) == (1e-9, "3")  # two of six are for everybody
    run = tmp_path / "runs" / "pruned" / f"exp-{pruned['trial']}"
    assert len(rows(run / "metrics.csv")) == 3
    assert (run / "predictions" / "valid_soft.csv").exists()


def test_trade_offs_with_seconds_are_told_and_the_dashboard_of_optuna_shows_the_study(
    tune: Start, environment: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed, so it was not opened")
    options = "--engine_args=objectives=f1+seconds,study=both"
    out = ended(tune(write_space(tmp_path, RATES), "--tuner=Grid", options, "--trials=2"))
    assert "no trial is better than these in both macro F1 and seconds of training:" in out
    url = re.search(r"^watch it   optuna-dashboard (\S+)$", out, re.MULTILINE)
    assert url is not None
    with closing(connect(url[1].removeprefix("sqlite:///"))) as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    port = 8100 + psutil.Process().pid % 800
    program = "import sys; from optuna_dashboard._cli import main; sys.exit(main())"
    nowhere = subprocess.DEVNULL
    line = [sys.executable, "-c", program, url[1], "--port", str(port)]
    served = subprocess.Popen(line, env=environment, stdout=nowhere, stderr=nowhere)
    try:
        studies = wait_for(lambda: asked(port, "/api/studies"), 60)
        assert [one["study_name"] for one in studies["study_summaries"]] == ["both"]
        shown = asked(port, f"/api/studies/{studies['study_summaries'][0]['study_id']}?after=0")
        assert [trial["state"] for trial in shown["trials"]] == ["Complete", "Complete"]
    finally:
        served.kill()
        served.wait()


def asked(port: int, path: str) -> Any:
    with suppress(OSError), closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    return None


def test_a_training_that_is_killed_begins_again_and_at_last_is_given_up(tune: Start, tmp_path: Path) -> None:
    options = "--engine_args=study=killed,retries=1"
    search = tune(write_space(tmp_path, RATES), "--tuner=Grid", options, "--trials=1", "--epochs=40")
    metrics = tmp_path / "runs" / "killed" / "exp-0" / "metrics.csv"
    for least in (2, 8):
        wait_for(partial(has_rows, metrics, least))
        (training,) = psutil.Process(search.pid).children()
        training.kill()
        psutil.wait_procs([training], timeout=30)
    out, _ = search.communicate(timeout=100)
    assert search.returncode == 1
    assert re.search(r"^trial +0  it was ended by SIGKILL$", out, re.MULTILINE), out
    (row,) = rows(tmp_path / "runs" / "killed" / "trials.csv")
    assert (row["trial"], row["status"]) == ("0", "FAILED")
    told_of = int(row["epochs"])  # an epoch is in metrics.csv a moment before the study hears of it
    assert told_of >= 7, "the second training went on with the run of the first"


def test_a_trial_that_fails_says_why_and_others_go_on(tune: Start, tmp_path: Path) -> None:
    space = {"lr": {"_type": "choice", "_value": [1e30, 0.003]}}
    out = ended(tune(write_space(tmp_path, space), "--tuner=Grid", "--engine_args=study=bad", "--trials=2"))
    assert re.search(r"^trial +\d  error: the loss became nan", out, re.MULTILINE), out
    assert "1 failed" in out
    assert "1 succeeded" in out
    joined = tune(write_space(tmp_path, RATES), "--tuner=Grid", "--engine_args=study=bad")
    _, err = joined.communicate(timeout=100)
    assert joined.returncode == 2
    assert "error: there is a study bad with another space in sqlite:///" in err
