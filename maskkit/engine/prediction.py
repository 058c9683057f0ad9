"""From a checkpoint to files of predictions."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskkit.config import PredictConfig
from maskkit.data.kept import KeptImages, fits_in_memory
from maskkit.data.loader import ImageLoader
from maskkit.data.samples import Samples
from maskkit.engine.checkpoint import find_checkpoints
from maskkit.engine.classifier import Classifier
from maskkit.engine.device import choose_workers
from maskkit.engine.distributed import ALONE, World, joined
from maskkit.engine.memory import explaining_memory, logits_within_memory
from maskkit.engine.run_folder import write_bad_images
from maskkit.engine.sources import bad_images, read_eval
from maskkit.engine.trained import TrainedRun, probabilities, restore
from maskkit.errors import UsageError
from maskkit.labels import View
from maskkit.plugin.registry import Registry
from maskkit.predictions import write_hard, write_soft
from maskkit.processes import Place

__all__ = ["predict", "probabilities_of", "write_eval"]


def predict(config: PredictConfig, registry: Registry, *, place: Place | None = None) -> None:
    """Predict images with the best (or last) checkpoint of a run, or of all folds, and say where the files are.

    Raises:
        CheckpointError: a checkpoint, or a plugin that it needs, is missing.
        DataError: the images are.
    """
    with joined(place or Place()) as world:
        _predict(config, registry, world)


def _predict(config: PredictConfig, registry: Registry, world: World) -> None:
    paths = find_checkpoints(config.run, config.checkpoint)
    runs = (  # one in memory at a time
        restore(
            path,
            registry,
            device=config.device,
            precision=config.precision,
            test_flip=config.test_flip,
            place=world.place,
        )
        for path in paths
    )
    first = next(runs)
    samples = _images_to_predict(config, registry, paths[0])
    out = _output_folder(config, paths)
    bad = world.told_by_first(bad_images(samples.paths, config.on_bad_image) if world.is_first else None)
    samples = samples.without(bad)
    found = _mean_of_all(chain([first], runs), len(paths), samples, config, world)
    description = first.description
    if not world.is_first:
        return
    write_eval(out, samples, found)
    write_bad_images(out, bad)
    if description.get("notice"):
        print(f"Note: {description['notice']}")
    if bad:
        print(f"Note: {len(bad)} images cannot be read and have no prediction: {out / 'bad_images.csv'}")
    who = f"epoch {description['epoch'] + 1} of {paths[0]}"
    if len(paths) > 1:
        who = f"the mean of the {len(paths)} folds of {config.run}"
    print(f"{len(samples)} images predicted by {who}")
    print(f"wrote {out / 'eval_hard.csv'}\nwrote {out / 'eval_soft.csv'}")


def _mean_of_all(
    runs: Iterable[TrainedRun], num_runs: int, samples: Samples, config: PredictConfig, world: World
) -> NDArray[np.float32]:
    """Return the mean probabilities float32 [N, num_classes] of runs that prepare images alike.

    Where they are several, an image is decoded once for all, if memory holds it.
    """
    found: list[NDArray[np.float32]] = []
    kept: KeptImages | None = None
    for trained in runs:
        if num_runs > 1 and kept is None and fits_in_memory(len(samples), trained.size):
            kept = KeptImages.in_memory(len(samples), trained.size)
        device = trained.classifier.device
        loader = ImageLoader(
            samples.paths,
            trained.augmentation,
            num_workers=choose_workers(config.num_workers, device, world.place),
            pin_memory=device.type == "cuda",
            kept=kept,
        )
        with explaining_memory():
            every, size = torch.arange(len(samples)), config.batch_size
            found.append(probabilities_of(trained.classifier, trained.view, loader, every, size, world=world))
    mean: NDArray[np.float64] = np.mean(found, axis=0, dtype=np.float64)
    return mean.astype(np.float32)


def probabilities_of(
    classifier: Classifier, view: View, loader: ImageLoader, rows: Tensor, batch_size: int, *, world: World = ALONE
) -> NDArray[np.float32]:
    """Return the probabilities float32 [N, num_classes] of the rows int64 [N] of the loader's table."""
    logits, _ = logits_within_memory(classifier, loader, rows, batch_size, world)
    return np.asarray(probabilities(view, logits).cpu().numpy(), dtype=np.float32)


def write_eval(folder: Path, samples: Samples, probabilities: NDArray[np.float32]) -> None:
    """Write eval_hard.csv and eval_soft.csv, a row an image in the table's order."""
    write_hard(folder / "eval_hard.csv", samples.names, probabilities.argmax(axis=1))
    write_soft(folder / "eval_soft.csv", samples.names, probabilities)


def _images_to_predict(config: PredictConfig, registry: Registry, checkpoint: Path) -> Samples:
    if config.info is not None:
        return read_eval(registry, config.images or config.info.parent, info=config.info)
    if config.images is not None:
        return read_eval(registry, config.images)
    eval_dir = _decisions(checkpoint).get("eval_dir")
    if not eval_dir:
        raise UsageError("nothing to predict: the run had no eval folder", hint="Type --images=DIR, or --info=CSV.")
    return read_eval(registry, Path(eval_dir))


def _output_folder(config: PredictConfig, checkpoints: Sequence[Path]) -> Path:
    if config.out is not None:
        if config.out.exists() and not config.out.is_dir():
            raise UsageError(f"--out={config.out} is a file; it must be a folder for eval_hard.csv and eval_soft.csv")
        return config.out
    if config.run.is_dir():
        return config.run / "predictions"
    (checkpoint,) = checkpoints
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
