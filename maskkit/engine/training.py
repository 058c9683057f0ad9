"""A training from its flags to its predictions: find the parts, build them, fit, predict with the best weights."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import maskkit
from maskkit.config import TrainConfig
from maskkit.data.augmentation import Augmentation
from maskkit.data.loader import ImageLoader
from maskkit.data.samples import Samples
from maskkit.engine.checkpoint import Checkpoint
from maskkit.engine.classifier import MEAN, STD, Classifier
from maskkit.engine.device import choose_device, choose_precision, choose_workers, usable_cores
from maskkit.engine.objective import Objective
from maskkit.engine.parts import Part, choose_parts
from maskkit.engine.prediction import probabilities_of, write_eval
from maskkit.engine.run_folder import make_run_folder, write_config, write_samples
from maskkit.engine.sources import Sources, find_sources
from maskkit.engine.trainer import Settings, Trainer, num_steps
from maskkit.engine.weights import load_weights
from maskkit.errors import DataError, UsageError
from maskkit.flags import as_json
from maskkit.labels import View, view_named
from maskkit.plugin.contracts import Schedule
from maskkit.plugin.registry import Registry
from maskkit.predictions import write_soft
from maskkit.reporting.events import EpochEnd, RunEnd, RunStart
from maskkit.reporting.reporter import Reporters

__all__ = ["train"]


@dataclass(frozen=True)
class _Plan:
    """Everything that is decided before a run folder exists."""

    config: TrainConfig
    sources: Sources
    parts: Mapping[str, Part]
    view: View
    classifier: Classifier
    augmentation: Augmentation
    folds: NDArray[np.int64]
    pretrained: bool
    num_workers: int

    @property
    def samples(self) -> Samples:
        return self.sources.samples

    def rows(self, *, held_out: bool) -> Tensor:
        return torch.from_numpy(np.flatnonzero((self.folds == 0) == held_out))

    @property
    def notices(self) -> tuple[str, ...]:
        return (self.samples.notice,) if self.samples.notice else ()


@dataclass(frozen=True)
class _Learning:
    """What training adds to a plan; it is built before a run folder exists, since an option may be refused."""

    objective: Objective
    optimizer: torch.optim.Optimizer
    schedule: Schedule


def train(config: TrainConfig, origins: Mapping[str, str], registry: Registry) -> Path:
    """Run a training and return its run folder; `origins` tells where each value of the config came from.

    Nothing is written before every name, image header and weight is known to be good.
    """
    parts = choose_parts(config, registry)
    names = dict.fromkeys(config.reporters)
    reporter_parts = {name: Part.find(registry, "reporter", name, {}) for name in names}
    plan = _make_plan(config, parts, registry)
    learning = _make_learning(plan)
    reporters = Reporters(
        ((name, part.build()) for name, part in reporter_parts.items()),
        required=_are_named(config, origins["reporters"]),
    )
    run_dir = make_run_folder(config.model_dir or Path(os.environ.get("SM_MODEL_DIR") or "runs"), config.name)
    _write_down(run_dir, plan, origins)
    loader = ImageLoader(
        plan.samples.paths, plan.augmentation, num_workers=plan.num_workers, pin_memory=_is_cuda(plan.classifier)
    )
    trainer = _make_trainer(plan, learning, run_dir, loader, reporters)
    _fit(trainer, reporters, _run_start(run_dir, plan))
    _predict(run_dir, plan, loader)
    return run_dir


def _are_named(config: TrainConfig, origin: str) -> bool:
    """Whether somebody asked for these reporters; a replayed config.json repeats the default without asking."""
    return origin == "flag" or (origin != "default" and config.reporters != TrainConfig().reporters)


def _make_plan(config: TrainConfig, parts: Mapping[str, Part], registry: Registry) -> _Plan:
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    view = view_named(config.classification)
    augmentation = parts["augmentation"].build(size=config.resize)
    sources = find_sources(config, registry)
    folds = sources.samples.split(val_ratio=config.val_ratio, seed=config.seed)
    if np.count_nonzero(folds) < 2:  # batch statistics need two
        raise DataError(
            "fewer than two images are left to train on", hint="Give more people, or a smaller --val_ratio."
        )
    component = parts["model"].component
    torch.manual_seed(config.seed % 2**63)  # all that a generator takes
    pretrained = _is_pretrained(config, component.has_weights)
    network = parts["model"].build(view.num_outputs, pretrained=pretrained)
    if config.weights is not None:
        load_weights(network, config.weights)
    classifier = Classifier(network, component.mean or MEAN, component.std or STD, device, precision)
    classifier.to_device()
    workers = choose_workers(config.num_workers, device)
    return _Plan(config, sources, parts, view, classifier, augmentation, folds, pretrained, workers)


def _is_pretrained(config: TrainConfig, has_weights: bool) -> bool:  # noqa: FBT001  a fact about the model
    if config.pretrained is True and config.weights is not None:
        raise UsageError("--pretrained and --weights both say where to start from", hint="Leave one out.")
    if config.pretrained is True and not has_weights:
        raise UsageError(f"--pretrained: the model {config.model} has no pretrained weights", hint="Leave it out.")
    return has_weights and config.pretrained is not False and config.weights is None


def _make_learning(plan: _Plan) -> _Learning:
    config, parts, classifier = plan.config, plan.parts, plan.classifier
    train_rows = plan.rows(held_out=False)
    objective = Objective(plan.view, parts["loss"].build, plan.samples.answers[train_rows.numpy()])
    optimizer = parts["optimizer"].build(
        classifier.network.parameters(), lr=config.lr, weight_decay=config.weight_decay
    )
    steps = num_steps(len(train_rows), config.batch_size)
    schedule = parts["scheduler"].build(optimizer, epochs=config.epochs, steps_per_epoch=steps)
    return _Learning(objective.to(classifier.device), optimizer, schedule)


def _make_trainer(
    plan: _Plan, learning: _Learning, run_dir: Path, loader: ImageLoader, reporters: Reporters
) -> Trainer:
    config = plan.config
    return Trainer(
        classifier=plan.classifier,
        objective=learning.objective,
        optimizer=learning.optimizer,
        schedule=learning.schedule,
        augmentation=plan.augmentation,
        loader=loader,
        samples=plan.samples,
        train_rows=plan.rows(held_out=False),
        valid_rows=plan.rows(held_out=True),
        settings=Settings(
            epochs=config.epochs,
            batch_size=config.batch_size,
            valid_batch_size=config.valid_batch_size,
            seed=config.seed,
            log_interval=config.log_interval,
            clip_norm=config.clip_norm,
            patience=config.patience,
        ),
        reporters=reporters,
        save=lambda which, result: _save(run_dir, plan, which, result),
    )


def _fit(trainer: Trainer, reporters: Reporters, start: RunStart) -> None:
    """Train; whatever happens, every reporter hears how it ended."""
    try:
        reporters.on_run_start(start)
        trainer.fit()
    except BaseException as error:
        status: Literal["interrupted", "failed"] = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        cause = next(iter(str(error).splitlines()), type(error).__name__) if status == "failed" else ""
        with suppress(maskkit.errors.PluginError):  # the first error is the one to tell
            reporters.on_run_end(RunEnd(status, trainer.best, cause))
        raise
    reporters.on_run_end(RunEnd("stopped early" if trainer.stopped_early else "completed", trainer.best))


def _predict(run_dir: Path, plan: _Plan, loader: ImageLoader) -> None:
    """Write valid_soft.csv and the eval files, with the weights of the best epoch."""
    best = Checkpoint.load(run_dir / "checkpoints" / "best.safetensors")
    plan.classifier.network.load_state_dict(dict(best.weights))
    folder = run_dir / "predictions"
    rows = plan.rows(held_out=True)
    held_out = probabilities_of(plan.classifier, plan.view, loader.batches(rows, plan.config.valid_batch_size))
    names = [plan.samples.names[row] for row in rows.tolist()]
    truth = np.array(plan.view.of_class)[plan.samples.answers[rows.numpy()]]
    write_soft(folder / "valid_soft.csv", names, held_out, truth=truth)
    print(f"wrote {folder / 'valid_soft.csv'}")
    images = plan.sources.eval_samples
    if images is None:
        return
    eval_loader = ImageLoader(
        images.paths, plan.augmentation, num_workers=plan.num_workers, pin_memory=_is_cuda(plan.classifier)
    )
    batches = eval_loader.batches(torch.arange(len(images)), plan.config.valid_batch_size)
    write_eval(folder, images, probabilities_of(plan.classifier, plan.view, batches))
    print(f"wrote {folder / 'eval_hard.csv'}\nwrote {folder / 'eval_soft.csv'}")


def _save(run_dir: Path, plan: _Plan, which: str, result: EpochEnd) -> None:
    description = {
        "maskkit": maskkit.__version__,
        "classification": plan.view.name,
        "classes": plan.view.classes,
        "model": plan.parts["model"].record,
        "augmentation": plan.parts["augmentation"].record,
        "size": plan.config.resize,
        "mean": plan.classifier.mean,
        "std": plan.classifier.std,
        "precision": plan.classifier.precision.name,
        "epoch": result.epoch,
        "metrics": dict(result.metrics),
        "notice": plan.samples.notice,
    }
    Checkpoint(plan.classifier.network.state_dict(), description).save(run_dir / "checkpoints" / f"{which}.safetensors")


def _write_down(run_dir: Path, plan: _Plan, origins: Mapping[str, str]) -> None:
    decisions = {
        "dataset": plan.sources.dataset.component.name,
        "data_dir": _absolute(plan.sources.data_dir),
        "eval_dir": _absolute(plan.sources.eval_dir),
        "device": str(plan.classifier.device),
        "precision": plan.classifier.precision.name,
        "precision_reason": plan.classifier.precision.reason,
        "num_workers": plan.num_workers,
        "pretrained": plan.pretrained,
        "notice": plan.samples.notice,
    }
    content: dict[str, Any] = {
        "maskkit": maskkit.__version__,
        "values": as_json(plan.config),
        "origins": dict(origins),
        "decisions": decisions,
        "components": {kind: part.record for kind, part in {**plan.parts, "dataset": plan.sources.dataset}.items()},
    }
    write_config(run_dir, content)
    write_samples(run_dir, plan.samples, plan.folds)


def _run_start(run_dir: Path, plan: _Plan) -> RunStart:
    config, classifier = plan.config, plan.classifier
    train_rows, valid_rows = plan.rows(held_out=False), plan.rows(held_out=True)
    people = plan.samples.table["person"]
    images = plan.sources.eval_samples
    millions = sum(parameter.numel() for parameter in classifier.network.parameters()) / 1e6
    text = {
        "run": str(run_dir),
        "data": f"{plan.sources.dataset.component.name}: {len(train_rows):,} images of"
        f" {people[train_rows.numpy()].nunique():,} people to train on, {len(valid_rows):,} of"
        f" {people[valid_rows.numpy()].nunique():,} held out"
        + (f", {len(images):,} to predict" if images is not None else ", none to predict"),
        "learn": f"{plan.view.name}, {plan.view.num_classes} classes; {plan.parts['loss'].component.name} loss",
        "model": f"{config.model}, {millions:.2f} M parameters, {'pretrained' if plan.pretrained else 'from scratch'}"
        if config.weights is None
        else f"{config.model}, {millions:.2f} M parameters, from {config.weights}",
        "images": f"{config.resize[0]}x{config.resize[1]}, {config.augmentation}, batches of {config.batch_size}",
        "device": f"{classifier.device}, {usable_cores()} cores, {plan.num_workers} decoding;"
        f" {classifier.precision.name} ({classifier.precision.reason})",
    }
    steps = num_steps(len(train_rows), config.batch_size)
    return RunStart(run_dir, as_json(config), plan.view.classes, config.epochs, steps, text, plan.notices)


def _absolute(path: Path | None) -> str | None:
    return str(path.absolute()) if path else None


def _is_cuda(classifier: Classifier) -> bool:
    return classifier.device.type == "cuda"
