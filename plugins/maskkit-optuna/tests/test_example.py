"""The example as its users have it: a line on each machine, one PostgreSQL, and photos and runs of each one's own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY, ended, rows
from postgresql import postgresql

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent.parent / "examples" / "search_together.sh"


def test_two_machines_share_a_search_and_each_keeps_its_runs(
    environment: dict[str, str], faces: Path, tmp_path: Path
) -> None:
    command = tmp_path / "bin" / "maskkit"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m maskkit "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    path = f"{command.parent}{os.pathsep}{environment['PATH']}"
    machines = [tmp_path / "one", tmp_path / "other"]
    with postgresql() as url:
        workers = []
        for machine in machines:
            shutil.copytree(faces, machine / "photos")
            workers.append(
                subprocess.Popen(
                    [SCRIPT, url, "together", "photos", *TINY, "--trials=5", "--tuner=Random"],
                    cwd=machine, env=environment | {"PATH": path}, text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                )
            )  # fmt: skip
        for worker in workers:
            assert "5 succeeded" in ended(worker)
    tables = [rows(machine / "runs" / "together" / "trials.csv") for machine in machines]
    assert [[row["lr"] for row in table] for table in tables] == [[row["lr"] for row in tables[0]]] * 2
    kept = [{run.parent.name for run in machine.glob("runs/together/*/config.json")} for machine in machines]
    assert kept[0].isdisjoint(kept[1])
    assert all(kept)
    assert kept[0] | kept[1] == {f"exp-{row['trial']}" for row in tables[0]}


def test_it_says_how_it_is_used() -> None:
    done = subprocess.run([SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.split()[0]) == (2, "usage:")
