"""The number that training makes small: one loss a head, and their mean."""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from maskkit.labels import View

__all__ = ["Objective"]


class Objective(nn.Module):
    """The mean of the heads' losses, always in float32: (logits [B, num_outputs], answers) -> scalar.

    The answers are classes 0..17, int64 [B], or soft targets over them, float [B, 18], for losses that take such.

    `make_loss` is a loss factory with the user's options bound; the `answers` int64 [N] to build it with are the
    training set's, from which each head's class counts are taken.
    """

    classes: Tensor

    def __init__(self, view: View, make_loss: Callable[..., nn.Module], answers: NDArray[np.int64]) -> None:
        super().__init__()
        self.view = view
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

    def of_heads(self, logits: Tensor, answers: Tensor) -> list[Tensor]:
        """Return the loss of each head."""
        parts = self.view.split(logits.float())
        targets = self._targets(answers)
        return [loss(part, target) for loss, part, target in zip(self.losses, parts, targets, strict=True)]

    def _targets(self, answers: Tensor) -> list[Tensor]:
        """Return each head's targets: its own classes, or the sums of the soft targets over each of them."""
        if not answers.is_floating_point():
            return [classes[answers] for classes in self.classes]
        widths = [head.num_classes for head in self.view.heads]
        return [
            answers @ functional.one_hot(classes, width).to(answers.dtype)
            for classes, width in zip(self.classes, widths, strict=True)
        ]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities float32 [B, num_classes] that the view composes of the heads' softmaxes."""
        return cast("Tensor", self.view.compose([part.softmax(dim=1) for part in self.view.split(logits.float())]))
