"""Where a run computes and in which number format: each is decided once, with its reason."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from maskkit.arithmetic.depthwise import detours_are_faster
from maskkit.errors import ProcessError, UsageError
from maskkit.processes import Place

__all__ = ["Precision", "choose_device", "choose_precision", "choose_workers", "for_training", "usable_cores"]

_MOST_WORKERS = 8


@dataclass(frozen=True)
class Precision:
    """A number format of the network's arithmetic, and why it was chosen.

    depthwise_by_detours: whether depthwise convolutions go backward by detours, since the format is slow there.
    """

    name: str
    dtype: torch.dtype
    reason: str
    depthwise_by_detours: bool = False

    @property
    def needs_scaler(self) -> bool:
        """Whether gradients would vanish in the format without a scaled loss."""
        return self.dtype == torch.float16


_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str, place: Place | None = None) -> torch.device:
    """Return the device of that name; "auto" takes CUDA, then MPS, then the CPU.

    Of several processes on a machine, each takes the GPU of its own number.

    Raises:
        UsageError: there is no such device here.
        ProcessError: there are fewer GPUs than processes.
    """
    if place is not None and not place.is_alone:
        return _device_of_its_own(name, place)
    here = ["cpu"]
    here += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    here += ["mps"] if torch.backends.mps.is_available() else []
    if name == "auto":
        return torch.device(next((kind for kind in ("cuda:0", "mps") if kind in here), "cpu"))
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in here:
        raise UsageError(f"--device={name}: no such device here", hint=f"Here are: {', '.join(here)}.")
    return torch.device(wanted)


def _device_of_its_own(name: str, place: Place) -> torch.device:
    count = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not count):
        return torch.device("cpu")
    if name not in {"auto", "cuda"}:
        raise UsageError(
            f"--device={name}: each of several processes takes a GPU of its own, or the CPU",
            hint="Leave it out, or type --device=cuda or --device=cpu.",
        )
    if place.local_size > count:
        raise ProcessError(
            f"{place.local_size} processes on this machine need a GPU each, and there are {count}",
            hint=f"Start torchrun with --nproc-per-node={count}." if count else "Type --device=cpu.",
        )
    return torch.device("cuda", place.local_rank)


def choose_precision(name: str, device: torch.device) -> Precision:
    """Return the number format of that name; "auto" takes the fastest one that the device has in hardware.

    Raises:
        UsageError: the device does not have the format.
    """
    if name == "auto":
        name, reason = _fastest(device)
    else:
        reason = "asked for"
    if name == "fp16" and device.type == "cpu":
        raise UsageError("--precision=fp16 needs a GPU", hint="On a CPU use --precision=fp32 or bf16.")
    return Precision(name, _DTYPES[name], reason)


def for_training(precision: Precision, device: torch.device) -> Precision:
    """Return the format with what going backward on the device needs besides, which a probe of milliseconds tells."""
    if precision.name != "bf16" or device.type != "cpu":
        return precision
    return replace(precision, depthwise_by_detours=detours_are_faster())


def _fastest(device: torch.device) -> tuple[str, str]:
    """Return the name of a number format and a reason."""
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "the GPU has it"
        return "fp16", "the GPU has no bf16"
    if device.type == "cpu" and _cpu_has_bf16():
        return "bf16", "the CPU has it"
    return "fp32", "exact, and this device has nothing faster"


def _cpu_has_bf16() -> bool:
    """Return whether the CPU multiplies in bf16; asked of its flags, so that every run on it decides alike."""
    tell: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)  # older torch does not
    flags = tell()
    return any(flags.get(name) for name in ("avx512_bf16", "amx_bf16"))


def usable_cores() -> int:
    """Return the cores that this process may use: its affinity, and its container's quota rounded up."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _container_quota()
    return max(1, min(allowed, -int(-quota // 1))) if quota else allowed


def choose_workers(asked: int | str, device: torch.device, place: Place | None = None) -> int:
    """Return how many processes decode: all cores but one on a GPU, half of them where training needs the cores too.

    Processes that train on the same machine share its cores.
    """
    if isinstance(asked, int):
        return asked
    cores = usable_cores() // (place.local_size if place else 1)
    fitting = cores - 1 if device.type != "cpu" else cores // 2
    return max(0, min(fitting, _MOST_WORKERS))


def _container_quota() -> float:
    """Return the cores of a cgroup's quota (version 2), 0 when there is none."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0.0
    return 0.0 if quota == "max" else int(quota) / int(period)
