"""A training of every fold in one folder, and what the folds say together.

    runs/exp/  config.json  samples.csv (who is in which fold)  folds.csv
               fold-0/ fold-1/ ..   a run each, as any other
               predictions/  oof_soft.csv  eval_hard.csv  eval_soft.csv

Whatever stops it, `--resume` passes over the folds that are done, goes on with the one that is not, and begins the
others.
"""

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import maskkit
from maskkit.config import TrainConfig
from maskkit.engine.agreement import config_of_first, plan_together
from maskkit.engine.distributed import World, joined
from maskkit.engine.launches import is_done, unfinished_run
from maskkit.engine.memory import explaining_memory
from maskkit.engine.out_of_fold import join_folds
from maskkit.engine.plan import Plan
from maskkit.engine.resuming import flags_given
from maskkit.engine.run_folder import (
    check_name,
    check_same_samples,
    hash_of,
    locked,
    make_run_folder,
    samples_table,
    write_samples,
)
from maskkit.engine.training import begin, go_on
from maskkit.engine.training import train as train_one
from maskkit.errors import UsageError
from maskkit.files import runs_folder, write_text
from maskkit.flags import Layer, as_json, build
from maskkit.plugin.registry import Registry
from maskkit.processes import Place, launch_key

__all__ = ["check_folds", "train"]

_FILE = "config.json"
_FOUND = ("dataset", "data_dir", "split_file", "relabel")  # from wherever the folds are gone on with
_FIXED = ("epochs", "patience")  # what a run may change on resuming, but not some of its folds


def train(config: TrainConfig, origins: Mapping[str, str], registry: Registry, *, place: Place | None = None) -> Path:
    """Run a training or one of every fold, or go on with such a folder, and return it.

    place: of this process among those that torchrun started; what it began already, it goes on with.

    Raises:
        UsageError: --fold does not fit --folds, or what was given cannot change on resuming.
        CheckpointError: the folder is no run, is damaged, or another process is training in it.
        ProcessError: another process is lost.
    """
    with joined(place or Place()) as world:
        config, origins = config_of_first(config, origins, world)
        launch = launch_key(as_json(config))
        if config.resume is None and launch is not None:
            left = unfinished_run(runs_folder(config.model_dir), config.name, launch) if world.is_first else None
            if (begun := world.told_by_first(str(left) if left else None)) is not None:
                print(f"torchrun begins again: going on with {begun}", flush=True)
                config, origins = TrainConfig(resume=Path(begun)), dict.fromkeys(origins, "default")
        return _train(config, origins, registry, world, launch)


def _train(
    config: TrainConfig, origins: Mapping[str, str], registry: Registry, world: World, launch: str | None
) -> Path:
    if config.resume is not None:
        return _go_on(config.resume, config, origins, registry, world)
    check_folds(config, origins)
    num_folds = config.folds
    if num_folds is None or config.fold is not None:
        return train_one(config, origins, registry, world=world, launch=launch)
    check_name(config.name)
    with explaining_memory():
        # The first fold, since what is wrong with one is wrong with all, and shows before there is a folder.
        plan = plan_together(replace(config, fold=0), origins, registry, world)
        found = {name: getattr(plan.config, name) for name in _FOUND}
        config, origins = replace(config, **found), {**origins, **{name: plan.origins[name] for name in _FOUND}}
        made = make_run_folder(runs_folder(config.model_dir), config.name) if world.is_first else None
        run_dir = Path(world.told_by_first(str(made)))
        with locked(run_dir) if world.is_first else nullcontext():
            asked = _Asked(config, num_folds, origins, hash_of(_table_of_folds(plan)))
            if world.is_first:
                _write(run_dir, asked, plan, launch)
            try:
                return _train_folds(run_dir, asked, registry, world)
            except BaseException:
                if world.is_first and not any(run_dir.glob("fold-*")):
                    shutil.rmtree(run_dir)  # nothing was trained, and the next try takes the same name
                raise


def _go_on(run_dir: Path, config: TrainConfig, origins: Mapping[str, str], registry: Registry, world: World) -> Path:
    kept = _read(run_dir)
    if kept is None:
        return train_one(config, origins, registry, world=world)
    given = flags_given(run_dir, origins)
    if fixed := [name for name in given if name in _FIXED]:
        raise UsageError(f"--resume={run_dir}: --{fixed[0]} is the same for all folds", hint="Start a new run.")
    changes: dict[str, Any] = {name: getattr(config, name) for name in given}
    origins = {**kept.origins, **dict.fromkeys(given, "flag")}
    asked = replace(kept, config=replace(kept.config, **changes), origins=origins, given=given)
    with explaining_memory(), locked(run_dir) if world.is_first else nullcontext():
        return _train_folds(run_dir, asked, registry, world)


