"""From a checkpoint to files of predictions."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskkit.config import PredictConfig
from maskkit.data.loader import ImageLoader
from maskkit.data.samples import Samples
from maskkit.engine.checkpoint import Checkpoint, find_checkpoint
from maskkit.engine.classifier import Classifier
from maskkit.engine.device import choose_device, choose_precision, choose_workers
from maskkit.engine.memory import explaining_memory, logits_within_memory
from maskkit.engine.parts import part_from_record
from maskkit.engine.run_folder import write_bad_images
from maskkit.engine.sources import bad_images, read_eval
from maskkit.errors import CheckpointError, UsageError
from maskkit.labels import View, view_named
from maskkit.plugin.registry import Registry
from maskkit.predictions import write_hard, write_soft

__all__ = ["predict", "probabilities_of", "write_eval"]

_DESCRIBED = ("classification", "model", "augmentation", "size", "mean", "std", "precision", "epoch")


def predict(config: PredictConfig, registry: Registry) -> None:
    """Predict images with the best (or last) checkpoint of a run, and say where the files are.

    Raises:
        CheckpointError: the checkpoint, or a plugin that it needs, is missing.
        DataError: the images are.
    """
    path = find_checkpoint(config.run, config.checkpoint)
    checkpoint = _load(path)
    samples = _images_to_predict(config, registry, path)
    out = _output_folder(config, path)
    bad = bad_images(samples.paths, config.on_bad_image)
    samples = samples.without(bad)
    view = view_named(checkpoint.description["classification"])
    device = choose_device(config.device)
    classifier = _restore(checkpoint, registry, view, device, config.precision)
    augmentation = part_from_record(registry, "augmentation", checkpoint.description["augmentation"])
    loader = ImageLoader(
        samples.paths,
        augmentation.make(size=tuple(checkpoint.description["size"])),
        num_workers=choose_workers(config.num_workers, device),
        pin_memory=device.type == "cuda",
    )
    with explaining_memory():
        found = probabilities_of(classifier, view, loader, torch.arange(len(samples)), config.batch_size)
    write_eval(out, samples, found)
    write_bad_images(out, bad)
    if checkpoint.description.get("notice"):
        print(f"Note: {checkpoint.description['notice']}")
    if bad:
        print(f"Note: {len(bad)} images cannot be read and have no prediction: {out / 'bad_images.csv'}")
    print(f"{len(samples)} images predicted by epoch {checkpoint.description['epoch'] + 1} of {path}")
    print(f"wrote {out / 'eval_hard.csv'}\nwrote {out / 'eval_soft.csv'}")


def _load(path: Path) -> Checkpoint:
    checkpoint = Checkpoint.load(path)
    missing = [name for name in _DESCRIBED if name not in checkpoint.description]
    if missing or "model" not in checkpoint.state:
        raise CheckpointError(f"the checkpoint {path} does not tell {', '.join(missing or ['its weights'])}")
    return checkpoint


def probabilities_of(
    classifier: Classifier, view: View, loader: ImageLoader, rows: Tensor, batch_size: int
) -> NDArray[np.float32]:
    """Return the probabilities float32 [N, num_classes] of the rows int64 [N] of the loader's table."""
    logits, _ = logits_within_memory(classifier, loader, rows, batch_size)
    composed = view.compose([part.softmax(dim=1) for part in view.split(logits)])
    return np.asarray(composed.cpu().numpy(), dtype=np.float32)


def write_eval(folder: Path, samples: Samples, probabilities: NDArray[np.float32]) -> None:
    """Write eval_hard.csv and eval_soft.csv, a row an image in the table's order."""
    write_hard(folder / "eval_hard.csv", samples.names, probabilities.argmax(axis=1))
    write_soft(folder / "eval_soft.csv", samples.names, probabilities)


def _restore(
    checkpoint: Checkpoint, registry: Registry, view: View, device: torch.device, precision: str
) -> Classifier:
    """Return the trained classifier; the file alone tells how to build it."""
    description = checkpoint.description
    network = part_from_record(registry, "model", description["model"]).make(view.num_outputs, pretrained=False)
    try:
        network.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights do not fit {description['model']['name']}: {str(error).splitlines()[-1].strip()}",
            hint=f"They were trained with {description['model']['distribution']} {description['model']['version']}.",
        ) from error
    wanted = description["precision"] if precision == "auto" else precision
    is_gpu_format = wanted == "fp16" and device.type == "cpu"
    chosen = choose_precision("fp32" if is_gpu_format else wanted, device)
    classifier = Classifier(network, tuple(description["mean"]), tuple(description["std"]), device, chosen)
    classifier.to_device()
    return classifier


def _images_to_predict(config: PredictConfig, registry: Registry, checkpoint: Path) -> Samples:
    if config.info is not None:
        return read_eval(registry, config.images or config.info.parent, info=config.info)
    if config.images is not None:
        return read_eval(registry, config.images)
    eval_dir = _decisions(checkpoint).get("eval_dir")
    if not eval_dir:
        raise UsageError("nothing to predict: the run had no eval folder", hint="Type --images=DIR, or --info=CSV.")
    return read_eval(registry, Path(eval_dir))


def _output_folder(config: PredictConfig, checkpoint: Path) -> Path:
    if config.out is not None:
        if config.out.exists() and not config.out.is_dir():
            raise UsageError(f"--out={config.out} is a file; it must be a folder for eval_hard.csv and eval_soft.csv")
        return config.out
    if checkpoint.parent.name != "checkpoints":
        raise UsageError(f"{checkpoint} lies in no run folder", hint="Type --out=FOLDER for the predictions.")
    return checkpoint.parent.parent / "predictions"


def _decisions(checkpoint: Path) -> Mapping[str, Any]:
    """Return what the run of a checkpoint decided, nothing when it lies alone."""
    path = checkpoint.parent.parent / "config.json"
    try:
        decisions = json.loads(path.read_text(encoding="utf-8"))["decisions"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return decisions if isinstance(decisions, dict) else {}
