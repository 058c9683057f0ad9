"""The parts of a run, found by name in the registry, with the user's options bound: nothing is built yet."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from maskkit.config import TrainConfig
from maskkit.errors import CheckpointError, MaskkitError, UnknownNameError, UsageError
from maskkit.plugin.component import Component
from maskkit.plugin.options import bound, options_of
from maskkit.plugin.registry import Offer, Registry

__all__ = ["Part", "choose_parts", "part_from_record"]


@dataclass(frozen=True)
class Part:
    """A component that a run uses: its record, its factory with options bound, and what to write down about it."""

    offer: Offer
    options: Mapping[str, Any]
    make: Callable[..., Any]

    @classmethod
    def find(cls, registry: Registry, kind: str, name: str, options: Mapping[str, Any]) -> "Part":
        """Return the part; an unknown name or option is a UsageError."""
        offer = registry.find(kind, name)
        return cls(offer, options, bound(offer, options))

    def build(self, *arguments: Any, **keywords: Any) -> Any:
        """Return what the factory makes of the engine's arguments and the user's options.

        Raises:
            UsageError: the factory refuses the value of an option, by a ValueError.
            PluginError: the factory of a plugin fails.
        """
        try:
            return self.make(*arguments, **keywords)
        except MaskkitError:
            raise
        except Exception as error:
            if not isinstance(error, ValueError) or not self.options:
                raise self.offer.failure(error) from error
            given = ", ".join(f"{name}={value}" for name, value in self.options.items())
            raise UsageError(f"{self.offer.kind} {self.component.name} refuses its options {given}: {error}") from error

    @property
    def component(self) -> Component:
        return self.offer.component

    @property
    def record(self) -> dict[str, Any]:
        """Everything that finding the same part again needs, as JSON can hold it."""
        plugin = self.offer.plugin
        return {
            "name": self.component.name,
            "options": dict(self.options),
            "plugin": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
        }


def part_from_record(registry: Registry, kind: str, record: Mapping[str, Any]) -> Part:
    """Return the part that a run's record speaks of; another version of its distribution is warned of.

    Raises:
        CheckpointError: its plugin is not there; the distribution to install is named.
    """
    try:
        part = Part.find(registry, kind, f"{record['distribution']}:{record['name']}", record["options"])
    except UnknownNameError as error:
        distribution = f"{record['distribution']} {record['version']}"
        raise CheckpointError(
            f"the run needs the {kind} {record['name']} of {distribution}, which is not there",
            hint=f"Install {distribution}, or see what became of it: maskkit list-plugins",
        ) from error
    installed = part.offer.plugin.version
    if installed != record["version"]:
        warnings.warn(
            f"the run was made with {record['distribution']} {record['version']}; {installed} is installed here",
            stacklevel=2,
        )
    return part


def choose_parts(config: TrainConfig, registry: Registry) -> dict[str, Part]:
    """Return the parts that a training's flags name, by kind; the data set is chosen elsewhere.

    Raises:
        UsageError: a name or an option is unknown.
    """
    scheduler, scheduler_options = _scheduler(config)
    asked = {
        "model": (config.model, config.model_args),
        "augmentation": (config.augmentation, config.augmentation_args),
        "optimizer": (config.optimizer, config.optimizer_args),
        "scheduler": (scheduler, scheduler_options),
    }
    if config.mix is not None:
        asked["mix"] = (config.mix, config.mix_args)
    parts = {kind: Part.find(registry, kind, name, options) for kind, (name, options) in asked.items()}
    return parts | {"loss": _loss(config, registry)}


def _scheduler(config: TrainConfig) -> tuple[str, dict[str, Any]]:
    if config.lr_decay_step is None:
        return config.scheduler, config.scheduler_args
    if config.scheduler not in {TrainConfig().scheduler, "StepLR"}:
        raise UsageError(
            f"--lr_decay_step selects StepLR, but --scheduler={config.scheduler} is given", hint="Leave one out."
        )
    return "StepLR", config.scheduler_args | {"step_size": config.lr_decay_step}


def _loss(config: TrainConfig, registry: Registry) -> Part:
    options = dict(config.criterion_args)
    if config.mix is not None and not registry.find("loss", config.criterion).component.soft_targets:
        able = [name for name in registry.names("loss") if registry.find("loss", name).component.soft_targets]
        raise UsageError(
            f"--mix={config.mix} gives soft targets, which the loss {config.criterion} does not take",
            hint=f"Use --criterion={', '.join(able[:-1])} or {able[-1]}, or leave --mix out.",
        )
    if config.class_weights != "none":
        if "class_weights" not in options_of(registry.find("loss", config.criterion)):
            raise UsageError(
                f"--class_weights={config.class_weights}: the loss {config.criterion} takes no class weights",
                hint="Use --criterion=cross_entropy, label_smoothing or focal, or leave it out.",
            )
        options["class_weights"] = config.class_weights
    return Part.find(registry, "loss", config.criterion, options)
