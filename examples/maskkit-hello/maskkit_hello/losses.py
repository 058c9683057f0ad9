"""Poly-1 of Leng et al., "PolyLoss" (arXiv 2204.12511)."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Poly1(nn.Module):
    """Cross entropy plus epsilon (1 - p), p being the probability of the true class: logits [B, C], classes [B]."""

    def __init__(self, *, num_classes: int, class_counts: NDArray[np.int64], epsilon: float = 1.0) -> None:  # noqa: ARG002
        super().__init__()
        self.epsilon = epsilon

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        loss = cross_entropy(logits, targets, reduction="none")
        return (loss + self.epsilon * (1 - (-loss).exp())).mean()
