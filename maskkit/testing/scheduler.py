"""The contract of schedules: `maskkit.plugin.contracts.SchedulerFactory`."""

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer

from maskkit.plugin.contracts import Schedule
from maskkit.reporting.events import METRIC_COLUMNS
from maskkit.testing.candidate import Candidate
from maskkit.testing.check import expect
from maskkit.testing.packable import expect_packable

__all__ = ["CHECKS"]

_LENGTHS = ((6, 4), (1, 4), (6, 1), (1, 1))  # epochs and steps an epoch; the shortest runs are those of a first try


@dataclass(frozen=True)
class _Run:
    """An optimizer with its schedule, over a run of some length."""

    optimizer: Optimizer
    schedule: Schedule
    epochs: int
    steps: int

    def lrs(self, first_epoch: int = 0, last_epoch: int | None = None) -> Iterator[float]:
        """Yield the learning rate of each step, moving the schedule as the engine does."""
        for epoch in range(first_epoch, self.epochs if last_epoch is None else last_epoch):
            for _ in range(self.steps):
                yield float(self.optimizer.param_groups[0]["lr"])
                self.optimizer.step()
                if self.schedule.interval == "step":
                    self.schedule.scheduler.step()
            if self.schedule.interval == "epoch":
                # A figure that rises at first and then falls: both are news to a schedule that watches it.
                figures = () if self.schedule.monitor is None else (math.sin(epoch / 2),)
                self.schedule.scheduler.step(*figures)


def _gives_a_schedule(candidate: Candidate) -> None:
    schedule = candidate.build(_optimizer(), epochs=6, steps_per_epoch=4)
    expect(
        isinstance(schedule, Schedule),
        f"it must give a maskkit.Schedule, but gave {type(schedule).__name__}; return Schedule(scheduler)",
    )
    expect(
        schedule.interval in {"epoch", "step"},
        f'the interval of its Schedule must be "epoch" or "step", but is {schedule.interval!r}',
    )
    expect(
        schedule.monitor is None or schedule.monitor in METRIC_COLUMNS,
        f"the monitor of its Schedule must be a column of metrics.csv, but is {schedule.monitor!r}; choose one of"
        f" {', '.join(METRIC_COLUMNS)}",
    )
    expect(
        schedule.monitor is None or schedule.interval == "epoch",
        f'its Schedule watches {schedule.monitor}, which is known once an epoch; make its interval "epoch"',
    )


def _keeps_lrs_sane(candidate: Candidate) -> None:
    _start(candidate, *_LENGTHS[0])
    for epochs, steps in _LENGTHS:
        optimizer = _optimizer()
        run = _Run(optimizer, candidate.build(optimizer, epochs=epochs, steps_per_epoch=steps), epochs, steps)
        for number, lr in enumerate(run.lrs(), start=1):
            expect(
                math.isfinite(lr) and lr >= 0,
                f"the lr must be 0 or more and finite, but is {lr:g} in step {number} of a run of {epochs} epochs of"
                f" {steps} steps",
            )


def _goes_on_with_the_same_lrs(candidate: Candidate) -> None:
    epochs, steps = _LENGTHS[0]
    run, again = _start(candidate, epochs, steps), _start(candidate, epochs, steps)
    list(run.lrs(last_epoch=epochs // 2))
    again.schedule.scheduler.load_state_dict(deepcopy(run.schedule.scheduler.state_dict()))
    again.optimizer.load_state_dict(deepcopy(run.optimizer.state_dict()))
    first, second = (list(one.lrs(first_epoch=epochs // 2)) for one in (run, again))
    for number, (one, other) in enumerate(zip(first, second, strict=True), start=1):
        expect(
            one == other,
            f"a new one that loads the state_dict must go on with the same lrs, but step {number} after it has"
            f" {other:g} instead of {one:g}; keep all that it remembers in its state_dict",
        )


def _fits_into_a_checkpoint(candidate: Candidate) -> None:
    run = _start(candidate, *_LENGTHS[0])
    list(run.lrs(last_epoch=2))
    expect_packable(run.schedule.scheduler.state_dict(), "scheduler")


def _start(candidate: Candidate, epochs: int, steps: int) -> _Run:
    optimizer = _optimizer()
    schedule = candidate.require(Schedule, optimizer, epochs=epochs, steps_per_epoch=steps)
    return _Run(optimizer, schedule, epochs, steps)


def _optimizer() -> Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1, momentum=0.9)


CHECKS: dict[str, Callable[[Candidate], None]] = {
    "it gives a Schedule": _gives_a_schedule,
    "its lrs are sane in runs of any length": _keeps_lrs_sane,
    "it goes on from its state with the same lrs": _goes_on_with_the_same_lrs,
    "its state fits into a checkpoint": _fits_into_a_checkpoint,
}
