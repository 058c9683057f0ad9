"""Experiments of NNI for tests: started by the real nnictl in a home of their own, asked over HTTP, and ended whole."""

import json
import os
import shlex
import socket
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
from conftest import run
from forked import Outcome

__all__ = ["Experiment", "end_all", "experiment", "free_port", "home_of", "nnictl", "running", "wait_for"]

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_FIRST_PORT = 20_000 + 2_000 * (_WORKER % 16) + os.getpid() % 500 * 2  # so that those of other workers are others


def free_port() -> int:
    """Return a port that is free together with the next one, which NNI wants too."""
    for port in range(_FIRST_PORT, 65_000, 2):
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("", port))
                second.bind(("", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no two neighbouring ports are free")


def home_of(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment whose home, where NNI keeps its experiments, is a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return {**environment, "HOME": str(folder)}


def nnictl(*words: str | Path, env: Mapping[str, str], cwd: Path | None = None) -> Outcome:
    """Run the installed nnictl to its end."""
    return run(Path(sysconfig.get_path("scripts")) / "nnictl", *words, env=env, cwd=cwd, timeout=180)


def wait_for(what: Callable[[], Any], seconds: float = 240) -> Any:
    """Ask again and again until the answer is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, f"{what} stayed {answer!r} for {seconds} s"
        time.sleep(0.3)
    return answer


@dataclass(frozen=True)
class Experiment:
    """A running experiment, as its manager tells of it."""

    port: int
    environment: Mapping[str, str]

    def ask(self, path: str, method: str = "GET") -> Any:
        """Return the manager's answer to a request of its API."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        with closing(connection):
            connection.request(method, f"/api/v1/nni/{path}")
            text = connection.getresponse().read().decode()
        return json.loads(text) if text else None

    @property
    def id(self) -> str:
        return str(self.ask("experiment")["id"])

    @property
    def status(self) -> str:
        return str(self.ask("check-status")["status"])

    def trials(self) -> list[dict[str, Any]]:
        """Return the trials, each with its `parameters` read."""
        trials: list[dict[str, Any]] = self.ask("trial-jobs")
        for trial in trials:
            trial["parameters"] = json.loads(trial["hyperParameters"][0])["parameters"]
        return trials

    def metrics(self, kind: str) -> dict[str, list[float]]:
        """Return the PERIODICAL or FINAL results of each trial in their order."""
        values: dict[str, list[float]] = {}
        for one in sorted(self.ask("metric-data"), key=lambda one: int(one["sequence"])):
            if one["type"] == kind:
                values.setdefault(one["trialJobId"], []).append(float(json.loads(one["data"])))
        return values

    def wait_until_done(self, seconds: float = 600) -> None:
        """Wait until every trial has ended."""
        wait_for(lambda: self.status in {"DONE", "ERROR"}, seconds)


@contextmanager
def experiment(config: Path, env: Mapping[str, str]) -> Iterator[Experiment]:
    """Start an experiment by `nnictl create`; when the test leaves it, it is stopped and nothing of it runs on."""
    port = free_port()
    try:
        done = nnictl("create", "--config", config, "--port", str(port), env=env, cwd=config.parent)
        assert done.code == 0, done.out + done.err
        yield Experiment(port, env)
        nnictl("stop", "--all", env=env)
    finally:
        end_all(Path(env["HOME"]))


def running(home: str) -> list[str]:
    """Return the command lines of the processes whose home is that folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("HOME") == home and process.status() != psutil.STATUS_ZOMBIE:
                found.append(shlex.join(process.cmdline()))
    return found


def end_all(home: Path) -> None:
    """Kill every process whose home is that folder."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("HOME") == str(home):
                process.kill()
