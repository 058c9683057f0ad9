"""Two algorithms of NNI 3.0, mended; NNI itself loads this module, in the process that proposes trials."""

import time
from typing import Any

import numpy as np
from nni.algorithms.hpo.gp_tuner import GPTuner, util
from nni.algorithms.hpo.hyperband_advisor import Hyperband as Advisor
from scipy import optimize

__all__ = ["GP", "Hyperband"]


class GP(GPTuner):  # type: ignore[misc]  # NNI has no types
    """NNI's Gaussian process; it gives the optimizer of SciPy, from 1.11 on, what that takes no more."""


class Hyperband(Advisor):  # type: ignore[misc]
    """NNI's Hyperband, which takes the ids of parameters, texts, for numbers, and hears of an end too late.

    NNI hands ends and intermediate results to one thread and the rest to another. Where the request that follows the
    end of a round overtook that end, a new bracket was begun in place of the next round of this one.
    """

    def __init__(self, *, R: int, eta: int, optimize_mode: str) -> None:  # noqa: N803  so NNI names them
        super().__init__(optimize_mode=optimize_mode, R=R, eta=eta)
        self.curr_hb = int(time.time())  # so that no bracket has the name of one before the experiment was resumed

    def is_created_in_previous_exp(self, param_id: str) -> bool:
        """Return whether a trial belongs to no bracket of this process."""
        return param_id.partition("_")[0] not in self.brackets

    def enqueue_command(self, command: Any, data: Any) -> None:
        """Hand every command to one thread, so that each is answered in the order in which it came."""
        self.default_command_queue.put((command, data))


def _minimize(function: Any, start: Any, **options: Any) -> Any:
    found = optimize.minimize(lambda point: np.asarray(function(point)).item(), np.ravel(start), **options)
    found.fun = np.atleast_1d(found.fun)
    return found


util.minimize = _minimize
