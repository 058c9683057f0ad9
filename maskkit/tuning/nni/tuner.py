"""The engine NNI: what it refuses, what it needs, and what it is told of a search."""

import importlib.util
import secrets
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import maskkit
from maskkit.errors import TuningError, UsageError
from maskkit.files import user_cache, write_text
from maskkit.tuning.nni import experiment
from maskkit.tuning.nni.experiment import NniExperiment
from maskkit.tuning.nni.remote import read_remote, tunnels
from maskkit.tuning.nni.trial import INSTALL
from maskkit.tuning.probe import num_gpus, version_of
from maskkit.tuning.search import Search

__all__ = ["NniTuner"]

_HOME = Path(maskkit.__file__).parents[1]


class NniTuner:
    """Searches with NNI 3.0.

    remote: train on the machines of this file, as config_remote.yml, through ssh and with key files.
    port: of NNI's page; the next one must be free too.
    expose: let other machines reach that page, which has no login and can run commands.

    Raises:
        TuningError: NNI is not installed.
        UsageError: the file of machines does not fit.
        ValueError: a port is none that everybody may use.
    """

    def __init__(self, *, algorithm: str, remote: Path | None = None, port: int = 5000, expose: bool = False) -> None:
        if not 1024 <= port < 65535:
            raise ValueError(f"port must be from 1024 to 65534; received {port}")
        _check_installed()
        self._algorithm, self._port, self._expose = algorithm, port, expose
        self._remote = None if remote is None else read_remote(remote)
        if self._remote is not None and len({machine.python for machine in self._remote.machines}) > 1:
            raise UsageError(f"the machines of {remote} have different pythonPaths; one command is for all of them")

    @property
    def is_local(self) -> bool:
        return self._remote is None

    def objection(self, parameter: str, entry: Mapping[str, Any]) -> str:
        if self._algorithm == "Hyperband" and parameter == "epochs":
            return "is what --tuner=Hyperband chooses itself"
        if self._algorithm == "GP" and not all(map(_is_number, entry["_value"])):
            return "has choices that are no numbers, which --tuner=GP cannot take"
        return ""

    def check(self, search: Search) -> None:
        """Refuse to begin before everything is there, here and on other machines; each problem says what to do.

        Raises:
            TuningError: something is missing.
        """
        problems = [*_problems_here(self._port)]
        if self._remote is not None and not problems:
            data = [] if search.data_dir is None else [str(search.data_dir)]
            needs = {"maskkit": maskkit.__version__, "nni": version_of("nni") or ""}
            for machine in self._remote.machines:
                problems += machine.problems(**needs, gpus_per_trial=self._remote.gpus_per_trial, paths=data)
        if problems:
            raise TuningError("the search cannot begin:", hint="\n".join(f"- {problem}" for problem in problems))

    def start(self, search: Search) -> NniExperiment:
        """Start an experiment.

        Raises:
            TuningError: NNI refuses.
        """
        with self._reached() as stack:
            settings = self._settings(search)
            found = experiment.start(settings, self._port, mark=secrets.token_hex(8), expose=self._expose)
            return replace(found, leave=stack.pop_all().close)

    def resume(self, search: Search, name: str, memory: Mapping[str, Any]) -> NniExperiment:
        """Go on with an experiment: trials that had ended are kept, others run again.

        Raises:
            TuningError: NNI refuses.
        """
        with self._reached() as stack:
            found = experiment.resume(name, self._port, mark=memory["mark"], expose=self._expose, trials=search.trials)
            return replace(found, leave=stack.pop_all().close)

    @contextmanager
    def _reached(self) -> Iterator[ExitStack]:
        """Lead other machines back to this one while the stack is open."""
        is_near = self._remote is not None and not self._expose
        with ExitStack() as stack:
            stack.enter_context(tunnels(self._remote.machines if self._remote and is_near else (), self._port))
            yield stack

    def _settings(self, search: Search) -> dict[str, Any]:
        """Return the experiment as NNI wants to be told of it."""
        python = self._remote.machines[0].python if self._remote else sys.executable
        settings: dict[str, Any] = {
            "experimentName": search.name,
            "searchSpace": search.space,
            "trialCommand": shlex.join([python, "-m", "maskkit", "train", *search.words]),
            "trialCodeDirectory": str(_nothing_to_upload() if self._remote else Path.cwd()),
            "trialConcurrency": search.concurrency,
            "maxTrialNumber": search.trials,
            **self._chooser(search),
        }
        if self._remote is None:
            return settings | {"trainingService": {"platform": "local", **_own_gpus(search)}}
        gpus = self._remote.gpus_per_trial
        machines = [machine.settings(with_gpus=bool(gpus)) for machine in self._remote.machines]
        service: dict[str, Any] = {"platform": "remote", "machineList": machines}
        if gpus is not None:
            service["trialGpuNumber"] = gpus
        manager = self._remote.manager if self._expose else "127.0.0.1"
        return settings | {"trainingService": service} | ({"nniManagerIp": manager} if manager else {})

    def _chooser(self, search: Search) -> dict[str, Any]:
        """Return the tuner as NNI wants to be told of it, without a seed: resumed, it would propose the same again."""
        arguments: dict[str, Any] = {"optimize_mode": "maximize"}
        if self._algorithm in {"TPE", "Random", "Evolution"}:
            return {"tuner": {"name": self._algorithm, "classArgs": arguments}}
        mended = {"className": f"maskkit.tuning.nni.algorithms.{self._algorithm}", "codeDirectory": str(_HOME)}
        if self._algorithm == "GP":
            return {"tuner": {**mended, "classArgs": arguments}}
        return {"advisor": {**mended, "classArgs": {**arguments, "R": search.epochs, "eta": 3}}}


def _check_installed() -> None:
    if importlib.util.find_spec("nni") is None:
        raise TuningError("NNI is not installed, which searches", hint=INSTALL)
    if importlib.util.find_spec("pkg_resources") is None:
        raise TuningError(
            "NNI needs pkg_resources, which setuptools 82 removed", hint="Type: pip install 'setuptools>=77.0.3,<82'"
        )


def _own_gpus(search: Search) -> dict[str, Any]:
    """Return what NNI is told of the GPUs here: one for each trial, shared when there are fewer than trials."""
    gpus = 0 if search.device == "cpu" else num_gpus()
    if not gpus:
        return {}
    shared = -(-search.concurrency // gpus)
    return {"trialGpuNumber": 1, "useActiveGpu": True, "maxTrialNumberPerGpu": max(shared, 2 if gpus == 1 else 1)}


def _nothing_to_upload() -> Path:
    """Return a folder for NNI to copy to other machines, since it copies one; trainings there need no file of it."""
    folder = user_cache() / "nothing-to-upload"
    write_text(folder / "README", "maskkit tune has NNI copy this folder to other machines, and nothing else.\n")
    return folder


def _problems_here(port: int) -> Iterator[str]:
    for one in (port, port + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", one))
            except OSError:
                yield f"port {one} is in use; --port={port} needs it and the next one free. Give another --port"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
