"""From a table of images to batches of them, by whatever rows are asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from maskkit.data.augmentation import Augmentation
from maskkit.data.duplicates import Hash, perceptual_hash, small_grey
from maskkit.data.images import open_image
from maskkit.data.kept import KeptImages
from maskkit.data.photo_hashes import PhotoHashes
from maskkit.data.workers import end_quietly, explain_worker_failures, received, started
from maskkit.errors import DataError

__all__ = ["Batch", "ImageLoader"]


@dataclass(frozen=True)
class Batch:
    """Prepared images uint8 [B, 3, H, W], their rows in the table int64 [B], and where wanted their hashes.

    hashes: the bits of `perceptual_hash` as int64 [B, 4].
    """

    images: Tensor
    rows: Tensor
    hashes: Tensor | None = None

    def pin_memory(self) -> "Batch":
        return replace(self, images=self.images.pin_memory(), rows=self.rows.pin_memory())


class ImageLoader:
    """Decodes and prepares images in `num_workers` processes, for whatever rows are asked for.

    One loader, with one set of workers, serves training and validation. What it prepared goes into `kept`, when that
    is given, and is taken from there the next time. Of photos whose hash `hashes` wants, it is taken on the way.
    """

    def __init__(
        self,
        paths: Sequence[str],
        augmentation: Augmentation,
        *,
        num_workers: int,
        pin_memory: bool,
        kept: KeptImages | None = None,
        hashes: PhotoHashes | None = None,
    ) -> None:
        self._wanted = _Wanted()
        self._kept, self._hashes, self._pins = kept, hashes, pin_memory
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
        are_kept = [self._kept is not None and self._kept.holds(rows) for rows in wanted]
        # What another run prepared, and none has hashed, is decoded once more.
        are_here = [is_kept and not self._wants_hashes(rows) for rows, is_kept in zip(wanted, are_kept, strict=True)]
        prepared = self._prepared([rows for rows, is_here in zip(wanted, are_here, strict=True) if not is_here])
        for rows, is_here, is_kept in zip(wanted, are_here, are_kept, strict=True):
            if self._kept is not None and is_here:
                batch = Batch(self._kept.take(rows), rows)
                yield batch.pin_memory() if self._pins else batch
                continue
            batch = next(prepared)
            if self._kept is not None and not is_kept:
                self._kept.keep(batch.rows, batch.images)
            if self._hashes is not None and batch.hashes is not None:
                self._hashes.keep(batch.rows, batch.hashes)
            yield batch

    def _wants_hashes(self, rows: Tensor) -> bool:
        return self._hashes is not None and bool(self._hashes.wants(rows).any())

    def _prepared(self, wanted: list[Tensor]) -> Iterator[Batch]:
        if not wanted:
            return
        self._wanted.batches = [[_Wish(row, self._wants_hashes(rows)) for row in rows.tolist()] for rows in wanted]
        with explain_worker_failures():
            batches = started(self._loader)
            while (batch := received(batches, num_workers=self._loader.num_workers)) is not None:
                if isinstance(batch, str):
                    raise DataError(batch)
                yield batch


class _Wish(NamedTuple):
    """What is wanted of an image: the row of its table, and whether its hash."""

    row: int
    with_hash: bool


class _Wanted(Sampler[list[_Wish]]):
    """The batches that are wanted next."""

    def __init__(self) -> None:
        self.batches: list[list[_Wish]] = []

    def __iter__(self) -> Iterator[list[_Wish]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Item(NamedTuple):
    """An image as it is prepared, with its row, and its hash where that was wanted; or why it cannot be read."""

    row: int
    image: Tensor | None = None
    hash: Hash | None = None
    failure: str = ""


class _PreparedImages(Dataset[_Item]):
    """The deterministic part of the preprocessing; a failure travels as text, which crosses processes cleanly."""

    def __init__(self, paths: Sequence[str], augmentation: Augmentation) -> None:
        self._paths = paths
        self._prepare = augmentation.prepare

    def __getitem__(self, wish: _Wish) -> _Item:
        try:
            picture = open_image(self._paths[wish.row])
            found = perceptual_hash(small_grey(picture)) if wish.with_hash else None
            return _Item(wish.row, self._prepare(picture), found)
        except DataError as error:
            return _Item(wish.row, failure=str(error))


def _collate(items: list[_Item]) -> Batch | str:
    failures = [item.failure for item in items if item.failure]
    if failures:
        return "\n".join(failures)
    images = torch.stack([item.image for item in items if item.image is not None])
    hashes = [torch.from_numpy(item.hash.view(np.int64)) for item in items if item.hash is not None]
    rows = torch.tensor([item.row for item in items])
    batch = Batch(images, rows, torch.stack(hashes) if hashes else None)
    if get_worker_info() is not None:
        # Left to the queue, this would happen in a thread of its own; its failure would be lost and the batch awaited
        # for ever.
        for tensor in (batch.images, batch.rows, batch.hashes):
            if tensor is not None:
                tensor.share_memory_()  # type: ignore[no-untyped-call]
    return batch
