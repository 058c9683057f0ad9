"""Everything that is decided before a run folder exists: nothing here is written, and every fault shows here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskkit.config import TrainConfig
from maskkit.data.ages import are_of_ages, read_ages, targets
from maskkit.data.augmentation import Augmentation
from maskkit.data.cache_files import has_room
from maskkit.data.folds import HELD_OUT, LEFT_OUT, TRAINING
from maskkit.data.images import open_image
from maskkit.data.kept import KeptImages, fits_in_memory, kept_on_disk
from maskkit.data.loader import ImageLoader
from maskkit.data.order import num_steps
from maskkit.data.photo_hashes import PhotoHashes
from maskkit.data.samples import Samples
from maskkit.data.sampling import drawing_weights
from maskkit.data.split_file import read_split
from maskkit.engine.device import Precision, choose_device, choose_precision, choose_workers, for_training
from maskkit.engine.distributed import ALONE, World
from maskkit.engine.parts import choose_losses, choose_parts, choose_reporters, plain_names
from maskkit.engine.sources import Sources, find_sources
from maskkit.engine.variation import Growth, Variation
from maskkit.engine.weights import check_source
from maskkit.errors import DataError, UsageError
from maskkit.labels import NUM_CLASSES, View, view_named
from maskkit.plugin.part import Part
from maskkit.plugin.registry import Registry

__all__ = ["Plan", "make_plan"]

_MOST_AT_ONCE = 512
_CPU_BATCH_SIZE = 64


@dataclass(frozen=True)
class Plan:
    """What a run will do. In its config, what stood open is decided: the batch size, the data set and its folder.

    `folds` tells of each image whether this run holds it out, trains on it or leaves it out, `fold_numbers` in which of
    --folds it is, and `targets` the class 0..17 that it is trained as; int64 [N] each. `losses` are the terms of the
    loss, each with its weight.
    """

    config: TrainConfig
    origins: Mapping[str, str]
    sources: Sources
    parts: Mapping[str, Part]
    losses: Sequence[tuple[float, Part]]
    reporters: Mapping[str, Part]
    view: View
    device: torch.device
    precision: Precision
    variation: Variation
    folds: NDArray[np.int64]
    fold_numbers: NDArray[np.int64]
    targets: NDArray[np.int64]
    pretrained: bool
    num_workers: int
    cache: str
    world: World = ALONE

    @property
    def samples(self) -> Samples:
        return self.sources.samples

    @property
    def batch_size(self) -> int:
        """How many images a process has in memory at once."""
        assert isinstance(self.config.batch_size, int)  # noqa: S101  make_plan decided it
        return self.config.batch_size

    @property
    def steps_per_epoch(self) -> int:
        num_batches = self.config.accumulate * self.world.size
        return num_steps(len(self.rows(held_out=False)), self.batch_size * num_batches, at_least=2 * num_batches)

    def rows(self, *, held_out: bool) -> Tensor:
        """Return the rows of the table that are held out, or trained on, int64 [N]."""
        return torch.from_numpy(np.flatnonzero(self.folds == (HELD_OUT if held_out else TRAINING)))

    def drawing_weights(self) -> Tensor | None:
        """Return in which proportions the rows to train on are drawn, float64 [N]; None draws each once in an epoch."""
        rows = self.rows(held_out=False).numpy()
        weights = drawing_weights(
            self.targets[rows],
            self.samples.table["person"].to_numpy()[rows],
            self.view,
            balance=self.config.balance,
            oversample_old=self.config.oversample_old,
        )
        return None if weights is None else torch.from_numpy(weights)

    def loader(self, samples: Samples, *, often: bool, hashes: PhotoHashes | None = None) -> ImageLoader:
        """Return a loader of the images of a table, `often` when each is wanted more than once."""
        return ImageLoader(
            samples.paths,
            self.variation.augmentation,
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
            kept=self._kept(samples) if often else None,
            hashes=hashes,
        )

    def _kept(self, samples: Samples) -> KeptImages | None:
        size, recipe = self.config.resize, self.parts["augmentation"].record
        if self.cache == "ram":
            return KeptImages.in_memory(len(samples), size)
        if self.cache == "disk":
            prepare = self.variation.augmentation.prepare
            return kept_on_disk(samples.paths, size, recipe, lambda path: prepare(open_image(path)))
        return None


def make_plan(
    config: TrainConfig,
    origins: Mapping[str, str],
    registry: Registry,
    *,
    world: World = ALONE,
    bad_images: Mapping[str, str] | None = None,
) -> Plan:
    """Find every part, read the data and choose what was left open.

    bad_images: those that another process found, each with its cause; None to look for them.

    Raises:
        UsageError: a name, an option or a value does not fit.
        DataError: the images do not, or too few are left.
        WeightsError: there is no file of weights to start from.
    """
    config = plain_names(config, registry)
    parts = choose_parts(config, registry)
    losses = choose_losses(config, registry)
    reporters = choose_reporters(config, registry)
    device = choose_device(config.device, world.place)
    precision = for_training(choose_precision(config.precision, device), device)
    _check_device(config, device)
    variation = _variation(config, parts)
    pretrained = _is_pretrained(config, has_weights=parts["model"].component.has_weights)
    if config.weights is not None:
        check_source(config.weights)
    dropped_ages = read_ages(config.drop_ages)
    sources = find_sources(config, registry, bad=bad_images)
    folds, fold_numbers = _choose_folds(config, sources.samples)
    folds[(folds == TRAINING) & are_of_ages(sources.samples, dropped_ages)] = LEFT_OUT
    num_train = int(np.count_nonzero(folds == TRAINING))
    _check_enough(config, num_train, world)
    decided = _decide(config, sources, device, num_train)
    return Plan(
        config=replace(config, **decided),
        origins={**origins, **{name: _decided(origins[name]) for name in decided}},
        sources=sources,
        parts={**parts, "dataset": sources.dataset},
        reporters=reporters,
        view=view_named(config.classification),
        device=device,
        precision=precision,
        losses=losses,
        variation=variation,
        folds=folds,
        fold_numbers=fold_numbers,
        targets=targets(sources.samples, config.old_from),
        pretrained=pretrained,
        num_workers=choose_workers(config.num_workers, device, world.place),
        cache=_choose_cache(config, len(sources.samples) * world.place.local_size),
        world=world,
    )


def _variation(config: TrainConfig, parts: Mapping[str, Part]) -> Variation:
    return Variation(
        augmentation=parts["augmentation"].build_a(Augmentation, size=config.resize),
        mix=parts["mix"].build_function(num_classes=NUM_CLASSES) if "mix" in parts else None,
        mix_probability=config.mix_probability,
        growth=_growth(config),
    )


def _growth(config: TrainConfig) -> Growth | None:
    if config.resize_from is None:
        return None
    if any(first > last for first, last in zip(config.resize_from, config.resize, strict=True)):
        first, last = (f"{height}x{width}" for height, width in (config.resize_from, config.resize))
        raise UsageError(f"--resize_from={first} is larger than --resize={last}", hint="Images can only grow.")
    return Growth(config.resize_from, config.resize, config.epochs)


def _check_device(config: TrainConfig, device: torch.device) -> None:
    if config.compile == "graphs" and device.type != "cuda":
        raise UsageError(
            f"--compile=graphs needs a CUDA GPU, not {device}", hint="Leave it out, or type --compile=default."
        )
    if config.sync_batchnorm and device.type != "cuda":
        raise UsageError(f"--sync_batchnorm needs CUDA GPUs, not {device}", hint="Leave it out.")


def _check_enough(config: TrainConfig, num_train: int, world: World) -> None:
    """Refuse to train on fewer images than batch statistics need, two in each process."""
    if num_train >= 2 * world.size:
        return
    few = "fewer than two images are left to train on"
    if not world.place.is_alone:
        few = f"only {num_train} images are left to train on, and each of {world.size} processes needs two"
    hint = f"Give more people, or {'fewer --drop_ages' if config.drop_ages else 'a smaller --val_ratio'}."
    raise DataError(few, hint=hint)


def _choose_folds(config: TrainConfig, samples: Samples) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return 0 for each image that is held out and 1 for the others, and in which of --folds each is, int64 [N]."""
    if config.split_file is not None:
        fold_numbers = read_split(config.split_file, samples, num_folds=config.folds)
    elif config.folds is None:
        fold_numbers = samples.split(val_ratio=config.val_ratio, seed=config.seed)
    else:
        fold_numbers = samples.assign_folds(num_folds=config.folds, seed=config.seed)
    if config.folds is None:
        return fold_numbers.copy(), fold_numbers
    return np.where(fold_numbers == config.fold, HELD_OUT, TRAINING), fold_numbers


