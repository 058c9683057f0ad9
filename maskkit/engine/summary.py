"""What a run tells of itself before its first step."""

from pathlib import Path

import numpy as np

from maskkit.config import TrainConfig
from maskkit.data.ages import OLD_FROM
from maskkit.data.folds import LEFT_OUT
from maskkit.engine.classifier import Classifier
from maskkit.engine.device import usable_cores
from maskkit.engine.plan import Plan
from maskkit.engine.progress import Progress
from maskkit.flags import as_json
from maskkit.reporting.events import RunStart

__all__ = ["run_start"]


def run_start(run_dir: Path, plan: Plan, classifier: Classifier, progress: Progress) -> RunStart:
    """Return the first event of a run: its plan in a few lines, and where it begins."""
    config = plan.config
    text = {
        "run": str(run_dir),
        "data": _data(plan),
        "learn": f"{plan.view.name}, {plan.view.num_classes} classes; {plan.parts['loss'].component.name} loss",
        "model": _model(plan, classifier),
        "images": f"{config.resize[0]}x{config.resize[1]}, {_variation(config)}, {_batches(plan)}",
        "device": f"{plan.device}, {usable_cores()} cores, {plan.num_workers} decoding;"
        f" {plan.precision.name} ({plan.precision.reason})",
    }
    notices = [plan.samples.notice] if plan.samples.notice else []
    if plan.sources.bad_images:
        notices.append(
            f"{len(plan.sources.bad_images):,} images cannot be read and are left out: {run_dir / 'bad_images.csv'}"
        )
    if len(plan.sources.relabelled):
        notices.append(f"{len(plan.sources.relabelled):,} labels are put right: {run_dir / 'relabelled.csv'}")
    return RunStart(
        run_dir=run_dir,
        config=as_json(config),
        classes=plan.view.classes,
        epochs=config.epochs,
        steps_per_epoch=plan.steps_per_epoch,
        plan=text,
        notices=tuple(notices),
        first_epoch=progress.epochs_done,
        total_steps=progress.total_steps,
    )


def _data(plan: Plan) -> str:
    train_rows, valid_rows = (plan.rows(held_out=held_out) for held_out in (False, True))
    people = plan.samples.table["person"]
    images = plan.sources.eval_samples
    return (
        f"{plan.parts['dataset'].component.name}: {len(train_rows):,} images of"
        f" {people[train_rows.numpy()].nunique():,} people to train on, {len(valid_rows):,} of"
        f" {people[valid_rows.numpy()].nunique():,} held out"
        + _left_out(plan)
        + (f", {len(images):,} to predict" if images is not None else ", none to predict")
    )


def _left_out(plan: Plan) -> str:
    config, count = plan.config, int(np.count_nonzero(plan.folds == LEFT_OUT))
    dropped = f", {count:,} of ages {','.join(config.drop_ages)} left out" if config.drop_ages else ""
    return dropped + (f", old from {config.old_from} on" if config.old_from != OLD_FROM else "")


def _model(plan: Plan, classifier: Classifier) -> str:
    millions = sum(parameter.numel() for parameter in classifier.network.parameters()) / 1e6
    return f"{plan.config.model}, {millions:.2f} M parameters, {_weights(plan)}"


def _weights(plan: Plan) -> str:
    if plan.config.weights:
        return f"from {plan.config.weights}"
    if not plan.pretrained:
        return "from scratch"
    size = plan.parts["model"].component.size
    return "pretrained" + (f" at {size[0]}x{size[1]}" if size else "")


def _variation(config: TrainConfig) -> str:
    return config.augmentation + (f", {config.mix}" if config.mix else "")


def _batches(plan: Plan) -> str:
    accumulate = plan.config.accumulate
    return f"batches of {plan.batch_size}" + (f", {accumulate} of them a step" if accumulate > 1 else "")
