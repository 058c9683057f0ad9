"""Losses in the box. Each takes logits [B, K] and either classes int64 [B] or soft targets float [B, K]."""

import warnings
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["cross_entropy", "f1", "focal", "label_smoothing"]

_Weights = Literal["none", "balanced"]


class CrossEntropy(nn.CrossEntropyLoss):
    """torch's cross entropy; with class weights w, soft targets q are divided by sum_ik q_ik w_k.

    torch divides soft targets by N whatever their weights; this way one-hot rows and classes give the same number.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:  # noqa: A002  torch's own name
        loss = super().forward(input, target)
        if target.is_floating_point() and self.weight is not None:
            loss = loss * len(target) / (target @ self.weight).sum()
        return loss


def cross_entropy(
    *, num_classes: int, class_counts: "NDArray[np.int64]", class_weights: _Weights = "none"
) -> CrossEntropy:
    """Return the cross entropy, weighted by N/(K n_k) when `class_weights` is "balanced"."""
    return CrossEntropy(weight=_weights(num_classes, class_counts, class_weights))


def label_smoothing(
    *, num_classes: int, class_counts: "NDArray[np.int64]", class_weights: _Weights = "none", smoothing: float = 0.01
) -> CrossEntropy:
    """Return the cross entropy against 1 - smoothing for the true class and smoothing/(K-1) for each other.

    torch spreads its smoothing over all K classes, so smoothing * K/(K-1) there is the same targets.
    """
    if not 0 <= smoothing <= 1 - 1 / num_classes:
        raise ValueError(f"smoothing must lie in 0..{1 - 1 / num_classes:g}; received {smoothing}")
    weight = _weights(num_classes, class_counts, class_weights)
    return CrossEntropy(weight=weight, label_smoothing=smoothing * num_classes / (num_classes - 1))


class FocalLoss(nn.Module):
    """-(1/sum_i w_yi) sum_i w_yi (1 - p_i,yi)^gamma log p_i,yi (Lin et al., arXiv 1708.02002).

    With soft targets q: -(1/sum_ik q_ik w_k) sum_ik q_ik w_k (1 - p_ik)^gamma log p_ik, the same for one-hot q.
    """

    weight: Tensor | None

    def __init__(self, gamma: float, weight: Tensor | None) -> None:
        super().__init__()
        if gamma < 0:
            raise ValueError(f"gamma must be 0 or more; received {gamma}")
        self.gamma = gamma
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        soft = _soft(targets, logits)
        if self.weight is not None:
            soft = soft * self.weight
        log_p = functional.log_softmax(logits, dim=1)
        # Above 0, since the slope of a power below 1 is infinite there, and infinity times nothing is NaN.
        missing = (-log_p.expm1()).clamp(min=torch.finfo(log_p.dtype).tiny)
        return -(soft * missing**self.gamma * log_p).sum() / soft.sum()


def focal(
    *, num_classes: int, class_counts: "NDArray[np.int64]", class_weights: _Weights = "none", gamma: float = 2.0
) -> FocalLoss:
    """Return the focal loss."""
    return FocalLoss(gamma, _weights(num_classes, class_counts, class_weights))


class F1Loss(nn.Module):
    """One minus the macro soft F1 of the batch: 1 - mean_k 2 P_k R_k / (P_k + R_k + e), clamped to [e, 1 - e].

    P and R are precision and recall from the sums TP = q p, FP = (1 - q) p, FN = q (1 - p) over the batch, each
    quotient with e = 1e-7 in its denominator.
    """

    epsilon = 1e-7

    def __init__(self) -> None:
        super().__init__()
        self._is_first = True

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        if logits.requires_grad and self._is_first:
            self._is_first = False  # an epoch's last batch may be small whatever the batch size
            _warn_of_small_batches(*logits.shape)
        p, q = logits.softmax(dim=1), _soft(targets, logits)
        true_positive = (q * p).sum(dim=0)
        precision = true_positive / (p.sum(dim=0) + self.epsilon)
        recall = true_positive / (q.sum(dim=0) + self.epsilon)
        f1 = 2 * precision * recall / (precision + recall + self.epsilon)
        return 1 - f1.clamp(self.epsilon, 1 - self.epsilon).mean()


def _warn_of_small_batches(batch: int, num_classes: int) -> None:
    if batch < 4 * num_classes:
        warnings.warn(
            f"the f1 loss sees {batch} images of {num_classes} classes in a batch; a class that is absent from it"
            f" teaches nothing, so use --batch_size={4 * num_classes} or more",
            stacklevel=3,
        )


def f1(*, num_classes: int, class_counts: "NDArray[np.int64]") -> F1Loss:  # noqa: ARG001  needs neither
    """Return the macro soft F1 loss."""
    return F1Loss()


def _soft(targets: Tensor, logits: Tensor) -> Tensor:
    """Return soft targets as they are, and classes as one-hot rows, in the logits' dtype."""
    if targets.is_floating_point():
        return targets.to(logits.dtype)
    return functional.one_hot(targets, logits.shape[1]).to(logits.dtype)


def _weights(num_classes: int, class_counts: "NDArray[np.int64]", choice: _Weights) -> Tensor | None:
    """Return N/(K n_k) float32 [K] for "balanced", 0 for a class without images."""
    if choice == "none":
        return None
    counts = torch.as_tensor(class_counts, dtype=torch.float32)
    return torch.where(counts > 0, counts.sum() / (num_classes * counts.clamp(min=1)), 0.0)
