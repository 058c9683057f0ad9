"""A search from its flags to a running experiment, and what its folder keeps so that it can go on."""

import importlib.util
import json
import secrets
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import maskkit
from maskkit.config import RunFlags, TrainConfig, TuneConfig
from maskkit.errors import CheckpointError, TuningError, UsageError
from maskkit.files import user_cache, write_text
from maskkit.flags import Layer, as_json, as_words, build, flags_of
from maskkit.plugin.registry import Registry
from maskkit.tuning import experiment
from maskkit.tuning.experiment import Experiment
from maskkit.tuning.probe import num_gpus, version_of
from maskkit.tuning.remote import Remote, read_remote, tunnels
from maskkit.tuning.space import Space, search_space
from maskkit.tuning.trial import INSTALL, runs_folder
from maskkit.tuning.trials import Trial

__all__ = ["Search", "begin_search", "check_installed", "go_on"]

_FILE = "search.json"
_MAY_DIFFER = ("trials", "port", "expose", "model_dir")
_HOME = Path(maskkit.__file__).parents[1]
_REMOTE_RUNS = Path("maskkit-runs")


@dataclass(frozen=True)
class Search:
    """What a search was asked for: its flags, which of them fix a flag of its trainings, and its processes' mark."""

    config: TuneConfig
    given: tuple[str, ...]
    mark: str
    space: Space
    remote: Remote | None

    @property
    def words(self) -> list[str]:
        """The flags that every training of the search has."""
        return as_words({name: getattr(self.config, name) for name in self.given})

    def training(self, chosen: Mapping[str, Any]) -> TrainConfig:
        """Return the config of the training of a trial, for which the tuner chose these values of flags."""
        flags = flags_of(RunFlags)
        values = {name: getattr(self.config, name) for name in flags}
        return TrainConfig(**values | {name: flags[name].convert(value) for name, value in chosen.items()})

    def command(self, trial: Trial) -> str:
        """Return the line that repeats the training of a trial."""
        config = self.training(trial.flags)
        fixed = [name for name in self.given if name not in {*trial.flags, "model_dir"}]
        words = as_words({name: getattr(config, name) for name in (*fixed, *trial.flags)})
        return shlex.join(["maskkit", "train", *words])

    def resume_command(self, name: str) -> str:
        """Return the line that goes on with the search under its id."""
        place = [] if self.remote or self.config.model_dir is None else as_words({"model_dir": self.config.model_dir})
        return shlex.join(["maskkit", "tune", f"--resume={name}", *place])

    def folder(self, name: str) -> Path:
        """Return the folder that keeps the search; the runs themselves lie there too when they are trained here."""
        return runs_folder(None if self.remote else self.config.model_dir) / name

    def check_machines(self) -> None:
        """Refuse to begin before everything is there, here and on other machines; each problem says what to do.

        Raises:
            TuningError: something is missing.
        """
        problems = [*_problems_here(self.config.port)]
        if self.remote is not None and not problems:
            data = [] if self.config.data_dir is None else [str(self.config.data_dir)]
            needs = {"maskkit": maskkit.__version__, "nni": version_of("nni") or ""}
            for machine in self.remote.machines:
                problems += machine.problems(**needs, gpus_per_trial=self.remote.gpus_per_trial, paths=data)
        if problems:
            raise TuningError("the search cannot begin:", hint="\n".join(f"- {problem}" for problem in problems))

    @contextmanager
    def running(self) -> Iterator[Experiment]:
        """Start the experiment, or go on with it, and stop it whole when it is left, however that comes.

        Raises:
            TuningError: NNI refuses.
        """
        config = self.config
        is_near = self.remote is not None and not config.expose
        with tunnels(self.remote.machines if self.remote and is_near else (), config.port):
            if config.resume is None:
                found = experiment.start(self._settings(), config.port, mark=self.mark, expose=config.expose)
            else:
                found = experiment.resume(
                    config.resume, config.port, mark=self.mark, expose=config.expose, trials=config.trials
                )
            try:
                self._keep(found.id)
                yield found
            finally:
                found.stop()

    def _keep(self, name: str) -> None:
        content = {
            "maskkit": maskkit.__version__,
            "values": as_json(replace(self.config, resume=None)),
            "given": self.given,
            "space": self.space,
            "mark": self.mark,
        }
        write_text(self.folder(name) / _FILE, json.dumps(content, indent=2) + "\n")

    def _settings(self) -> dict[str, Any]:
        """Return the experiment as NNI wants to be told of it."""
        config = self.config
        python = self.remote.machines[0].python if self.remote else sys.executable
        settings: dict[str, Any] = {
            "experimentName": config.name,
            "searchSpace": self.space,
            "trialCommand": shlex.join([python, "-m", "maskkit", "train", *self.words]),
            "trialCodeDirectory": str(_nothing_to_upload() if self.remote else Path.cwd()),
            "trialConcurrency": config.concurrency,
            "maxTrialNumber": config.trials,
            **_algorithm(config),
        }
        if self.remote is None:
            return settings | {"trainingService": {"platform": "local", **_own_gpus(config)}}
        gpus = self.remote.gpus_per_trial
        machines = [machine.settings(with_gpus=bool(gpus)) for machine in self.remote.machines]
        service: dict[str, Any] = {"platform": "remote", "machineList": machines}
        if gpus is not None:
            service["trialGpuNumber"] = gpus
        manager = self.remote.manager if config.expose else "127.0.0.1"
        return settings | {"trainingService": service} | ({"nniManagerIp": manager} if manager else {})


