"""The parts of a run, by its flags or by its record: nothing is built yet."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from maskkit.config import TrainConfig
from maskkit.criterion import terms_of
from maskkit.errors import CheckpointError, UnknownNameError, UsageError
from maskkit.flags import flags_of
from maskkit.plugin.options import options_of
from maskkit.plugin.part import Part
from maskkit.plugin.registry import Offer, Registry

__all__ = ["choose_losses", "choose_parts", "choose_reporters", "part_from_record", "plain_names"]


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
        if flag.kind == "loss":
            terms = (replace(term, name=registry.plain("loss", term.name)) for term in terms_of(named))
            plain[flag.name] = "+".join(map(str, terms))
        elif flag.kind and isinstance(named, str):
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
    elif config.mix_args or config.mix_probability != 1:
        given = "--mix_args has options" if config.mix_args else f"--mix_probability={config.mix_probability} is given"
        raise UsageError(f"{given}, but nothing is mixed", hint="Add --mix=NAME, or leave it out.")
    return {kind: Part.find(registry, kind, name, options) for kind, (name, options) in asked.items()}


def choose_reporters(config: TrainConfig, registry: Registry) -> dict[str, Part]:
    """Return the parts that a training's flags name as its reporters, by name.

    Raises:
        UsageError: a name or an option is unknown, or there are options for a reporter that is not used.
    """
    names = [*config.reporters, *(["profile"] if config.profile else [])]
    offers = {name: registry.find("reporter", name) for name in names}
    options = [
        (registry.find("reporter", name), _options_of("reporters_args", name, one))
        for name, one in config.reporters_args.items()
    ]
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


def _options_of(flag: str, name: str, options: Any) -> Mapping[str, Any]:
    if not isinstance(options, Mapping):
        hint = f"""Type --{flag}='{{"{name}": {{"option": 1}}}}'."""
        raise UsageError(f"--{flag} must hold an object for {name}; received {options!r}", hint=hint)
    return options


def _scheduler(config: TrainConfig) -> tuple[str, dict[str, Any]]:
    if config.lr_decay_step is None:
        return config.scheduler, config.scheduler_args
    if config.scheduler not in {TrainConfig().scheduler, "StepLR"}:
        raise UsageError(
            f"--lr_decay_step selects StepLR, but --scheduler={config.scheduler} is given", hint="Leave one out."
        )
    return "StepLR", config.scheduler_args | {"step_size": config.lr_decay_step}


def choose_losses(config: TrainConfig, registry: Registry) -> tuple[tuple[float, Part], ...]:
    """Return the terms of the loss that a training's flags name, each with its weight.

    Raises:
        UsageError: a name or an option is unknown, or a loss does not go with other flags.
    """
    terms = terms_of(config.criterion)
    offers = [registry.find("loss", term.name) for term in terms]
    for offer in offers:
        _check_targets(config, offer, registry)
    options = _loss_options(config, offers, registry)
    if config.class_weights != "none":
        able = ["class_weights" in options_of(offer) for offer in offers]
        if not any(able):
            raise UsageError(
                f"--class_weights={config.class_weights}: the loss {config.criterion} takes no class weights",
                hint="Use --criterion=cross_entropy, label_smoothing or focal, or leave it out.",
            )
        weights = {"class_weights": config.class_weights}
        options = [one | weights if takes else one for one, takes in zip(options, able, strict=True)]
    parts = [Part.of(offer, one) for offer, one in zip(offers, options, strict=True)]
    return tuple((term.weight, part) for term, part in zip(terms, parts, strict=True))


def _loss_options(config: TrainConfig, offers: Sequence[Offer], registry: Registry) -> list[dict[str, Any]]:
    """Return the options of each loss: of one, all that are given; of a sum, those under its name."""
    if len(offers) == 1:
        return [dict(config.criterion_args)]
    own = {name: _options_of("criterion_args", name, options) for name, options in config.criterion_args.items()}
    given = [(registry.find("loss", name), options) for name, options in own.items()]
    for offer, _ in given:
        if offer not in offers:
            raise UsageError(
                f"--criterion_args has options of {offer.component.name}, which --criterion={config.criterion} has not"
            )
    return [dict(next((options for other, options in given if other == offer), {})) for offer in offers]


def _check_targets(config: TrainConfig, offer: Offer, registry: Registry) -> None:
    """Refuse soft targets for a loss that takes classes alone."""
    name = offer.component.name
    if config.label_smoothing and name == "label_smoothing":
        raise UsageError(
            f"--label_smoothing={config.label_smoothing} and the loss label_smoothing both smooth the labels",
            hint="Use --criterion=cross_entropy, or leave the flag out.",
        )
    reason = f"--mix={config.mix}" if config.mix is not None else ""
    reason = reason or (f"--label_smoothing={config.label_smoothing}" if config.label_smoothing else "")
    if not reason or offer.component.soft_targets:
        return
    able = [one for one in registry.names("loss") if registry.find("loss", one).component.soft_targets]
    raise UsageError(
        f"{reason} gives soft targets, which the loss {name} does not take",
        hint=f"Use --criterion={', '.join(able[:-1])} or {able[-1]}, or leave {reason.partition('=')[0]} out.",
    )
