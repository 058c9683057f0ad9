"""The parts of a run, by its flags or by its record: nothing is built yet."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from maskkit.config import TrainConfig
from maskkit.errors import CheckpointError, UnknownNameError, UsageError
from maskkit.flags import flags_of
from maskkit.plugin.options import options_of
from maskkit.plugin.part import Part
from maskkit.plugin.registry import Registry

__all__ = ["choose_parts", "choose_reporters", "part_from_record", "plain_names"]


def part_from_record(registry: Registry, kind: str, record: Mapping[str, Any]) -> Part:
    """Return the part that a run's record speaks of; another version of its distribution is warned of.

    Raises:
        CheckpointError: its plugin is not there; the distribution to install is named.
    """
    try:
        place = {"distribution": record["distribution"], "plugin": record["plugin"]}
        part = Part.of(registry.find_again(kind, record["name"], **place), record["options"])
    except UnknownNameError as error:
        distribution = f"{record['distribution']} {record['version']}"
        raise CheckpointError(
            f"the run needs the {kind} {record['name']} of {distribution}, which is not there",
            hint=f"Install {distribution}, or see what became of it: maskkit list-plugins{registry.not_available()}",
        ) from error
    installed = part.offer.plugin.version
    if installed != record["version"]:
        warnings.warn(
            f"the run was made with {record['distribution']} {record['version']}; {installed} is installed here",
            stacklevel=2,
        )
    return part


def plain_names(config: TrainConfig, registry: Registry) -> TrainConfig:
    """Return the config with the prefix left out of names in the box, so that `builtin:StepLR` is StepLR everywhere."""
    plain: dict[str, Any] = {}
    for flag in flags_of(TrainConfig).values():
        named = getattr(config, flag.name)
        if flag.kind and isinstance(named, str):
            plain[flag.name] = registry.plain(flag.kind, named)
        elif flag.kind and named:
            plain[flag.name] = tuple(registry.plain(flag.kind, name) for name in named)
    return replace(config, **plain)


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
    elif config.mix_args:
        raise UsageError("--mix_args has options, but nothing is mixed", hint="Add --mix=NAME, or leave them out.")
    parts = {kind: Part.find(registry, kind, name, options) for kind, (name, options) in asked.items()}
    return parts | {"loss": _loss(config, registry)}


def choose_reporters(config: TrainConfig, registry: Registry) -> dict[str, Part]:
    """Return the parts that a training's flags name as its reporters, by name.

    Raises:
        UsageError: a name or an option is unknown, or there are options for a reporter that is not used.
    """
    names = [*config.reporters, *(["profile"] if config.profile else [])]
    offers = {name: registry.find("reporter", name) for name in names}
    options = [(registry.find("reporter", name), _options_of(name, config)) for name in config.reporters_args]
    chosen: dict[str, Part] = {}
    for name, offer in offers.items():
        if offer not in [part.offer for part in chosen.values()]:  # it may be named in several ways
            given = [values for other, values in options if other == offer]
            chosen[name] = Part.of(offer, given[-1] if given else {})
    for offer, _ in options:
        if offer not in offers.values():
            raise UsageError(
                f"--reporters_args has options of {offer.component.name}, which does not report",
                hint=f"Those that do: {', '.join(names) or 'none'}.",
            )
    return chosen


def _options_of(name: str, config: TrainConfig) -> Mapping[str, Any]:
    options = config.reporters_args[name]
    if not isinstance(options, Mapping):
        hint = f"""Type --reporters_args='{{"{name}": {{"option": 1}}}}'."""
        raise UsageError(f"--reporters_args must hold an object for {name}; received {options!r}", hint=hint)
    return options


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
