"""From a table of images to batches, in an order that depends on the seed and the epoch alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from maskkit.data.augmentation import Augmentation
from maskkit.data.images import open_image
from maskkit.data.kept import KeptImages
from maskkit.data.workers import end_quietly, explain_worker_failures, received, started
from maskkit.errors import DataError

__all__ = ["Batch", "ImageLoader", "epoch_order", "epoch_seed", "num_steps", "split_rows"]


@dataclass(frozen=True)
class Batch:
    """Prepared images uint8 [B, 3, H, W] and their rows in the table int64 [B]."""

    images: Tensor
    rows: Tensor

    def pin_memory(self) -> "Batch":
        return Batch(self.images.pin_memory(), self.rows.pin_memory())


class ImageLoader:
    """Decodes and prepares images in `num_workers` processes, for whatever rows are asked for.

    One loader, with one set of workers, serves training and validation. What it prepared goes into `kept`, when that
    is given, and is taken from there the next time.
    """

    def __init__(
        self,
        paths: Sequence[str],
        augmentation: Augmentation,
        *,
        num_workers: int,
        pin_memory: bool,
        kept: KeptImages | None = None,
    ) -> None:
        self._wanted = _Wanted()
        self._kept, self._pins = kept, pin_memory
        self._loader: DataLoader[Any] = DataLoader(
            _PreparedImages(paths, augmentation),
            batch_sampler=self._wanted,
            num_workers=num_workers,
            collate_fn=_collate,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            worker_init_fn=end_quietly,
            generator=torch.Generator(),  # of its own, so that the number of workers leaves dropout's draws alone
        )

    def batches(self, wanted: list[Tensor]) -> Iterator[Batch]:
        """Yield a batch for each of the tensors of rows, int64 [B].

        Raises:
            DataError: an image cannot be read; its path is named.
            WorkerError: the processes cannot be started, or one dies.
        """
        if self._kept is None:
            yield from self._prepared(wanted)
            return
        are_kept = [self._kept.holds(rows) for rows in wanted]
        prepared = self._prepared([rows for rows, is_kept in zip(wanted, are_kept, strict=True) if not is_kept])
        for rows, is_kept in zip(wanted, are_kept, strict=True):
            if is_kept:
                batch = Batch(self._kept.take(rows), rows)
                yield batch.pin_memory() if self._pins else batch
            else:
                batch = next(prepared)
                self._kept.keep(batch.rows, batch.images)
                yield batch

    def _prepared(self, wanted: list[Tensor]) -> Iterator[Batch]:
        if not wanted:
            return
        self._wanted.batches = [rows.tolist() for rows in wanted]
        with explain_worker_failures():
            batches = started(self._loader)
            while (batch := received(batches, num_workers=self._loader.num_workers)) is not None:
                if isinstance(batch, str):
                    raise DataError(batch)
                yield batch


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
