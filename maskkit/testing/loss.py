"""The contract of losses: `maskkit.plugin.contracts.LossFactory`."""

from collections.abc import Callable, Iterator
from unittest import SkipTest

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskkit.labels import NUM_CLASSES
from maskkit.testing.candidate import Candidate
from maskkit.testing.check import expect
from maskkit.testing.inputs import one_hot, seeded
from maskkit.testing.packable import expect_packable

__all__ = ["CHECKS"]

_WIDTHS = (2, 3, NUM_CLASSES)
_SURE = 30.0  # logits of a network that is sure of itself: 1 - p of its answer is 0 in float32


def _gives_one_finite_number(candidate: Candidate) -> None:
    for width in _WIDTHS:
        loss = _built(candidate, width)
        expect(isinstance(loss, nn.Module), f"it must give a torch.nn.Module, but gave {type(loss).__name__}")
        for what, logits, targets in _cases(width):
            for is_training in (True, False):
                _expect_number(loss.train(is_training)(logits, targets), what)


def _gives_finite_gradients(candidate: Candidate) -> None:
    for width in _WIDTHS:
        loss = _required(candidate, width)
        for what, logits, targets in _cases(width):
            _expect_finite_gradient(loss, logits, targets, what)


def _gives_the_same_twice(candidate: Candidate) -> None:
    loss = _required(candidate, NUM_CLASSES).eval()
    for what, logits, targets in _cases(NUM_CLASSES):
        with seeded(1):
            first, second = _number(loss, logits, targets), _number(loss, logits, targets)
        expect(
            first == second,
            f"in evaluation it must give the same number each time, but for {what} it gave {first:g} and {second:g};"
            " draw nothing, and change its state only when self.training",
        )


def _fits_into_a_checkpoint(candidate: Candidate) -> None:
    expect_packable(_required(candidate, NUM_CLASSES).state_dict(), "objective")


def _takes_classes_as_rows(candidate: Candidate) -> None:
    _require_soft_targets(candidate)
    for width in _WIDTHS:
        loss = _required(candidate, width).eval()
        for what, logits, targets in _cases(width):
            of_classes = _number(loss, logits, targets)
            of_rows = _number(loss, logits, nn.functional.one_hot(targets, width).float())
            expect(
                abs(of_rows - of_classes) <= 1e-5 * max(1.0, abs(of_classes)),
                f"rows of one 1 must give the number that their classes give, but for {what} it gave {of_rows:g}"
                f" instead of {of_classes:g}",
            )


def _takes_mixed_rows(candidate: Candidate) -> None:
    _require_soft_targets(candidate)
    for width in _WIDTHS:
        loss = _required(candidate, width)
        mixed = (one_hot(6, width) + one_hot(6, width).roll(1, dims=0)) / 2
        what = f"rows that mix two of {width} classes"
        for scale in (1.0, _SURE):
            _expect_number(loss.train()(_logits(6, width) * scale, mixed), what)
            _expect_finite_gradient(loss, _logits(6, width) * scale, mixed, what)


def _weighs_the_shares(candidate: Candidate) -> None:
    _require_soft_targets(candidate)
    loss, logits = _required(candidate, NUM_CLASSES).eval(), _logits(6, NUM_CLASSES)
    sure = one_hot(6, NUM_CLASSES)
    numbers = [float(loss(logits, share * sure + (1 - share) * sure.roll(1, dims=0))) for share in (0.9, 0.6)]
    expect(
        numbers[0] != numbers[1],
        f"rows with shares of .9 and .1 must count otherwise than those of .6 and .4, but both gave {numbers[0]:g};"
        " weigh each class by its share",
    )


def _cases(width: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield what to call a batch, its logits float32 [B, width] and its classes int64 [B]."""
    classes = torch.arange(8) % width
    sure = _SURE * (2 * nn.functional.one_hot(classes, width).float() - 1)
    yield f"8 images of {width} classes", _logits(8, width), classes
    yield f"one image of {width} classes", _logits(1, width), classes[1:2]
    yield f"logits of {_SURE:g} for the right one of {width} classes", sure, classes
    yield f"logits of {_SURE:g} for the wrong one of {width} classes", sure, classes.roll(1)


def _logits(count: int, width: int) -> Tensor:
    return torch.randn((count, width), generator=torch.Generator().manual_seed(width))


def _counts(width: int) -> NDArray[np.int64]:
    """Return how many training images each class has: the first has none."""
    return np.arange(width, dtype=np.int64) * 7


def _built(candidate: Candidate, width: int) -> nn.Module:
    with seeded(0):
        return candidate.build(num_classes=width, class_counts=_counts(width))  # type: ignore[no-any-return]


def _required(candidate: Candidate, width: int) -> nn.Module:
    with seeded(0):
        return candidate.require(nn.Module, num_classes=width, class_counts=_counts(width))


def _number(loss: nn.Module, logits: Tensor, targets: Tensor) -> float:
    value = loss(logits, targets)
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise SkipTest("it gives no number")
    return float(value)


def _require_soft_targets(candidate: Candidate) -> None:
    if not candidate.offer.component.soft_targets:
        raise SkipTest("its record does not say soft_targets")


def _expect_number(value: object, what: str) -> None:
    expect(isinstance(value, Tensor), f"for {what} it must give a tensor, but gave {type(value).__name__}")
    assert isinstance(value, Tensor)  # noqa: S101  expected above
    expect(
        value.shape == (),
        f"for {what} it must give one number, but gave the shape {list(value.shape)}; take the mean over the batch",
    )
    expect(value.dtype == torch.float32, f"for {what} it must give float32, but gave {value.dtype}")
    expect(bool(value.isfinite()), f"for {what} it must give a finite number, but gave {float(value)}")


def _expect_finite_gradient(loss: nn.Module, logits: Tensor, targets: Tensor, what: str) -> None:
    logits = logits.clone().requires_grad_()
    value = loss.train()(logits, targets)
    expect(value.requires_grad, "its number must lead back to the logits; take no_grad, detach or argmax out of it")
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    expect(
        bool(gradient.isfinite().all()),
        f"for {what} its gradient must be finite, but is not; use log_softmax instead of the logarithm of a softmax",
    )


CHECKS: dict[str, Callable[[Candidate], None]] = {
    "it gives one finite number": _gives_one_finite_number,
    "its gradients are finite": _gives_finite_gradients,
    "it gives the same twice": _gives_the_same_twice,
    "its state fits into a checkpoint": _fits_into_a_checkpoint,
    "it takes rows of one 1 as classes": _takes_classes_as_rows,
    "it takes mixed rows": _takes_mixed_rows,
    "it weighs the shares of mixed rows": _weighs_the_shares,
}
