"""The number that training makes small: one loss a head, and their mean."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from maskkit.labels import NUM_CLASSES, View

__all__ = ["LossSum", "Objective"]


class LossSum(nn.Module):
    """The weighted sum of losses of the same logits and targets."""

    def __init__(self, weights: Sequence[float], terms: Iterable[nn.Module]) -> None:
        super().__init__()
        self.weights = tuple(weights)
        self.terms = nn.ModuleList(terms)

    @classmethod
    def made(cls, makers: Sequence[tuple[float, Callable[..., nn.Module]]], **keywords: Any) -> "LossSum":
        """Return the sum of what loss factories, each with its weight, make of the keywords of a loss."""
        return cls([weight for weight, _ in makers], [make(**keywords) for _, make in makers])

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        parts = [weight * term(logits, targets) for weight, term in zip(self.weights, self.terms, strict=True)]
        return cast("Tensor", sum(parts[1:], start=parts[0]))


class Objective(nn.Module):
    """The mean of the heads' losses, always in float32: (logits [B, num_outputs], answers) -> scalar.

    The answers are classes 0..17, int64 [B], or soft targets over them, float [B, 18], for losses that take such.

    `make_loss` is a loss factory with the user's options bound; the `answers` int64 [N] to build it with are the
    training set's, from which each head's class counts are taken.

    smoothing: in training mode, a target q of K becomes (1 - smoothing) q + smoothing / (K-1) (1 - q), so the true
        class has 1 - smoothing and each other one smoothing / (K-1).
    """

    classes: Tensor

    def __init__(
        self,
        view: View,
        make_loss: Callable[..., nn.Module],
        answers: NDArray[np.int64],
        *,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.view, self.smoothing = view, smoothing
        of_class = np.array([head.of_class for head in view.heads], dtype=np.int64)
        self.register_buffer("classes", torch.from_numpy(of_class))
        self.losses = nn.ModuleList(
            make_loss(
                num_classes=head.num_classes,
                class_counts=np.bincount(of_class[position][answers], minlength=head.num_classes),
            )
            for position, head in enumerate(view.heads)
        )

    def forward(self, logits: Tensor, answers: Tensor) -> Tensor:
        return torch.stack(self.of_heads(logits, answers)).mean()

    def of_heads(self, logits: Tensor, answers: Tensor, *, term: int | None = None) -> list[Tensor]:
        """Return the loss of each head, or one term of it where it is a LossSum."""
        losses = self.losses if term is None else [cast("LossSum", loss).terms[term] for loss in self.losses]
        parts = self.view.split(logits.float())
        targets = self._targets(answers)
        return [loss(part, target) for loss, part, target in zip(losses, parts, targets, strict=True)]

    def _targets(self, answers: Tensor) -> list[Tensor]:
        """Return each head's targets: its own classes, or the sums of the soft targets over each of them."""
        is_smoothed = self.smoothing > 0 and self.training
        if not answers.is_floating_point():
            if not is_smoothed:
                return [classes[answers] for classes in self.classes]
            answers = functional.one_hot(answers, NUM_CLASSES).float()
        widths = [head.num_classes for head in self.view.heads]
        targets = [
            answers @ functional.one_hot(classes, width).to(answers.dtype)
            for classes, width in zip(self.classes, widths, strict=True)
        ]
        return [self._smoothed(target) for target in targets] if is_smoothed else targets

    def _smoothed(self, target: Tensor) -> Tensor:
        return (1 - self.smoothing) * target + self.smoothing / (target.shape[1] - 1) * (1 - target)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities float32 [B, num_classes] that the view composes of the heads' softmaxes."""
        return cast("Tensor", self.view.compose([part.softmax(dim=1) for part in self.view.split(logits.float())]))
