"""An experiment of NNI from its start to its end: nnictl starts its manager, which is asked over HTTP."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskkit.errors import TuningError
from maskkit.tuning.nni.answers import read_trials
from maskkit.tuning.trainings import error_in
from maskkit.tuning.trials import Trial

if TYPE_CHECKING:
    import psutil

__all__ = ["NniExperiment", "end_processes", "resume", "start"]

_MARK = "MASKKIT_SEARCH"
"""In the environment of every process of a search: its manager, its tuner and its trials here."""

_NODE_OPTION = f'--require="{Path(__file__).with_name("loopback.cjs")}"'
_TICK = 3  # seconds in which a manager that had done its trials takes up more
_PATIENCE = 10  # seconds: NNI gives its trials five to end
_ENDED = {"DONE", "STOPPED"}
_NO_MORE = {"NO_MORE_TRIAL", "TUNER_NO_MORE_TRIAL"}  # none is to come, but some may still run


@dataclass(frozen=True)
class NniExperiment:
    """A running experiment: its id, the port of its manager, who reaches it, and the mark of its processes.

    `leave` gives back what was made for it around its processes, once these have ended.
    """

    id: str
    port: int
    mark: str
    is_exposed: bool
    leave: Callable[[], None] = lambda: None

    @property
    def memory(self) -> Mapping[str, Any]:
        return {"mark": self.mark}

    @property
    def log(self) -> Path:
        """The folder of the logs of its manager and its tuner."""
        return Path.home() / "nni-experiments" / self.id / "log"

    def opening(self) -> list[str]:
        host = "this machine and every other that reaches it" if self.is_exposed else "this machine alone"
        return [f"watch it   http://127.0.0.1:{self.port}, from {host}"]

    def closing(self) -> list[str]:
        return []

    def advance(self) -> bool:
        """Return whether the manager has trials to come or to end.

        Raises:
            TuningError: its manager or its tuner has died.
        """
        status = self._status()
        return status not in _ENDED and not (status in _NO_MORE and all(trial.has_ended for trial in self.trials()))

    def _status(self) -> str:
        answer = self._ask("check-status")
        if answer["status"] == "ERROR":
            raise self._failure(f"NNI says: {'; '.join(answer['errors']) or 'error'}")
        if answer["status"] == "RUNNING" and not any("--exp_params" in one.cmdline() for one in _alive(self.mark)):
            raise self._failure("the tuner of NNI has ended")  # of which its manager would never tell
        return str(answer["status"])

    def trials(self) -> list[Trial]:
        """Return the trials so far, in the order of their starts."""
        return read_trials(self._ask("trial-jobs"), self._ask("metric-data"), time.time())

    def error_of(self, trial: Trial) -> str:
        """Return what a trial printed as its error, or the last that it printed; "" when it cannot be had."""
        with suppress(OSError, HTTPException):
            return error_in(_get(self.port, f"trial-file/{trial.id}/trial.stderr"))
        return ""

    def stop(self) -> None:
        """End the manager, the tuner and the trials, softly at first."""
        _nnictl("stop", self.id, mark=self.mark)
        end_processes(self.mark)
        self.leave()

    def _ask(self, path: str) -> Any:
        try:
            return json.loads(_get(self.port, path))
        except (OSError, HTTPException, ValueError) as error:
            raise self._failure(f"the manager of NNI does not answer: {error}") from error

    def _failure(self, text: str) -> TuningError:
        return TuningError(text, hint=f"Its logs lie in {self.log}.")


def start(settings: Mapping[str, Any], port: int, *, mark: str, expose: bool) -> NniExperiment:
    """Start an experiment of these settings, NNI's own, whose manager listens on this machine's own address alone.

    Raises:
        TuningError: NNI refuses; its last words are told.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".yml", encoding="utf-8") as file:
        json.dump(settings, file)  # which YAML contains
        file.flush()
        _begin("create", "--config", file.name, port=port, mark=mark, expose=expose)
    return NniExperiment(json.loads(_get(port, "experiment"))["id"], port, mark, expose)


def resume(name: str, port: int, *, mark: str, expose: bool, trials: int) -> NniExperiment:
    """Go on with an experiment, after ending what is left of it: trials that had ended are kept, others run again.

    Raises:
        TuningError: NNI knows none of this id, or refuses.
    """
    end_processes(mark)
    _begin("resume", name, port=port, mark=mark, expose=expose)
    if json.loads(_get(port, "experiment"))["params"]["maxTrialNumber"] != trials:
        _nnictl("update", "trialnum", name, "--value", str(trials), mark=mark)
        time.sleep(_TICK)
    return NniExperiment(name, port, mark, expose)


def end_processes(mark: str) -> None:
    """End every process of a search, by Ctrl-C's signal, and after some seconds for good."""
    import psutil

    alive = list(_alive(mark))
    for process in alive:
        with suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(alive, timeout=_PATIENCE)
    for process in {*alive, *_alive(mark)}:
        with suppress(psutil.Error):
            process.kill()


def _alive(mark: str) -> "Iterator[psutil.Process]":
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _get(port: int, path: str) -> str:
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", f"/api/v1/nni/{path}")
        return connection.getresponse().read().decode(errors="replace")


def _begin(*words: str, port: int, mark: str, expose: bool) -> None:
    try:
        told = _nnictl(*words, "--port", str(port), mark=mark, expose=expose)
    except BaseException:
        end_processes(mark)
        raise
    if told.returncode != 0:
        end_processes(mark)
        lines = [line for line in (told.stdout + told.stderr).splitlines() if line.strip()]
        raise TuningError("NNI could not start the experiment", hint="\n".join(lines[-5:]))


def _nnictl(*words: str, mark: str, expose: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, _MARK: mark, "NO_COLOR": "1"}
    if not expose:
        environment["NODE_OPTIONS"] = f"{os.environ.get('NODE_OPTIONS', '')} {_NODE_OPTION}".strip()
    return subprocess.run(  # noqa: S603  words of a list, no shell
        [sys.executable, "-W", "ignore", "-m", "nni.tools.nnictl.nnictl", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # Ctrl-C is for the search, which ends them in order
    )
