"""How far a training has come."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from maskkit.reporting.events import EpochEnd, Mistake

__all__ = ["Progress"]


@dataclass(frozen=True)
class Progress:
    """The epochs and steps that are done, and the best epoch among them."""

    epochs_done: int = 0
    total_steps: int = 0
    best: EpochEnd | None = None

    @property
    def epochs_without_better(self) -> int:
        """How many epochs passed since the best one."""
        return self.epochs_done - (self.best.epoch + 1 if self.best else 0)

    def state(self) -> dict[str, Any]:
        """Return it as nested plain values."""
        best = self.best and asdict(self.best) | {"counts": self.best.counts.tolist()}
        return {"epochs_done": self.epochs_done, "total_steps": self.total_steps, "best": best}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Progress":
        """Return what `state` gave."""
        best = state["best"]
        if best is not None:
            mistakes = tuple(Mistake(**mistake) for mistake in best["mistakes"])
            best = EpochEnd(**{**best, "counts": np.array(best["counts"], dtype=np.int64), "mistakes": mistakes})
        return cls(state["epochs_done"], state["total_steps"], best)
