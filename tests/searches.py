"""Searches for tests: trials with which something happens, what became of them, and a `maskkit tune` that runs."""

import csv
import re
import subprocess
import sysconfig
from pathlib import Path

import psutil
from experiments import Experiment, wait_for
from forked import Outcome

__all__ = [
    "CRASHING",
    "KILLED",
    "LONG",
    "MASKKIT",
    "NAN",
    "TINY",
    "Search",
    "Tuning",
    "begun",
    "rows",
    "scores",
    "trial_process",
]

MASKKIT = Path(sysconfig.get_path("scripts")) / "maskkit"
TINY = "--classification=mask --resize=16 --batch_size=16 --num_workers=0 --reporters=csv"
NAN, CRASHING, KILLED = 1e30, -1, 1e-7
"""Learning rates of trials that end badly: the first two by themselves, the last by the test."""

LONG = 100_000.0  # epochs, in a float as some tuners give whole numbers


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def scores(run_dir: Path) -> list[float]:
    """Return the validation macro F1 of each epoch of a run."""
    return [float(row["valid_f1_macro"]) for row in rows(run_dir / "metrics.csv")]


class Search:
    """An experiment that has ended: its trials by learning rate, and its files."""

    def __init__(self, found: Experiment, runs: Path) -> None:
        self.id, self.status = found.id, found.status
        self.trials = {trial["parameters"]["lr"]: trial for trial in found.trials()}
        self.intermediate, self.final = found.metrics("PERIODICAL"), found.metrics("FINAL")
        self.runs = runs / self.id

    def run_dir(self, rate: float) -> Path:
        return self.runs / f"exp-{self.trials[rate]['trialJobId']}"

    def said(self, rate: float) -> str:
        """Return what a trial printed on stderr."""
        return Path(self.trials[rate]["logPath"], "trial.stderr").read_text(encoding="utf-8")


def trial_process(trial: str) -> psutil.Process | None:
    """Return the process of a trial."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("NNI_TRIAL_JOB_ID") == trial:
                return process
        except psutil.Error:
            continue
    return None


def begun(found: Experiment, rate: float) -> str:
    """Wait until the trial of a rate has told its tuner of an epoch, and return its id."""

    def look() -> str | None:
        ids = [trial["trialJobId"] for trial in found.trials() if trial["parameters"]["lr"] == rate]
        return ids[0] if ids and ids[0] in found.metrics("PERIODICAL") else None

    return str(wait_for(look, 400))


class Tuning:
    """A `maskkit tune` that runs while the test goes on."""

    def __init__(self, *words: str, home: dict[str, str], cwd: Path) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [MASKKIT, "tune", *words], cwd=cwd, env=home, stdout=pipe, stderr=pipe, text=True
        )

    def until(self, pattern: str) -> str:
        """Read its lines until one matches, and return the match's first group."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError(f"it ended without {pattern}: {self.process.communicate()}")

    def end(self, number: int) -> Outcome:
        """Send it a signal, and wait until it has ended."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=180)
        return Outcome(self.process.returncode, out, err)
