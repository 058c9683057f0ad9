"""Measuring a network on the held-out rows: one loss and one confusion table over all of them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from maskkit.data.loader import ImageLoader
from maskkit.data.samples import Samples
from maskkit.engine.distributed import ALONE, World
from maskkit.engine.learning import Learning
from maskkit.engine.memory import logits_within_memory
from maskkit.metrics import Counts, confusion_counts, f1_per_class, scores
from maskkit.reporting.events import Mistake

__all__ = ["Measured", "Validation"]

_NUM_MISTAKES = 16


@dataclass(frozen=True)
class Measured:
    """What one pass over the held-out rows found; `metrics` by their names in metrics.csv."""

    metrics: dict[str, float | None]
    counts: Counts
    class_f1: tuple[float, ...]
    mistakes: tuple[Mistake, ...]


@dataclass
class Validation:
    """The rows to measure, int64 [N], and how many at once, which shrinks when memory runs out.

    world: the processes that share the rows; every one of them learns the figures of all.
    """

    loader: ImageLoader
    samples: Samples
    rows: Tensor
    batch_size: int
    world: World = ALONE

    @torch.inference_mode()
    def measure(self, learning: Learning) -> Measured:
        """Return the figures, which no batch size changes."""
        objective, view = learning.objective.eval(), learning.objective.view
        logits, self.batch_size = logits_within_memory(
            learning.measured, self.loader, self.rows, self.batch_size, self.world
        )
        answers = torch.from_numpy(self.samples.answers[self.rows.numpy()]).to(logits.device)
        probabilities = objective.probabilities(logits)
        predicted = probabilities.argmax(dim=1)
        truth = torch.tensor(view.of_class, device=logits.device)[answers]
        counts = confusion_counts(truth.cpu().numpy(), predicted.cpu().numpy(), view.num_classes)
        found = scores(counts, view)
        metrics = {
            "valid_loss": float(objective(logits, answers)),
            "valid_accuracy": found.accuracy,
            # The largest of a row of NaN is no answer, whatever class argmax makes of it.
            "valid_f1_macro": math.nan if probabilities.isnan().any() else found.macro_f1,
            **{f"valid_{axis}_accuracy": found.axis_accuracies.get(axis) for axis in ("mask", "gender", "age")},
        }
        # Other machines may round otherwise; what follows from a figure must be one for all.
        metrics = self.world.told_by_first(metrics)
        return Measured(metrics, counts, tuple(f1_per_class(counts).tolist()), self._mistakes(probabilities, truth))

    def _mistakes(self, probabilities: Tensor, truth: Tensor) -> tuple[Mistake, ...]:
        """Return the wrong answers, the most confident first."""
        confidence, predicted = probabilities.max(dim=1)
        wrong = torch.nonzero(predicted != truth).flatten()
        surest = wrong[confidence[wrong].argsort(descending=True, stable=True)][:_NUM_MISTAKES]
        columns = (self.rows[surest.cpu()], truth[surest], predicted[surest], confidence[surest])
        paths = self.samples.paths
        figures = zip(*(column.tolist() for column in columns), strict=True)
        return tuple(Mistake(paths[row], *figure) for row, *figure in figures)
