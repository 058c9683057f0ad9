"""A training from its flags: planned and begun, or taken up where it stopped."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from maskkit.config import TrainConfig
from maskkit.engine.agreement import plan_together
from maskkit.engine.distributed import ALONE, World
from maskkit.engine.memory import explaining_memory
from maskkit.engine.parts import part_from_record
from maskkit.engine.plan import Plan
from maskkit.engine.record import History
from maskkit.engine.resuming import Start, take_up
from maskkit.engine.run import Run
from maskkit.engine.run_folder import (
    check_name,
    check_same_samples,
    locked,
    make_run_folder,
    samples_table,
)
from maskkit.errors import UsageError
from maskkit.files import runs_folder
from maskkit.plugin.registry import Registry
from maskkit.reporting.reporter import Reporter, Reporters

__all__ = ["begin", "go_on", "train"]


def train(
    config: TrainConfig,
    origins: Mapping[str, str],
    registry: Registry,
    *,
    world: World = ALONE,
    launch: str | None = None,
) -> Path:
    """Run one training, or go on with one, and return its run folder; `origins` tells where each value came from.

    launch: the key by which it is found again when torchrun begins again.
    """
    with explaining_memory():
        if config.resume is not None:
            return go_on(config.resume, config, origins, registry, world=world)
        check_name(config.name)
        return begin(plan_together(config, origins, registry, world), launch=launch)


def begin(plan: Plan, *, run_dir: Path | None = None, launch: str | None = None) -> Path:
    """Run a training that is planned, and return its run folder, which is `run_dir` where one is given.

    Nothing is written before every name, image header and weight is known to be good.
    """
    run = Run(plan, Start(), History(launch=launch))
    reporters = _build_reporters(plan)
    world = plan.world
    if world.is_first:
        if run_dir is None:
            run_dir = make_run_folder(runs_folder(plan.config.model_dir), plan.config.name)
        else:
            run_dir.mkdir()
    run_dir = Path(world.told_by_first(str(run_dir)))
    with locked(run_dir) if world.is_first else nullcontext():
        run.to_the_end(run_dir, reporters)
    return run_dir


def go_on(
    run_dir: Path, config: TrainConfig, origins: Mapping[str, str], registry: Registry, *, world: World = ALONE
) -> Path:
    """Go on with a training that stopped, by the flags of `config` that were given anew."""
    with take_up(run_dir, config, origins, world=world) as stopped:
        for kind, record in stopped.record.components:
            if kind != "reporter" or stopped.config.reporters == stopped.record.config.reporters:
                part_from_record(registry, kind, record)
        plan = plan_together(stopped.config, stopped.origins, registry, world)
        check_same_samples(run_dir, samples_table(plan.samples, plan.folds), stopped.record.samples_hash)
        if plan.config.precision == "auto" and plan.precision.name != stopped.record.precision:
            raise UsageError(
                f"{run_dir} began in {stopped.record.precision}, and {plan.precision.name} would be chosen here",
                hint=f"Say which: --precision={stopped.record.precision} or --precision={plan.precision.name}.",
            )
        if (str(plan.device), plan.precision.name) == (stopped.record.device, stopped.record.precision):
            kept = replace(plan.precision, depthwise_by_detours=stopped.record.depthwise_by_detours)
            plan = replace(plan, precision=kept)  # today's probe could find something else
        run = Run(plan, stopped.start, stopped.history)
        run.to_the_end(run_dir, _build_reporters(plan))
    return run_dir


def _build_reporters(plan: Plan) -> Reporters:
    """Build them; those that somebody asked for are needed, and a replayed config.json asks for no default."""
    if not plan.world.is_first:
        return Reporters((), required=False)
    origin = plan.origins["reporters"]
    are_named = origin == "flag" or (origin != "default" and plan.config.reporters != TrainConfig().reporters)
    return Reporters(((name, part.build_a(Reporter)) for name, part in plan.reporters.items()), required=are_named)
