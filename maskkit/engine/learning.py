"""What a training changes as it learns, all of it in one place, so that it can be kept and taken up again."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from maskkit.engine.classifier import MEAN, STD, Classifier
from maskkit.engine.objective import Objective
from maskkit.engine.plan import Plan
from maskkit.engine.progress import Progress
from maskkit.engine.weights import load_weights
from maskkit.errors import CheckpointError
from maskkit.plugin.contracts import Schedule

__all__ = ["Learning", "build_learning"]

_COMPILE_MODES = {"default": "default", "graphs": "reduce-overhead"}


@dataclass(frozen=True)
class Learning:
    """A network, its loss, and what moves its weights."""

    classifier: Classifier
    objective: Objective
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    scaler: torch.amp.GradScaler

    def state(self) -> dict[str, Any]:
        """Return everything that going on to the same bits needs, by part."""
        return {
            "model": self.classifier.network.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.schedule.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: Mapping[str, Any], progress: Progress, *, lengthened: bool) -> None:
        """Take up the state that it had after `progress`; it must be new.

        The schedule of a lengthened run is played again up to there, as if the run had had its new length from the
        start. One that watches a metric knows no length, and goes on as it was.

        Raises:
            CheckpointError: the state does not fit.
        """
        optimizer_state = dict(state["optimizer"])
        try:
            self.classifier.network.load_state_dict(state["model"])
            self.objective.load_state_dict(state["objective"])
            if lengthened and self.schedule.monitor is None:
                _replay(self.schedule, progress)
                optimizer_state["param_groups"] = self.optimizer.state_dict()["param_groups"]
            else:
                self.schedule.scheduler.load_state_dict(state["scheduler"])
            self.optimizer.load_state_dict(optimizer_state)
            self.scaler.load_state_dict(state["scaler"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"the checkpoint does not fit this run: {str(error).splitlines()[-1].strip()}",
                hint="A plugin that the run uses may have changed.",
            ) from error
        _lay_out_alike(self.optimizer)


def build_learning(plan: Plan, *, is_resumed: bool) -> Learning:
    """Build what learns from the seed; when it will be restored, without weights to start from.

    Raises:
        UsageError: a factory refuses an option.
        WeightsError: the weights to start from cannot be had or do not fit.
    """
    config, parts = plan.config, plan.parts
    classifier = _build_classifier(plan, is_resumed=is_resumed)
    make_loss = partial(parts["loss"].build_a, nn.Module)
    objective = Objective(plan.view, make_loss, plan.targets[plan.rows(held_out=False).numpy()])
    optimizer = parts["optimizer"].build_a(
        Optimizer, classifier.network.parameters(), lr=config.lr, weight_decay=config.weight_decay
    )
    lengths = {"epochs": config.epochs, "steps_per_epoch": plan.steps_per_epoch}
    schedule = parts["scheduler"].build_a(Schedule, optimizer, **lengths)
    scaler = torch.amp.GradScaler(plan.device.type, enabled=plan.precision.needs_scaler)
    return Learning(classifier, objective.to(plan.device), optimizer, schedule, scaler)


def _build_classifier(plan: Plan, *, is_resumed: bool) -> Classifier:
    config, part = plan.config, plan.parts["model"]
    torch.manual_seed(config.seed % 2**63)  # all that a generator takes
    network = part.build_a(nn.Module, plan.view.num_outputs, pretrained=plan.pretrained and not is_resumed)
    if config.weights is not None and not is_resumed:
        load_weights(network, config.weights)
    component = part.component
    classifier = Classifier(network, component.mean or MEAN, component.std or STD, plan.device, plan.precision)
    classifier.to_device()
    if config.compile != "no":
        network.compile(mode=_COMPILE_MODES[config.compile])
    return classifier


def _replay(schedule: Schedule, progress: Progress) -> None:
    with warnings.catch_warnings():
        # torch warns of a schedule that steps without its optimizer, which is what a replay is.
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step", category=UserWarning)
        for _ in range(progress.total_steps if schedule.interval == "step" else progress.epochs_done):
            schedule.scheduler.step()


def _lay_out_alike(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer's tensors the memory order of their parameters, as they had it when they were made."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
