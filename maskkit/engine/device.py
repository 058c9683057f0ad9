"""Where a run computes and in which number format: each is decided once, with its reason."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from maskkit.errors import UsageError

__all__ = ["Precision", "choose_device", "choose_precision", "choose_workers", "usable_cores"]

_MOST_WORKERS = 8


@dataclass(frozen=True)
class Precision:
    """A number format of the network's arithmetic, and why it was chosen."""

    name: str
    dtype: torch.dtype
    reason: str

    @property
    def needs_scaler(self) -> bool:
        """Whether gradients would vanish in the format without a scaled loss."""
        return self.dtype == torch.float16


_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """Return the device of that name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        UsageError: there is no such device here.
    """
    here = ["cpu"]
    here += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    here += ["mps"] if torch.backends.mps.is_available() else []
    if name == "auto":
        return torch.device(next((kind for kind in ("cuda:0", "mps") if kind in here), "cpu"))
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in here:
        raise UsageError(f"--device={name}: no such device here", hint=f"Here are: {', '.join(here)}.")
    return torch.device(wanted)


def choose_precision(name: str, device: torch.device) -> Precision:
    """Return the number format of that name; "auto" takes the fastest one that the device has in hardware.

    Raises:
        UsageError: the device does not have the format.
    """
    if name != "auto":
        if name == "fp16" and device.type == "cpu":
            raise UsageError("--precision=fp16 needs a GPU", hint="On a CPU use --precision=fp32 or bf16.")
        return Precision(name, _DTYPES[name], "asked for")
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", torch.bfloat16, "the GPU has it")
        return Precision("fp16", torch.float16, "the GPU has no bf16")
    return Precision("fp32", torch.float32, "exact, and as fast on this device without further tricks")


def usable_cores() -> int:
    """Return the cores that this process may use: its affinity, and its container's quota rounded up."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _container_quota()
    return max(1, min(allowed, -int(-quota // 1))) if quota else allowed


def choose_workers(asked: int | str, device: torch.device) -> int:
    """Return how many processes decode: all cores but one on a GPU, half of them where training needs the cores too."""
    if isinstance(asked, int):
        return asked
    cores = usable_cores()
    fitting = cores - 1 if device.type != "cpu" else cores // 2
    return max(0, min(fitting, _MOST_WORKERS))


def _container_quota() -> float:
    """Return the cores of a cgroup's quota (version 2), 0 when there is none."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0.0
    return 0.0 if quota == "max" else int(quota) / int(period)
