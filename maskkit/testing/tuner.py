"""The contract of engines of searches: `maskkit.plugin.contracts.TunerFactory`."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import SkipTest

from maskkit.config import TuneConfig
from maskkit.errors import MaskkitError
from maskkit.plugin.contracts import Experiment, Tuner
from maskkit.testing.candidate import Candidate
from maskkit.testing.check import expect
from maskkit.tuning.search import Search
from maskkit.tuning.space import Space
from maskkit.tuning.trials import Trial

__all__ = ["CHECKS"]

_PATIENCE = 300  # seconds for a few trainings of one epoch each
_PAUSE = 0.3  # seconds between two questions
_METHODS = ("objection", "check", "start", "resume")
_ENTRIES: Space = {
    "lr": {"_type": "choice", "_value": [1e-3, 3e-3, 1e-2]},
    "weight_decay": {"_type": "uniform", "_value": [1e-5, 1e-3]},
    "patience": {"_type": "randint", "_value": [2, 5]},
    "criterion": {"_type": "choice", "_value": [{"_name": "focal", "gamma": {"_type": "normal", "_value": [2, 0.1]}}]},
}
"""A parameter of each sort; an engine may object to some."""


@dataclass(frozen=True)
class _Searched:
    """A search that went to its end, and one that went on with it for a trial more."""

    search: Search
    first: Sequence[Trial]
    second: Sequence[Trial]


def _gives_a_tuner(candidate: Candidate) -> None:
    for algorithm in _algorithms(candidate):
        tuner = candidate.build(algorithm=algorithm)
        lacking = [name for name in _METHODS if not callable(getattr(tuner, name, None))]
        expect(
            not lacking,
            f"it must give a maskkit.Tuner, but {type(tuner).__name__} has no method {', '.join(lacking)}; write it",
        )
        is_local = getattr(tuner, "is_local", None)
        expect(isinstance(is_local, bool), f"its is_local must be True or False, but is {is_local!r}")


def _names_its_algorithms(candidate: Candidate) -> None:
    candidate.factory()
    names = candidate.offer.component.algorithms
    expect(names, 'its record must name what --tuner takes; add algorithms=("Random",) to its Component')
    expect(
        len({name.casefold() for name in names}) == len(names),
        f"its algorithms must differ by more than case, but are {', '.join(names)}",
    )


def _says_what_it_cannot_search(candidate: Candidate) -> None:
    for algorithm in _algorithms(candidate):
        tuner = _required(candidate, algorithm)
        for name, entry in _ENTRIES.items():
            said = tuner.objection(name, entry)
            expect(
                isinstance(said, str),
                f"objection must give a text, empty where {name} can be searched, but gave {said!r} for {entry}",
            )
        expect(_space_for(tuner), f"it must be able to search something, but objects to all of {', '.join(_ENTRIES)}")


def _searches_to_its_end(candidate: Candidate) -> None:
    searched = _searched(candidate)
    trials = searched.first
    numbers = [trial.number for trial in trials]
    expect(numbers == [0, 1], f"of two trials the numbers must be 0 and 1, in this order, but are {numbers}")
    unended = [trial.status for trial in trials if not trial.has_ended]
    expect(not unended, f"once advance gives False every trial must have ended, but one is {', '.join(unended[:1])}")
    for trial in trials:
        _expect_chosen(trial, searched.search)
    good = [trial for trial in trials if trial.status == "SUCCEEDED"]
    expect(good, f"a trial must succeed, but they are {', '.join(trial.status for trial in trials)}")
    for trial in good:
        expect(
            trial.final is not None and trial.final in trial.scores,
            f"the final of a trial that succeeded must be its best score, {max(trial.scores, default=None)}, but is"
            f" {trial.final}",
        )


def _goes_on_with_a_search(candidate: Candidate) -> None:
    searched = _searched(candidate)
    before, after = ([_ended_as(trial) for trial in trials] for trials in (searched.first, searched.second))
    expect(
        after[: len(before)] == before,
        "going on with a search must keep the trials that had ended, but one became another",
    )
    expect(
        len(after) == 3 and all(trial.has_ended for trial in searched.second),
        f"going on with --trials=3 after two must add one trial and end it, but there are {len(after)}",
    )


def _expect_chosen(trial: Trial, search: Search) -> None:
    known = {*search.space} | {f"{name}_args" for name in search.space}
    strange = {*trial.flags} - known
    expect(
        trial.flags and not strange,
        f"the flags of a trial must be those of the space, {', '.join(search.space)}, but are {dict(trial.flags)}",
    )


def _ended_as(trial: Trial) -> tuple[str, str, Mapping[str, Any], float | None]:
    return trial.id, trial.status, trial.flags, trial.final


@lru_cache(maxsize=1)
def _searched(candidate: Candidate) -> _Searched:
    """Search with real trainings, which take most of the time of these checks: once for all of them."""
    from maskkit.testing.faces import write_faces

    if candidate.offer.plugin.is_builtin:
        raise SkipTest("maskkit's own tests search with it")
    algorithm = _algorithms(candidate)[0]
    tuner = _required(candidate, algorithm)
    if not tuner.is_local:
        raise SkipTest("its trials are trained elsewhere")
    with tempfile.TemporaryDirectory(prefix="maskkit-", ignore_cleanup_errors=True) as name:
        search = _search(Path(name), write_faces(Path(name))[0], tuner, algorithm, trials=2)
        try:
            tuner.check(search)
        except MaskkitError as error:
            raise SkipTest(f"it cannot search here: {error.message}") from error
        begun = tuner.start(search)
        first = _to_the_end(begun)
        memory = json.loads(json.dumps(begun.memory))
        more = _search(Path(name), search.config.data_dir or Path(), tuner, algorithm, trials=3)
        second = _to_the_end(tuner.resume(more, begun.id, memory))
        return _Searched(search, first, second)


def _to_the_end(experiment: Experiment) -> Sequence[Trial]:
    try:
        until = time.monotonic() + _PATIENCE
        while experiment.advance():
            expect(time.monotonic() < until, f"two trainings of one epoch must end within {_PATIENCE} s, but did not")
            time.sleep(_PAUSE)
        return experiment.trials()
    finally:
        experiment.stop()


def _search(folder: Path, data_dir: Path, tuner: Tuner, algorithm: str, *, trials: int) -> Search:
    fixed: dict[str, Any] = {
        "data_dir": data_dir,
        "model_dir": folder / "runs",
        "epochs": 1,
        "resize": (16, 16),
        "batch_size": 32,
        "num_workers": 0,
        "device": "cpu",
        "eval_dir": "none",
        "reporters": ("csv",),
    }
    return Search(TuneConfig(trials=trials, **fixed), tuple(fixed), _space_for(tuner), algorithm)


def _space_for(tuner: Tuner) -> Space:
    return {name: entry for name, entry in _ENTRIES.items() if not tuner.objection(name, entry)}


def _algorithms(candidate: Candidate) -> tuple[str, ...]:
    candidate.factory()
    names = candidate.offer.component.algorithms
    if not names:
        raise SkipTest("it names no algorithm")
    return names


def _required(candidate: Candidate, algorithm: str) -> Tuner:
    tuner: Any = candidate.require(object, algorithm=algorithm)
    if not all(callable(getattr(tuner, name, None)) for name in _METHODS):
        raise SkipTest("it is no Tuner")
    made: Tuner = tuner
    return made


CHECKS: dict[str, Callable[[Candidate], None]] = {
    "it gives a Tuner": _gives_a_tuner,
    "it names its algorithms": _names_its_algorithms,
    "it says what it cannot search": _says_what_it_cannot_search,
    "it searches to its end": _searches_to_its_end,
    "it goes on with a search": _goes_on_with_a_search,
}
