"""One step of a training: images are varied and mixed, the network answers, and its weights move."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from maskkit.data.augmentation import Draws
from maskkit.data.loader import Batch
from maskkit.engine.distributed import ALONE, World
from maskkit.engine.learning import Learning
from maskkit.engine.variation import Variation

__all__ = ["Step"]


class Step:
    """Takes the steps of a training.

    targets: the class 0..17 that each image of the table is trained as, int64 [N].
    world: the processes that share the batches of a step; all of them then have the same weights.
    """

    def __init__(
        self,
        learning: Learning,
        variation: Variation,
        targets: NDArray[np.int64],
        *,
        seed: int,
        clip_norm: float | None = None,
        world: World = ALONE,
    ) -> None:
        self.learning, self.variation, self.world = learning, variation, world
        self._seed, self._clip_norm = seed, clip_norm
        device = learning.classifier.device
        self._targets = torch.from_numpy(targets).to(device)
        self._of_class = torch.tensor(learning.objective.view.of_class, device=device)

    def take(self, epoch: int, batches: Iterator[Batch], visits: list[Tensor], num_rows: int) -> tuple[Tensor, Tensor]:
        """Learn from this process's batches of one step, of `num_rows` images in all; nothing waits for the device.

        visits: of each batch, the numbers by which its images draw, int64 [B].

        Returns this process's part of the loss, which is the mean of all batches' losses by their sizes, and how many
        of its answers were right.
        """
        learning = self.learning
        network, optimizer, scaler = learning.classifier.network, learning.optimizer, learning.scaler
        loss_sum = torch.zeros((), device=self._targets.device)
        num_correct = torch.zeros((), dtype=torch.int64, device=self._targets.device)
        optimizer.zero_grad(set_to_none=True)
        for number, (batch, numbers) in enumerate(zip(batches, visits, strict=True), start=1):
            with self._together(is_last=number == len(visits)):
                loss, correct = self._forward(epoch, batch, numbers)
                part = loss * (self.world.size * len(batch.rows) / num_rows)  # of a mean over processes
                scaler.scale(part).backward()  # type: ignore[no-untyped-call]
            loss_sum += part.detach()
            num_correct += correct
        if learning.is_frozen:
            self._average_gradients()
        if self._clip_norm is not None:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(network.parameters(), self._clip_norm)
        scaler.step(optimizer)
        scaler.update()
        if learning.averages is not None:
            learning.averages.update(network)
        self._step_schedule()
        return loss_sum / self.world.size, num_correct

    def _together(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Let the gradients of all processes become their mean in the last batch of a step, and not before."""
        parallel = self.learning.classifier.parallel
        is_joint = is_last and not self.learning.is_frozen  # torch would wait for the gradients that there are not
        return nullcontext() if parallel is None or is_joint else parallel.no_sync()

    def _average_gradients(self) -> None:
        """Do for a few weights what torch does where all of them learn."""
        for parameter in self.learning.classifier.network.parameters():
            if parameter.grad is not None and not self.world.place.is_alone:
                self.world.sum(parameter.grad).div_(self.world.size)

    def _forward(self, epoch: int, batch: Batch, visits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and how many of its answers were right."""
        classifier, objective = self.learning.classifier, self.learning.objective
        device = classifier.device
        draws = Draws(self._seed, epoch, visits, device=device)
        targets = self._targets[batch.rows.to(device, non_blocking=True)]
        pixels, targets = self.variation.vary(classifier.pixels(batch.images), targets, draws, epoch)
        logits = classifier.logits(pixels)
        predicted = objective.probabilities(logits.detach()).argmax(dim=1)
        return objective(logits, targets), self._are_right(predicted, targets).sum()

    def _are_right(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Return which answers are right, bool [B]; of a mixed image, each class with the largest share is."""
        if not targets.is_floating_point():
            return predicted == self._of_class[targets]
        num_classes = self.learning.objective.view.num_classes
        shares = targets @ functional.one_hot(self._of_class, num_classes).to(targets.dtype)
        return shares.gather(1, predicted[:, None]).squeeze(1) == shares.amax(dim=1)

    def _step_schedule(self) -> None:
        if self.learning.schedule.interval == "step":
            with warnings.catch_warnings():
                # A scaler leaves out a step whose gradients overflow, and torch takes that for a wrong order of calls.
                warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step", category=UserWarning)
                self.learning.schedule.scheduler.step()
