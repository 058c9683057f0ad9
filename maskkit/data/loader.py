"""From a table of images to batches, in an order that depends on the seed and the epoch alone."""

import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from maskkit.data.augmentation import Augmentation
from maskkit.data.images import open_image
from maskkit.errors import DataError, MaskkitError, WorkerError

__all__ = ["Batch", "ImageLoader", "epoch_order", "epoch_seed", "explain_worker_failures", "num_steps", "split_rows"]

# What torch or the system says of the processes that decode, what it means, and the way on.
_FAILURES = (
    (
        "Bus error|shared memory|No space left",
        "there is too little shared memory (/dev/shm) for the processes that decode images",
        "Use --num_workers=0, or give more of it, as docker run --shm-size=8g does.",
    ),
    (
        "Too many open files",
        "too many files are open for the processes that decode images",
        "Use fewer: --num_workers=1, or 0; or raise the limit, as ulimit -n 4096 does.",
    ),
    (
        "Cannot allocate memory|Resource temporarily unavailable|can't start new thread",
        "the system has no room for so many processes that decode images",
        "Use fewer: --num_workers=1, or 0 to decode in this process.",
    ),
    (
        "killed by signal|exited unexpectedly",
        "a process that decodes images died, most often because the memory ran out",
        "Use fewer: --num_workers=1, or 0 to decode in this process; or a smaller --batch_size.",
    ),
    ("", "a process that decodes images failed", "To see where: --num_workers=0 --debug"),
)


@dataclass(frozen=True)
class Batch:
    """Prepared images uint8 [B, 3, H, W] and their rows in the table int64 [B]."""

    images: Tensor
    rows: Tensor

    def pin_memory(self) -> "Batch":
        return Batch(self.images.pin_memory(), self.rows.pin_memory())


class ImageLoader:
    """Decodes and prepares images in `num_workers` processes, for whatever rows are asked for.

    One loader, with one set of workers, serves training and validation.
    """

    def __init__(self, paths: Sequence[str], augmentation: Augmentation, *, num_workers: int, pin_memory: bool) -> None:
        self._wanted = _Wanted()
        self._loader: DataLoader[Any] = DataLoader(
            _PreparedImages(paths, augmentation),
            batch_sampler=self._wanted,
            num_workers=num_workers,
            collate_fn=_collate,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            worker_init_fn=_end_quietly,
            generator=torch.Generator(),  # of its own, so that the number of workers leaves dropout's draws alone
        )

    def batches(self, wanted: list[Tensor]) -> Iterator[Batch]:
        """Yield a batch for each of the tensors of rows, int64 [B].

        Raises:
            DataError: an image cannot be read; its path is named.
            WorkerError: the processes cannot be started, or one dies.
        """
        self._wanted.batches = [rows.tolist() for rows in wanted]
        with explain_worker_failures():
            for batch in self._started():
                if isinstance(batch, str):
                    raise DataError(batch)
                yield batch

    def _started(self) -> Iterator[Batch | str]:
        """Return the batches to come, for which processes are started unless they run already."""
        try:
            return iter(self._loader)
        except (OSError, RuntimeError) as error:
            with _silent_destructors():
                traceback.clear_frames(error.__traceback__)  # lets go of the iterator, which ends its processes
            raise _worker_error(str(error)) from error


@contextmanager
def _silent_destructors() -> Iterator[None]:
    """Keep Python from printing what destructors raise, as that of torch's half made iterator does."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook


@contextmanager
def explain_worker_failures() -> Iterator[None]:
    """Turn what torch raises when a process that decodes fails into an error with a way on.

    torch raises it from a signal handler too, anywhere in the main thread, so this belongs around a whole training.

    Raises:
        WorkerError: says what torch said, what it means and what to try; any other error passes as it is.
    """
    try:
        yield
    except (MaskkitError, torch.OutOfMemoryError):  # told already; of the GPU
        raise
    except Exception as error:
        if re.search("DataLoader worker|Communication with the workers", str(error)):
            raise _worker_error(str(error)) from error
        raise


def _worker_error(text: str) -> WorkerError:
    """Return the error for what torch said, of which one sentence is kept, or the last line of a traceback."""
    said = text.strip().splitlines()[-1] if text.startswith("Caught ") else text.partition(". ")[0]
    meaning, hint = next((meaning, hint) for pattern, meaning, hint in _FAILURES if re.search(pattern, text))
    return WorkerError(f"{meaning} ({said.strip()})", hint=hint)


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of torch's generators in an epoch, which take 64 bits; any whole number is a seed."""
    return (seed * 1_000_003 + epoch) % 2**63


def epoch_order(rows: Tensor, *, seed: int, epoch: int) -> Tensor:
    """Return the rows int64 [N] in the order of an epoch, a function of (seed, epoch) alone."""
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
    return rows[torch.randperm(len(rows), generator=generator)]


def split_rows(rows: Tensor, batch_size: int) -> list[Tensor]:
    """Return the rows int64 [N] in their order, `batch_size` at a time.

    A last batch of one joins the batch before it, since batch statistics need two images; not when all are of one.
    """
    parts = list(torch.split(rows, batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1 < batch_size:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def num_steps(num_rows: int, batch_size: int) -> int:
    """Return the number of batches that `split_rows` makes of so many rows."""
    steps = -(-num_rows // batch_size)
    return steps - 1 if steps > 1 and num_rows % batch_size == 1 else steps


class _Wanted(Sampler[list[int]]):
    """The batches that are wanted next."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _PreparedImages(Dataset[tuple[Tensor | None, int, str]]):
    """The deterministic part of the preprocessing; a failure travels as text, which crosses processes cleanly."""

    def __init__(self, paths: Sequence[str], augmentation: Augmentation) -> None:
        self._paths = paths
        self._prepare = augmentation.prepare

    def __getitem__(self, row: int) -> tuple[Tensor | None, int, str]:
        try:
            return self._prepare(open_image(self._paths[row])), row, ""
        except DataError as error:
            return None, row, str(error)


def _end_quietly(_: int) -> None:
    """Keep a process that decodes from printing that the main one has gone; its failures travel as exceptions."""
    sys.excepthook = lambda *_: None


def _collate(items: list[tuple[Tensor | None, int, str]]) -> Batch | str:
    failures = [failure for _, _, failure in items if failure]
    if failures:
        return "\n".join(failures)
    images = torch.stack([image for image, _, _ in items if image is not None])
    batch = Batch(images, torch.tensor([row for _, row, _ in items]))
    if get_worker_info() is not None:
        # Left to the queue, this would happen in a thread of its own; its failure would be lost and the batch awaited
        # for ever.
        batch.images.share_memory_()  # type: ignore[no-untyped-call]
        batch.rows.share_memory_()  # type: ignore[no-untyped-call]
    return batch
