"""What a training changes as it learns, all of it in one place, so that it can be kept and taken up again."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from maskkit.engine.averages import Averages
from maskkit.engine.classifier import MEAN, STD, Classifier
from maskkit.engine.distributed import World
from maskkit.engine.layers import body_of, hold_statistics, learn_by_layer
from maskkit.engine.objective import LossSum, Objective
from maskkit.engine.parallel import train_together
from maskkit.engine.plan import Plan
from maskkit.engine.progress import Progress
from maskkit.engine.weights import load_weights
from maskkit.errors import CheckpointError
from maskkit.plugin.contracts import Schedule

__all__ = ["Learning", "build_learning"]

_COMPILE_MODES = {"default": "default", "graphs": "reduce-overhead"}


@dataclass(frozen=True)
class Learning:
    """A network, its loss, and what moves its weights.

    averages: the running mean of the weights, which is measured and kept in their place.
    body: the weights that stand still for `freeze_epochs`, all but those of the last layer.
    flips_validation: whether validation takes the mean of each image and its mirror image.
    """

    classifier: Classifier
    objective: Objective
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    scaler: torch.amp.GradScaler
    averages: Averages | None = None
    body: tuple[Parameter, ...] = ()
    freeze_epochs: int = 0
    flips_validation: bool = False

    @property
    def measured(self) -> Classifier:
        """The classifier with the weights that are measured and kept."""
        network = self.classifier.network if self.averages is None else self.averages.network
        return replace(self.classifier, network=network, parallel=None, flips=self.flips_validation)

    @property
    def is_frozen(self) -> bool:
        """Whether the last layer learns alone."""
        return bool(self.body) and not self.body[0].requires_grad

    def begin_epoch(self, epoch: int) -> None:
        """Let learn what does so in this epoch."""
        for parameter in self.body:
            parameter.requires_grad_(epoch >= self.freeze_epochs)
        self.classifier.network.train()
        self.objective.train()
        if self.is_frozen:
            hold_statistics(self.classifier.network)

    def share_statistics(self, world: World) -> None:
        """Give all processes the mean of what their networks' batch norms have seen."""
        world.same_buffers(self.classifier.network)
        if self.averages is not None:
            world.same_buffers(self.averages.network)

    def state(self) -> dict[str, Any]:
        """Return everything that going on to the same bits needs, by part."""
        averages = {} if self.averages is None else {"averages": self.averages.state_dict()}
        return averages | {
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
            if self.averages is not None:
                self.averages.load_state_dict(state["averages"])
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
    classifier = train_together(_build_classifier(plan, is_resumed=is_resumed), plan.world, config.resize)
    answers = plan.targets[plan.rows(held_out=False).numpy()]
    makers = [(weight, partial(part.build_a, nn.Module)) for weight, part in plan.losses]
    objective = Objective(plan.view, partial(LossSum.made, makers), answers, smoothing=config.label_smoothing)
    optimizer = parts["optimizer"].build_a(
        Optimizer, classifier.network.parameters(), lr=config.lr, weight_decay=config.weight_decay
    )
    if config.first_layer_lr != 1:
        learn_by_layer(optimizer, classifier.network, config.first_layer_lr)
    lengths = {"epochs": config.epochs, "steps_per_epoch": plan.steps_per_epoch}
    schedule = parts["scheduler"].build_a(Schedule, optimizer, **lengths)
    scaler = torch.amp.GradScaler(plan.device.type, enabled=plan.precision.needs_scaler)
    return Learning(
        classifier,
        objective.to(plan.device),
        optimizer,
        schedule,
        scaler,
        averages=None if config.ema_decay is None else Averages(classifier.network, config.ema_decay),
        body=tuple(body_of(classifier.network, plan.view.num_outputs)) if config.freeze_epochs else (),
        freeze_epochs=config.freeze_epochs,
        flips_validation=config.test_flip == "always",
    )


def _build_classifier(plan: Plan, *, is_resumed: bool) -> Classifier:
    config, part = plan.config, plan.parts["model"]
    torch.manual_seed(config.seed % 2**63)  # all that a generator takes
    network = part.build_a(nn.Module, plan.view.num_outputs, pretrained=plan.pretrained and not is_resumed)
    if config.weights is not None and not is_resumed:
        load_weights(network, config.weights)
    if config.sync_batchnorm and not plan.world.place.is_alone:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
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
