"""Who chooses: the same seed chooses the same, whoever asks; TPE finds a best that is known sooner than chance."""

import math
import statistics
from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from maskkit_optuna.choosing import SAMPLERS, PlacedSampler, make_pruner
from maskkit_optuna.grid import PointSampler, is_endless, points, size
from maskkit_optuna.history import History
from maskkit_optuna.parameters import suggest
from maskkit_optuna.storage import retry
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

LR = {"_type": "loguniform", "_value": [1e-5, 1e-1]}
GAMMA = {"_type": "quniform", "_value": [0, 5, 0.5]}
SPACE: Mapping[str, Mapping[str, Any]] = {
    "lr": LR,
    "batch_size": {"_type": "choice", "_value": [16, 32, 64, 128]},
    "criterion": {"_type": "choice", "_value": [{"_name": "focal", "gamma": GAMMA}, {"_name": "f1"}]},
}
BEST = {"lr": 1e-3, "batch_size": 32, "criterion": {"_name": "focal", "gamma": 2.0}}
NEAR, MOST = 0.95, 300  # of a score of 1 at best, and trials until one gives up


def score(parameters: Mapping[str, Any]) -> float:
    """Return a score that is 1 at BEST and falls on all sides of it."""
    gamma = parameters["criterion"].get("gamma", 5.0)
    loss = (math.log10(parameters["lr"]) + 3) ** 2 / 4
    loss += 0.1 * abs(math.log2(parameters["batch_size"]) - 5) + 0.05 * abs(gamma - 2)
    return math.exp(-loss)


class Searching:
    """A study in memory whose trials are chosen as in a search."""

    def __init__(self, algorithm: str, seed: int) -> None:
        def make(drawn: int, place: int) -> BaseSampler:  # noqa: ARG001
            return SAMPLERS[algorithm](drawn)

        sampler = PlacedSampler(seed, make, self.place_of)
        self.study = optuna.create_study(storage=InMemoryStorage(), sampler=sampler, direction="maximize")

    def place_of(self, trial: FrozenTrial) -> int:
        return History(self.study.get_trials(deepcopy=False)).place_of(trial)

    def step(self) -> dict[str, Any]:
        trial = self.study.ask()
        parameters = suggest(trial, SPACE)
        self.study.tell(trial, score(parameters))
        return parameters

    def trials_to_the_best(self) -> int:
        return next((number for number in range(1, MOST + 1) if score(self.step()) >= NEAR), MOST)


def test_the_best_that_is_known_has_the_best_score() -> None:
    assert score(BEST) == 1.0


def test_tpe_comes_near_the_best_in_fewer_trials_than_chance_over_twenty_seeds() -> None:
    needed = {name: [Searching(name, seed).trials_to_the_best() for seed in range(20)] for name in ("TPE", "Random")}
    medians = {name: statistics.median(numbers) for name, numbers in needed.items()}
    assert medians["TPE"] < medians["Random"]
    assert statistics.mean(needed["TPE"]) < statistics.mean(needed["Random"]) / 2


@pytest.mark.parametrize("algorithm", SAMPLERS)
def test_the_same_seed_chooses_the_same_and_another_seed_something_else(algorithm: str) -> None:
    first, again, other = (Searching(algorithm, seed) for seed in (7, 7, 8))
    chosen = [first.step() for _ in range(14)]
    assert [again.step() for _ in range(14)] == chosen
    assert [other.step() for _ in range(14)] != chosen


@pytest.mark.parametrize("algorithm", ["TPE", "Random"])
def test_a_trial_that_was_interrupted_keeps_its_parameters_and_leaves_those_of_others_as_they_were(
    algorithm: str,
) -> None:
    plain, interrupted = Searching(algorithm, 7), Searching(algorithm, 7)
    chosen = [plain.step() for _ in range(14)]
    found = [interrupted.step() for _ in range(3)]
    lost = interrupted.study.ask()
    parameters = suggest(lost, SPACE)
    interrupted.study.tell(lost, state=TrialState.FAIL)
    retry(interrupted.study, interrupted.study.trials[3])
    found += [interrupted.step() for _ in range(11)]
    assert found == chosen
    assert found[3] == parameters
    history = History(interrupted.study.trials)
    assert (len(history), [trial.number for trial in history.trials()]) == (14, [*range(14)])


def test_what_chance_chooses_does_not_depend_on_how_many_trials_run_at_once() -> None:
    one, many = Searching("Random", 7), Searching("Random", 7)
    chosen = [one.step() for _ in range(4)]
    assert [suggest(many.study.ask(), SPACE) for _ in range(4)] == chosen  # none of which has ended


@pytest.mark.parametrize(
    ("entry", "endless"),
    [
        (LR, True),
        (GAMMA, False),
        ({"_type": "normal", "_value": [0, 1]}, True),
        ({"_type": "qnormal", "_value": [0, 1, 1]}, True),
        ({"_type": "randint", "_value": [0, 3]}, False),
        ({"_type": "choice", "_value": [1, 2]}, False),
        ({"_type": "choice", "_value": [{"_name": "focal", "gamma": LR}]}, True),
    ],
)
def test_a_grid_knows_what_has_no_end(entry: dict[str, Any], *, endless: bool) -> None:
    assert is_endless(entry) is endless


def test_a_grid_has_every_point_once_and_an_option_only_where_it_is_chosen() -> None:
    space = {
        **SPACE,
        "lr": {"_type": "qloguniform", "_value": [0.5, 2.3, 1]},
        "seed": {"_type": "randint", "_value": [3, 5]},
    }
    every = points(space, seed=1)
    assert size(space) == len(every) == 3 * 4 * (11 + 1) * 2
    study = optuna.create_study()
    found = set()
    for point in every:
        study.sampler = PointSampler(point)
        found.add(repr(suggest(study.ask(), space)))
    assert len(found) == len(every)
    assert points(space, seed=1) == every
    assert points(space, seed=2) != every
    assert {repr(point) for point in points(space, seed=2)} == {repr(point) for point in every}


def test_the_median_ends_what_is_worse_than_half_of_the_others_after_a_third_of_the_epochs() -> None:
    study = optuna.create_study(direction="maximize", pruner=make_pruner("median", 6))
    for level in range(5):
        curve = dict.fromkeys(range(6), level / 10)
        study.add_trial(create_trial(value=level / 10, intermediate_values=curve))
    for score_so_far, expected in ((0.1, [False, False, True]), (0.3, [False, False, False])):
        trial = study.ask()
        found = []
        for epoch in range(3):
            trial.report(score_so_far, epoch)
            found.append(trial.should_prune())
        assert found == expected


def test_hyperband_ends_a_trial_that_is_not_among_the_best_third_of_its_bracket() -> None:
    study = optuna.create_study(direction="maximize", study_name="bands", pruner=make_pruner("Hyperband", 9))
    ended = []
    for number in range(30):
        trial = study.ask()
        last = 0
        for epoch in range(9):
            trial.report(number % 10 / 10, epoch)
            last = epoch
            if trial.should_prune():
                break
        study.tell(
            trial, state=TrialState.PRUNED if last < 8 else TrialState.COMPLETE, values=[0.1] if last == 8 else None
        )
        ended.append(last)
    assert 8 in ended
    assert len([epoch for epoch in ended if epoch < 8]) >= 10
