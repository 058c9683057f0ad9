"""Which process of a training this is, as torchrun tells each of them by its environment."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Place", "launch_key", "place_in"]

_NO_ID = "none"  # what torchrun calls a launch without --rdzv-id


@dataclass(frozen=True)
class Place:
    """A process among all, by its `rank`, and among those of its machine, by its `local_rank`."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes and reports."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        return self.size == 1


def place_in(environment: Mapping[str, str] = os.environ) -> Place:
    """Return the place that torchrun, or another launcher in its way, gave this process; alone without one."""
    if "MASTER_ADDR" not in environment:
        return Place()
    try:
        rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        local_rank = int(environment.get("LOCAL_RANK", 0))
        return Place(rank, size, local_rank, int(environment.get("LOCAL_WORLD_SIZE", 1)))
    except (KeyError, ValueError):
        return Place()


def launch_key(asked: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> str | None:
    """Return what is the same whenever torchrun begins again what was asked for, and only then; None without torchrun.

    A launch is known by its --rdzv-id, or without one by torchrun's own process.
    """
    name = environment.get("TORCHELASTIC_RUN_ID")
    if name is None:
        return None
    launch = [name, *(_parent() if name == _NO_ID else [])]
    return hashlib.sha256(json.dumps([launch, asked], sort_keys=True).encode()).hexdigest()[:16]


def _parent() -> list[str]:
    """Return the number of the parent process and, since numbers come again, when it started."""
    number = str(os.getppid())
    try:
        facts = Path("/proc", number, "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [number]
    return [number, facts.rpartition(")")[2].split()[19]]
