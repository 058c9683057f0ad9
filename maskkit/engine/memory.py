"""What to do when the device's memory runs out: a smaller batch, and a word about it."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from maskkit.config import TrainConfig
from maskkit.data.loader import ImageLoader
from maskkit.data.order import split_rows
from maskkit.engine.classifier import Classifier
from maskkit.engine.distributed import ALONE, World
from maskkit.errors import TrainingError

__all__ = ["explaining_memory", "free_memory", "is_out_of_memory", "logits_within_memory", "smaller_batches"]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out; CUDA has a class for it, MPS and the CPU have words."""
    words = ("out of memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def free_memory() -> None:
    """Give back what nobody holds any more; an exception's frames hold on to tensors until they are collected."""
    gc.collect()
    torch.cuda.empty_cache()  # does nothing where there is no GPU


def smaller_batches(config: TrainConfig, *, keep_step: bool) -> TrainConfig:
    """Return the config with half the images at once; `keep_step` accumulates twice as many, so that a step stays.

    Raises:
        TrainingError: a single image is too much already.
    """
    assert isinstance(config.batch_size, int)  # noqa: S101  "auto" became a number in the plan
    if config.batch_size == 1:
        raise TrainingError(
            f"memory ran out with a single image of {config.resize[0]}x{config.resize[1]} in {config.model}",
            hint="Try a smaller --resize, a smaller --model, or --precision=bf16.",
        )
    half = (config.batch_size + 1) // 2
    return replace(config, batch_size=half, accumulate=config.accumulate * (2 if keep_step else 1))


def logits_within_memory(
    classifier: Classifier, loader: ImageLoader, rows: Tensor, batch_size: int, world: World = ALONE
) -> tuple[Tensor, int]:
    """Return the float32 logits [N, num_outputs] of the rows, and the batch size that memory held.

    Several processes deal out the batches that one alone would have, so that nothing depends on their number.
    """
    if world.place.is_alone:
        return _logits_of(classifier, loader, rows, batch_size)
    mine = torch.cat([rows[:0], *world.deal(split_rows(torch.arange(len(rows)), batch_size))])
    held, logits = batch_size, torch.empty(0)
    if len(mine):
        logits, held = _logits_of(classifier, loader, rows[mine], batch_size)
    width = world.told_by_first(logits.shape[-1])  # the first process has a batch, if anyone has
    everyone = torch.zeros(len(rows), width, device=classifier.device)
    if len(mine):
        everyone[mine.to(everyone.device)] = logits
    return world.sum(everyone), world.smallest(held)


def _logits_of(classifier: Classifier, loader: ImageLoader, rows: Tensor, batch_size: int) -> tuple[Tensor, int]:
    while True:
        try:
            return classifier.logits_of(loader.batches(split_rows(rows, batch_size))), batch_size
        except RuntimeError as error:
            if not is_out_of_memory(error) or batch_size == 1:
                raise
        free_memory()
        warnings.warn(f"memory ran out with {batch_size} images at once; trying {batch_size // 2}", stacklevel=2)
        batch_size //= 2


@contextmanager
def explaining_memory() -> Iterator[None]:
    """Turn what no smaller batch could cure into an error with a way on.

    Raises:
        TrainingError: memory ran out inside.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        first = next(iter(str(error).splitlines()), "")
        raise TrainingError(
            f"memory ran out: {first}", hint="Try a smaller --model, --resize or --batch_size, or another --device."
        ) from error