def _decide(config: TrainConfig, sources: Sources, device: torch.device, num_train: int) -> dict[str, Any]:
    """Return values of flags that stood open and that a replay must find again, by name."""
    decided: dict[str, Any] = {}
    if config.batch_size == "auto":
        decided["batch_size"] = _largest_batch(device, num_train)
    if config.dataset is None:
        decided["dataset"] = sources.dataset.component.name
    for name in ("split_file", "relabel"):
        path = getattr(config, name)
        if isinstance(path, Path) and not path.is_absolute():
            decided[name] = path.absolute()
    if sources.data_dir is not None and config.data_dir != sources.data_dir.absolute():
        decided["data_dir"] = sources.data_dir.absolute()
    return decided


def _decided(origin: str) -> str:
    return "decided" if origin == "default" else f"decided ({origin})"


def _largest_batch(device: torch.device, num_train: int) -> int:
    """Return where `auto` begins, halving when memory runs out: a CPU gains nothing from more than 64 at once."""
    most = _CPU_BATCH_SIZE if device.type == "cpu" else _MOST_AT_ONCE
    while most > 8 and most * 16 > num_train:  # an epoch of a few steps learns little
        most //= 2
    return most


def _choose_cache(config: TrainConfig, count: int) -> str:
    if config.cache != "auto":
        return config.cache
    if fits_in_memory(count, config.resize):
        return "ram"
    return "disk" if has_room(count * 3 * config.resize[0] * config.resize[1]) else "none"


def _is_pretrained(config: TrainConfig, *, has_weights: bool) -> bool:
    if config.pretrained is True and config.weights is not None:
        raise UsageError("--pretrained and --weights both say where to start from", hint="Leave one out.")
    if config.pretrained is True and not has_weights:
        raise UsageError(f"--pretrained: the model {config.model} has no pretrained weights", hint="Leave it out.")
    return has_weights and config.pretrained is not False and config.weights is None
