"""Who chooses, and what ends a hopeless trial: samplers and pruners of Optuna by their names."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from optuna import Study, pruners, samplers
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

__all__ = ["SAMPLERS", "PlacedSampler", "Pruner", "make_pruner"]

Pruner = Literal["none", "median", "Hyperband"]

_FACTOR = 3  # of so many trials, Hyperband lets one go on, three times as long


def _cma_es(seed: int) -> BaseSampler:
    """Return CMA-ES, which cannot choose what is no number; TPE does that."""
    other = samplers.TPESampler(seed=seed)
    return samplers.CmaEsSampler(seed=seed, independent_sampler=other, warn_independent_sampling=False)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "TPE": lambda seed: samplers.TPESampler(seed=seed),
    "GP": lambda seed: samplers.GPSampler(seed=seed),
    "CMA-ES": _cma_es,
    "Evolution": lambda seed: samplers.NSGAIISampler(seed=seed),
    "Hyperband": lambda seed: samplers.TPESampler(seed=seed),
    "Random": lambda seed: samplers.RandomSampler(seed=seed),
}
"""By --tuner, what makes the sampler from a seed; Hyperband is TPE with the pruner of that name."""


def make_pruner(name: Pruner, epochs: int) -> BasePruner:
    """Return a pruner for trainings of so many epochs, which count from 0."""
    if name == "median":  # a third of the epochs is for everybody, since curves cross at first
        return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=epochs // 3)
    if name == "Hyperband":
        return pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=_FACTOR)
    return pruners.NopPruner()


class PlacedSampler(BaseSampler):
    """Makes a sampler anew for each trial, from the seed and the place of the trial in the search.

    So it does not matter which worker asks, nor whether the search was interrupted before.
    make: (seed, place) -> the sampler. place_of: the place of a trial, from 0.
    """

    def __init__(
        self, seed: int, make: Callable[[int, int], BaseSampler], place_of: Callable[[FrozenTrial], int]
    ) -> None:
        self._seed, self._make, self._place_of = seed, make, place_of
        self._sampler: BaseSampler = samplers.RandomSampler()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        place = self._place_of(trial)
        (seed,) = np.random.SeedSequence(self._seed, spawn_key=(place,)).generate_state(1).tolist()
        self._sampler = self._make(seed, place)
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self._sampler.after_trial(study, trial, state, values)