def check_folds(config: TrainConfig, origins: Mapping[str, str]) -> None:
    """Refuse flags of folds that do not go together.

    Raises:
        UsageError: they do not.
    """
    if config.fold is not None and config.folds is None:
        raise UsageError(f"--fold={config.fold}: of how many folds?", hint="Say it with --folds=5.")
    if config.folds is not None and origins.get("val_ratio") == "flag":
        message = f"--folds={config.folds} holds out one part in {config.folds}, so --val_ratio says nothing"
        raise UsageError(message, hint="Leave one of them out.")
    if config.split_file is not None and origins.get("val_ratio") == "flag":
        message = f"--split_file={config.split_file} says who is held out, so --val_ratio says nothing"
        raise UsageError(message, hint="Leave one of them out.")
    if config.fold is not None and config.folds is not None and config.fold >= config.folds:
        raise UsageError(
            f"--fold={config.fold}: there is none among {config.folds}", hint=f"It is one of 0..{config.folds - 1}."
        )


@dataclass(frozen=True)
class _Asked:
    """The flags of all folds, where each is from, and the names of those that were given anew on resuming.

    samples_hash: of the samples.csv that tells the fold of each image.
    """

    config: TrainConfig
    num_folds: int
    origins: Mapping[str, str]
    samples_hash: str
    given: Sequence[str] = ()


def _write(run_dir: Path, asked: _Asked, plan: Plan, launch: str | None) -> None:
    """Write samples.csv and config.json."""
    write_samples(run_dir, _table_of_folds(plan))
    eval_dir = plan.sources.eval_dir
    decisions = {
        "samples_sha256": asked.samples_hash,
        "eval_dir": str(eval_dir.absolute()) if eval_dir else None,
        "launch": launch,
        "notice": plan.samples.notice,
    }
    content = {"maskkit": maskkit.__version__, "values": as_json(asked.config), "origins": dict(asked.origins)}
    write_text(run_dir / _FILE, json.dumps({**content, "decisions": decisions}, indent=2) + "\n")


def _read(run_dir: Path) -> _Asked | None:
    """Return what a folder of folds was asked for, None where it is another one, or none at all."""
    path = run_dir / _FILE
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["values"].get("folds") is None or content["values"].get("fold") is not None:
            return None
        config, _ = build(TrainConfig, [Layer(str(path), content["values"], is_file=True)])
        num_folds = int(content["values"]["folds"])
        return _Asked(config, num_folds, content["origins"], content["decisions"]["samples_sha256"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError):
        return None  # which reading it as a run will tell


def _train_folds(run_dir: Path, asked: _Asked, registry: Registry, world: World) -> Path:
    try:
        for fold in range(asked.num_folds):
            if not world.told_by_first(is_done(run_dir / f"fold-{fold}")):
                print(f"fold {fold} of 0..{asked.num_folds - 1}", flush=True)
                _train_fold(run_dir, fold, asked, registry, world)
    except BaseException as error:
        if any(run_dir.glob("fold-*")):  # of which one has said how to go on with it alone
            error.__notes__ = [f"to go on: maskkit train --resume={shlex.quote(str(run_dir))}"]
        raise
    if world.is_first:
        join_folds(run_dir, asked.num_folds)
    return run_dir


def _train_fold(run_dir: Path, fold: int, asked: _Asked, registry: Registry, world: World) -> None:
    """Go on with the run of a fold, or begin it, on the images that all folds began with."""
    part = run_dir / f"fold-{fold}"
    config = replace(asked.config, fold=fold, name=part.name, model_dir=run_dir, resume=None)
    if world.told_by_first((part / _FILE).is_file()):
        go_on(part, config, dict.fromkeys(asked.given, "flag"), registry, world=world)
        return
    if world.is_first:
        shutil.rmtree(part, ignore_errors=True)  # of a process that was killed before it wrote what it is
    origins = {**asked.origins, **dict.fromkeys(("fold", "name", "model_dir"), "the folds")}
    plan = plan_together(config, origins, registry, world)
    check_same_samples(run_dir, _table_of_folds(plan), asked.samples_hash)
    begin(plan, run_dir=part)


def _table_of_folds(plan: Plan) -> str:
    return samples_table(plan.samples, plan.fold_numbers)
