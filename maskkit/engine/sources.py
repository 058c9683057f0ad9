"""Where the images of a run come from: flags, then the environment, then faces drawn on the spot."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from maskkit.config import TrainConfig
from maskkit.data.checked import check_once
from maskkit.data.images import find_bad_images
from maskkit.data.relabelling import read_corrections, relabel
from maskkit.data.samples import Samples
from maskkit.errors import PluginError, UsageError
from maskkit.plugin.part import Part
from maskkit.plugin.registry import Registry
from maskkit.progress import showing_progress

__all__ = ["Sources", "bad_images", "find_sources", "read_eval"]

_DEFAULT = "MaskSplitByProfileDataset"
_DRAWN = "DrawnFaces"
_EVAL = "builtin:TestDataset"
_COMPETITION_FOLDER = Path("/opt/ml/input/data/train/images")


@dataclass(frozen=True)
class Sources:
    """The labelled images, the eval images when there are any, and the part and the folder that the former are from.

    bad_images: the files that were left out of both, each with its cause.
    relabelled: the labels that were put right, a row each.
    """

    dataset: Part
    data_dir: Path | None
    samples: Samples
    eval_samples: Samples | None
    eval_dir: Path | None
    bad_images: Mapping[str, str]
    relabelled: pd.DataFrame


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
            f"the data set {name} of {dataset.offer.plugin.distribution} gave no Samples,"
            f" but a {type(samples).__name__}"
        )
    if not samples.labelled:
        raise UsageError(f"--dataset={name} has no labels to learn from", hint=f"Train with --dataset={_DEFAULT}.")
    corrections = [] if config.relabel is None else read_corrections(config.relabel)
    samples, relabelled = relabel(samples, corrections)
    eval_dir = samples.eval_dir if config.eval_dir == "auto" else config.eval_dir
    eval_samples = read_eval(registry, eval_dir) if isinstance(eval_dir, Path) else None
    bad = bad_images(samples.paths + (eval_samples.paths if eval_samples else []), config.on_bad_image)
    return Sources(
        dataset=dataset,
        data_dir=data_dir,
        samples=samples.without(bad),
        eval_samples=eval_samples.without(bad) if eval_samples else None,
        eval_dir=eval_dir if isinstance(eval_dir, Path) else None,
        bad_images=bad,
        relabelled=relabelled,
    )


def bad_images(paths: Sequence[str], on_bad_image: Literal["error", "skip"]) -> dict[str, str]:
    """Return the files to leave out, each with its cause; to know them all, every one is decoded.

    Raises:
        DataError: bad images are an error; those that their headers and ends betray are named.
    """
    with showing_progress() as progress_of:
        on_progress = progress_of("checking", "images")
        if on_bad_image == "skip":
            return find_bad_images(paths, thorough=True, on_progress=on_progress)
        check_once(paths, on_progress=on_progress)
        return {}


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
