"""One plan for all processes of a training: the first one makes it, and the others follow."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from maskkit.config import TrainConfig
from maskkit.engine.distributed import World
from maskkit.engine.plan import Plan, make_plan
from maskkit.engine.run_folder import hash_of, samples_table
from maskkit.errors import CheckpointError, ProcessError
from maskkit.flags import Layer, as_json, build
from maskkit.plugin.registry import Registry

__all__ = ["config_of_first", "plan_together", "share_steps"]

_FIRST = "the first process"


def config_of_first(
    config: TrainConfig, origins: Mapping[str, str], world: World
) -> tuple[TrainConfig, Mapping[str, str]]:
    """Return the flags that the first process was given, and where each is from."""
    if world.place.is_alone:
        return config, origins
    values, origins = world.told_by_first([as_json(config), dict(origins)])
    return _config(values), origins


def plan_together(config: TrainConfig, origins: Mapping[str, str], registry: Registry, world: World) -> Plan:
    """Return the plan of the first process, as this one sees it: with its own device and its own view of the files.

    Raises:
        ProcessError: this process finds other images than the first.
        MaskkitError: as of `make_plan`.
    """
    if world.place.is_alone:
        return make_plan(config, origins, registry)
    if world.is_first:
        plan = make_plan(config, origins, registry, world=world)
        world.told_by_first(_agreed(plan))
    else:
        agreed = world.told_by_first(None)
        asked = _config(agreed["values"] | {"precision": agreed["precision"]})
        plan = make_plan(asked, agreed["origins"], registry, world=world, bad_images=agreed["bad_images"])
        precision = replace(plan.precision, depthwise_by_detours=agreed["depthwise_by_detours"])
        plan = replace(plan, precision=precision, cache=agreed["cache"])
    _check_same_images(plan, world)
    return plan


def share_steps(config: TrainConfig, num_processes: int, world: World) -> TrainConfig:
    """Return the config with which other processes take the same steps that `num_processes` took before.

    Raises:
        CheckpointError: they cannot share the batches of a step evenly.
    """
    batches = config.accumulate * num_processes
    if batches % world.size:
        raise CheckpointError(
            f"a step of this run is of {batches} batches, which {world.size} processes cannot share evenly",
            hint=f"Go on with {num_processes} processes, or another number that {batches} can be divided by.",
        )
    return replace(config, accumulate=batches // world.size)


def _config(values: Mapping[str, Any]) -> TrainConfig:
    config, _ = build(TrainConfig, [Layer(_FIRST, values, is_file=True)])
    return config


def _agreed(plan: Plan) -> dict[str, Any]:
    return {
        "values": as_json(plan.config),
        "origins": dict(plan.origins),
        "precision": plan.precision.name,
        "depthwise_by_detours": plan.precision.depthwise_by_detours,
        "cache": plan.cache,
        "bad_images": dict(plan.sources.bad_images),
    }


def _check_same_images(plan: Plan, world: World) -> None:
    mine = hash_of(samples_table(plan.samples, plan.folds))
    if world.told_by_first(mine) != mine:
        raise ProcessError(
            f"{plan.sources.data_dir} holds other images here than where the first process runs",
            hint="All machines must see the same files under the same paths.",
        )
