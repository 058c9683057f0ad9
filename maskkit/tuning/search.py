"""A search from its flags to a running experiment, and what its folder keeps so that it can go on."""

import json
import shlex
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import maskkit
from maskkit.config import RunFlags, TrainConfig, TuneConfig
from maskkit.errors import CheckpointError, UnknownNameError, UsageError, nearest
from maskkit.files import runs_folder, write_text
from maskkit.flags import Layer, as_json, as_words, build, flags_of
from maskkit.plugin.contracts import Experiment, Tuner
from maskkit.plugin.part import Part
from maskkit.plugin.registry import Registry
from maskkit.tuning.space import Space, search_space
from maskkit.tuning.trials import Trial

__all__ = ["Search", "begin_search", "go_on", "running"]

_FILE = "search.json"
_MAY_DIFFER = ("trials", "port", "expose", "model_dir")
_OF_ENGINE = ("remote", "port", "expose")  # flags that are options of the engine
_REMOTE_RUNS = Path("maskkit-runs")


@dataclass(frozen=True)
class Search:
    """What a search was asked for: its flags, which of them fix a flag of its trainings, its space, and who chooses.

    is_local: whether its runs lie on this machine.
    """

    config: TuneConfig
    given: tuple[str, ...]
    space: Space
    algorithm: str
    is_local: bool = True

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def trials(self) -> int:
        """How many trainings there are to be, those before a resume among them."""
        return self.config.trials

    @property
    def concurrency(self) -> int:
        """How many trainings run at once."""
        return self.config.concurrency

    @property
    def epochs(self) -> int:
        """The epochs of a training whose space has none."""
        return self.config.epochs

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def device(self) -> str:
        return self.config.device

    @property
    def data_dir(self) -> Path | None:
        return self.config.data_dir

    @property
    def fixed(self) -> dict[str, Any]:
        """The flags that are the same in every training of the search, as JSON can hold them."""
        values = as_json(self.config)
        return {name: values[name] for name in self.given}

    @property
    def words(self) -> list[str]:
        """The flags that every training of the search has."""
        return as_words({name: getattr(self.config, name) for name in self.given})

    def training(self, chosen: Mapping[str, Any]) -> TrainConfig:
        """Return the config of the training of a trial, for which the engine chose these values of flags."""
        flags = flags_of(RunFlags)
        values = {name: getattr(self.config, name) for name in flags}
        return TrainConfig(**values | {name: flags[name].convert(value) for name, value in chosen.items()})

    def words_of(self, chosen: Mapping[str, Any], **others: Any) -> list[str]:
        """Return the flags of the training of a trial; `others` come beside them, or in place of what is fixed."""
        config = self.training(chosen)
        values = {name: getattr(config, name) for name in (*self.given, *chosen)}
        return as_words(values | others)

    def command(self, trial: Trial) -> str:
        """Return the line that repeats the training of a trial."""
        config = self.training(trial.flags)
        fixed = [name for name in self.given if name not in {*trial.flags, "model_dir"}]
        words = as_words({name: getattr(config, name) for name in (*fixed, *trial.flags)})
        return shlex.join(["maskkit", "train", *words])

    def resume_command(self, name: str) -> str:
        """Return the line that goes on with the search under its id."""
        is_elsewhere = self.is_local and self.config.model_dir is not None
        place = as_words({"model_dir": self.config.model_dir}) if is_elsewhere else []
        return shlex.join(["maskkit", "tune", f"--resume={name}", *place])

    @property
    def runs(self) -> Path:
        """The folder of the folders of searches."""
        return runs_folder(self.config.model_dir if self.is_local else None)

    def folder(self, name: str) -> Path:
        """Return the folder that keeps the search; the runs themselves lie there too when they are trained here."""
        return self.runs / name


def begin_search(config: TuneConfig, origins: Mapping[str, str], registry: Registry) -> tuple[Search, Tuner]:
    """Return a new search and its engine, once its space and its options can be understood.

    Raises:
        UsageError: a flag or the space does not fit.
    """
    given = tuple(name for name in flags_of(RunFlags) if origins[name] != "default")
    config = _with_options(config, origins)
    algorithm = _algorithm(config, registry)
    tuner = _tuner(config, algorithm, registry)
    if not tuner.is_local and "model_dir" not in given:
        config, given = replace(config, model_dir=Path("~", _REMOTE_RUNS)), (*given, "model_dir")
    space = search_space(config.space, given, registry, tuner.objection)
    if not space:
        raise UsageError("every flag of the usual space is given, so nothing is left to search", hint="Give a --space.")
    return Search(config, given, space, algorithm, tuner.is_local), tuner


def go_on(
    config: TuneConfig, origins: Mapping[str, str], registry: Registry
) -> tuple[Search, Tuner, Mapping[str, Any]]:
    """Return the search of `--resume` with the flags that were given anew, its engine, and what that remembers.

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
        changed = _with_options(replace(kept, resume=config.resume, **changes), origins)
        search = Search(changed, tuple(content["given"]), content["space"], content["algorithm"], content["is_local"])
        memory: Mapping[str, Any] = content["memory"]
    except OSError as error:
        raise CheckpointError(
            f"--resume={config.resume}: {path} cannot be read: {error.strerror}",
            hint="Name the id of an experiment that maskkit tune began, and its --model_dir if that had one.",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"--resume={config.resume}: {path} is damaged: {error}") from error
    return search, _tuner(changed, search.algorithm, registry), memory


@contextmanager
def running(search: Search, tuner: Tuner, memory: Mapping[str, Any]) -> Iterator[Experiment]:
    """Start the experiment, or go on with it, and stop it whole when it is left, however that comes."""
    name = search.config.resume
    experiment = tuner.start(search) if name is None else tuner.resume(search, name, memory)
    try:
        _keep(search, experiment)
        yield experiment
    finally:
        with _undisturbed():
            experiment.stop()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave further signals to end aside for the seconds that ending in order takes."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _keep(search: Search, experiment: Experiment) -> None:
    content = {
        "maskkit": maskkit.__version__,
        "values": as_json(replace(search.config, resume=None)),
        "given": search.given,
        "space": search.space,
        "algorithm": search.algorithm,
        "is_local": search.is_local,
        "memory": experiment.memory,
    }
    write_text(search.folder(experiment.id) / _FILE, json.dumps(content, indent=2) + "\n")


def _with_options(config: TuneConfig, origins: Mapping[str, str]) -> TuneConfig:
    """Return the config with the flags that are options of the engine among these, where they are given."""
    flags = {name: getattr(config, name) for name in _OF_ENGINE if origins[name] != "default"}
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in flags.items()}
    return replace(config, engine_args={**config.engine_args, **plain})


def _algorithm(config: TuneConfig, registry: Registry) -> str:
    """Return who chooses: as said, or the engine's first."""
    names = registry.find("tuner", config.engine).component.algorithms
    if config.tuner is None or config.tuner in names:
        return config.tuner or names[0]
    near = nearest(config.tuner, names)
    advice = f"Did you mean {near}?\n" if near else ""
    raise UnknownNameError(
        f"--engine={config.engine} has no tuner {config.tuner!r}", hint=f"{advice}Valid: {', '.join(names)}."
    )


def _tuner(config: TuneConfig, algorithm: str, registry: Registry) -> Tuner:
    made: Tuner = Part.find(registry, "tuner", config.engine, config.engine_args).build(algorithm=algorithm)
    return made
