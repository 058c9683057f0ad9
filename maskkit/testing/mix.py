"""The contract of mixes: `maskkit.plugin.contracts.MixFactory`."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from maskkit.labels import NUM_CLASSES
from maskkit.plugin.contracts import Mix
from maskkit.testing.candidate import Candidate
from maskkit.testing.check import expect
from maskkit.testing.inputs import draws, one_hot, pixels
from maskkit.testing.randomness import expect_draws_alone

__all__ = ["CHECKS"]

_SIZE = (40, 32)
_COUNTS = (8, 1, 5)
_EPOCHS = range(4)


def _keeps_shapes(candidate: Candidate) -> None:
    mix = candidate.build(num_classes=NUM_CLASSES)
    expect(callable(mix), f"it must give a function of (images, targets, draws), but gave {type(mix).__name__}")
    for count in _COUNTS:
        mixed = _mix(mix, count, epoch=0)
        expect(
            isinstance(mixed, tuple) and len(mixed) == 2 and all(isinstance(part, Tensor) for part in mixed),
            f"for {count} images it must give (images, targets), two tensors, but gave {type(mixed).__name__}",
        )
        for what, part, shape in (
            ("images", mixed[0], [count, 3, *_SIZE]),
            ("targets", mixed[1], [count, NUM_CLASSES]),
        ):
            expect(
                part.dtype == torch.float32 and list(part.shape) == shape,
                f"for {count} images its {what} must be float32 {shape}, but are {part.dtype} {list(part.shape)}",
            )


def _keeps_targets_shares(candidate: Candidate) -> None:
    for _, targets in _mixed(candidate):
        lowest, sums = float(targets.min()), targets.sum(dim=1)
        expect(
            bool(targets.isfinite().all()) and lowest >= 0,
            f"its targets must be shares of 0 or more, but the lowest is {lowest:g}",
        )
        furthest = float(sums[(sums - 1).abs().argmax()])
        expect(abs(furthest - 1) <= 1e-4, f"each row of its targets must sum to 1, but one sums to {furthest:g}")


def _keeps_pixels_in_range(candidate: Candidate) -> None:
    for images, _ in _mixed(candidate):
        lowest, highest = float(images.min()), float(images.max())
        expect(
            bool(images.isfinite().all()) and lowest >= -1e-5 and highest <= 1 + 1e-5,
            f"its images must have pixels in 0..1, but have {lowest:.3g}..{highest:.3g}",
        )


def _gives_each_image_the_targets_of_its_pixels(candidate: Candidate) -> None:
    mix = _required(candidate)
    colours = torch.rand((NUM_CLASSES, 3), generator=torch.Generator().manual_seed(0))
    for epoch in _EPOCHS:
        targets = one_hot(8)
        images = (targets @ colours)[:, :, None, None].expand(8, 3, *_SIZE).clone()
        images, targets = mix(images, targets, draws(list(range(8)), epoch=epoch))
        distance = float((images.mean(dim=(2, 3)) - targets @ colours).abs().max())
        expect(
            distance <= 1e-3,
            "each row of its targets must have the shares of its image, but of images of one colour each it made some"
            f" whose mean colour is {distance:.2g} away from that of their targets; mix both alike",
        )


def _mixes_by_its_draws_alone(candidate: Candidate) -> None:
    mix = _required(candidate)
    for epoch in _EPOCHS:
        for count in _COUNTS:
            expect_draws_alone(partial(_mix, mix, count, epoch), "it")


def _mixed(candidate: Candidate) -> Iterator[tuple[Tensor, Tensor]]:
    mix = _required(candidate)
    for epoch in _EPOCHS:
        for count in _COUNTS:
            yield _mix(mix, count, epoch)


def _mix(mix: Mix, count: int, epoch: int) -> tuple[Tensor, Tensor]:
    return mix(pixels(count, _SIZE), one_hot(count), draws(list(range(count)), epoch=epoch))


def _required(candidate: Candidate) -> Mix:
    return candidate.require_function(num_classes=NUM_CLASSES)


CHECKS: dict[str, Callable[[Candidate], None]] = {
    "it keeps shapes and types": _keeps_shapes,
    "its targets go on summing to 1": _keeps_targets_shares,
    "its pixels stay in range": _keeps_pixels_in_range,
    "targets have the shares of their images": _gives_each_image_the_targets_of_its_pixels,
    "it draws from its draws alone": _mixes_by_its_draws_alone,
}