def check_installed() -> None:
    """Refuse to go on without what the extra brings.

    Raises:
        TuningError: NNI, or what it needs of setuptools, is not installed.
    """
    if importlib.util.find_spec("nni") is None:
        raise TuningError("NNI is not installed, which searches", hint=INSTALL)
    if importlib.util.find_spec("pkg_resources") is None:
        raise TuningError(
            "NNI needs pkg_resources, which setuptools 82 removed", hint="Type: pip install 'setuptools>=77.0.3,<82'"
        )


def begin_search(config: TuneConfig, origins: Mapping[str, str], registry: Registry) -> Search:
    """Return a new search, once its space and its machines can be understood.

    Raises:
        UsageError: a flag, the space or the file of machines does not fit.
    """
    given = tuple(name for name in flags_of(RunFlags) if origins[name] != "default")
    remote = None if config.remote is None else read_remote(config.remote)
    if remote is not None and "model_dir" not in given:
        config, given = replace(config, model_dir=Path("~", _REMOTE_RUNS)), (*given, "model_dir")
    if remote is not None and len({machine.python for machine in remote.machines}) > 1:
        raise UsageError(f"the machines of {config.remote} have different pythonPaths; one command is for all of them")
    space = search_space(config.space, given, config.tuner, registry)
    if not space:
        raise UsageError("every flag of the usual space is given, so nothing is left to search", hint="Give a --space.")
    return Search(config, given, secrets.token_hex(8), space, remote)


def go_on(config: TuneConfig, origins: Mapping[str, str]) -> Search:
    """Return the search of `--resume`, with the flags that were given anew.

    Raises:
        UsageError: a flag was given that a search cannot change on its way.
        CheckpointError: nothing is kept of such a search.
    """
    given = [name for name, origin in origins.items() if origin != "default" and name != "resume"]
    fixed = [f"--{name}" for name in given if name not in _MAY_DIFFER]
    if fixed:
        raise UsageError(
            f"--resume={config.resume} goes on as the search began; it cannot take {', '.join(fixed)}",
            hint=f"It takes {', '.join(f'--{name}' for name in _MAY_DIFFER)}.",
        )
    path = runs_folder(config.model_dir) / str(config.resume) / _FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kept, _ = build(TuneConfig, [Layer(str(path), content["values"], is_file=True)])
        changes: dict[str, Any] = {name: getattr(config, name) for name in given if name != "model_dir"}
        remote = None if kept.remote is None else read_remote(kept.remote)
        changed = replace(kept, resume=config.resume, **changes)
        return Search(changed, tuple(content["given"]), content["mark"], content["space"], remote)
    except OSError as error:
        raise CheckpointError(
            f"--resume={config.resume}: {path} cannot be read: {error.strerror}",
            hint="Name the id of an experiment that maskkit tune began, and its --model_dir if that had one.",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"--resume={config.resume}: {path} is damaged: {error}") from error


def _algorithm(config: TuneConfig) -> dict[str, Any]:
    """Return the tuner as NNI wants to be told of it, without a seed: resumed, it would propose the same again."""
    arguments: dict[str, Any] = {"optimize_mode": "maximize"}
    if config.tuner in {"TPE", "Random", "Evolution"}:
        return {"tuner": {"name": config.tuner, "classArgs": arguments}}
    mended = {"className": f"maskkit.tuning.algorithms.{config.tuner}", "codeDirectory": str(_HOME)}
    if config.tuner == "GP":
        return {"tuner": {**mended, "classArgs": arguments}}
    return {"advisor": {**mended, "classArgs": {**arguments, "R": config.epochs, "eta": 3}}}


def _own_gpus(config: TuneConfig) -> dict[str, Any]:
    """Return what NNI is told of the GPUs here: one for each trial, shared when there are fewer than trials."""
    gpus = 0 if config.device == "cpu" else num_gpus()
    if not gpus:
        return {}
    shared = -(-config.concurrency // gpus)
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
