"""Where the images of a run come from: flags, then the environment, then faces drawn on the spot."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maskkit.config import TrainConfig
from maskkit.data.images import check_headers
from maskkit.data.samples import Samples
from maskkit.engine.parts import Part
from maskkit.errors import PluginError, UsageError
from maskkit.plugin.registry import Registry

__all__ = ["Sources", "find_sources", "read_eval"]

_DEFAULT = "MaskSplitByProfileDataset"
_DRAWN = "DrawnFaces"
_EVAL = "builtin:TestDataset"
_COMPETITION_FOLDER = Path("/opt/ml/input/data/train/images")


@dataclass(frozen=True)
class Sources:
    """The labelled images, the eval images when there are any, and the part and the folder that the former are from."""

    dataset: Part
    data_dir: Path | None
    samples: Samples
    eval_samples: Samples | None
    eval_dir: Path | None


def find_sources(config: TrainConfig, registry: Registry, environment: Mapping[str, str] = os.environ) -> Sources:
    """Read and check all images by their headers, before anything is trained or written.

    Raises:
        PluginError: the data set breaks its contract.
        DataError: images or folders are missing, broken or unlabelled.
        UsageError: the data set's name or options are wrong.
    """
    name, data_dir = _choose(config, environment)
    dataset = Part.find(registry, "dataset", name, config.dataset_args)
    samples = dataset.build(data_dir)
    if not isinstance(samples, Samples):
        raise PluginError(
            f"the data set {name} of {dataset.offer.plugin.distribution} gave no Samples, but {samples!r}"
        )
    if not samples.labelled:
        raise UsageError(f"--dataset={name} has no labels to learn from", hint=f"Train with --dataset={_DEFAULT}.")
    eval_dir = samples.eval_dir if config.eval_dir == "auto" else config.eval_dir
    eval_samples = read_eval(registry, eval_dir) if isinstance(eval_dir, Path) else None
    check_headers(samples.paths + (eval_samples.paths if eval_samples else []))
    return Sources(dataset, data_dir, samples, eval_samples, eval_dir if isinstance(eval_dir, Path) else None)


def read_eval(registry: Registry, folder: Path, *, info: Path | None = None) -> Samples:
    """Return the images to predict: those of a folder, or those that the table `info` names in its order."""
    if info is None:
        samples: Samples = Part.find(registry, "dataset", _EVAL, {}).make(folder)
        return samples
    options = {"info": info} if folder == info.parent else {"info": info, "images": folder}
    return Part.find(registry, "dataset", _EVAL, options).make(folder)  # type: ignore[no-any-return]


def _choose(config: TrainConfig, environment: Mapping[str, str]) -> tuple[str, Path | None]:
    """Return the data set's name and its folder, None for one that brings its own."""
    if config.data_dir is not None or config.dataset == _DRAWN:
        return config.dataset or _DEFAULT, config.data_dir
    if environment.get("SM_CHANNEL_TRAIN"):
        return config.dataset or _DEFAULT, Path(environment["SM_CHANNEL_TRAIN"])
    if _COMPETITION_FOLDER.is_dir():
        return config.dataset or _DEFAULT, _COMPETITION_FOLDER
    if config.dataset is None:
        print("no --data_dir, $SM_CHANNEL_TRAIN or competition folder: training on drawn faces", file=sys.stderr)
    return config.dataset or _DRAWN, None
