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
        "learn": f"{plan.view.name}, {plan.view.num_classes} classes; {_loss(config)}",
        "model": _model(plan, classifier),
        "images": f"{_size(config)}, {_variation(config)}, {_batches(plan)}{_drawing(config)}",
        "device": f"{_devices(plan)}, {usable_cores()} cores, {plan.num_workers} decoding;"
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


def _devices(plan: Plan) -> str:
    return str(plan.device) if plan.world.place.is_alone else f"{plan.world.size} processes, {plan.device.type}"


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
    return f"{plan.config.model}, {millions:.2f} M parameters, {_weights(plan)}{_learning(plan.config)}"


def _learning(config: TrainConfig) -> str:
    words = [
        f"the last layer alone in {config.freeze_epochs} of the epochs" if config.freeze_epochs else "",
        f"the first layer at {config.first_layer_lr:g} of the learning rate" if config.first_layer_lr != 1 else "",
        f"weights averaged, {config.ema_decay:g}" if config.ema_decay else "",
    ]
    return "".join(f", {word}" for word in words if word)


def _weights(plan: Plan) -> str:
    if plan.config.weights:
        return f"from {plan.config.weights}"
    if not plan.pretrained:
        return "from scratch"
    size = plan.parts["model"].component.size
    return "pretrained" + (f" at {size[0]}x{size[1]}" if size else "")


def _loss(config: TrainConfig) -> str:
    smoothed = f", labels smoothed by {config.label_smoothing:g}" if config.label_smoothing else ""
    return f"{config.criterion} loss{smoothed}"


def _variation(config: TrainConfig) -> str:
    share = f" of {config.mix_probability:.0%}" if config.mix_probability < 1 else ""
    return config.augmentation + (f", {config.mix}{share}" if config.mix else "")


def _size(config: TrainConfig) -> str:
    sizes = [size for size in (config.resize_from, config.resize) if size is not None]
    return " to ".join(f"{height}x{width}" for height, width in sizes)


def _drawing(config: TrainConfig) -> str:
    words = {
        "none": "",
        "class": ", classes equally often",
        "person_age": ", age groups equally often, and their people",
    }
    old = f", the old {config.oversample_old:g} times as often" if config.oversample_old != 1 else ""
    return words[config.balance] + old


def _batches(plan: Plan) -> str:
    accumulate = plan.config.accumulate
    return f"batches of {plan.batch_size}" + (f", {accumulate} of them a step" if accumulate > 1 else "")
