"""A network that several processes train together, by torch's DistributedDataParallel."""

from dataclasses import replace
from inspect import signature
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from maskkit.engine.classifier import Classifier
from maskkit.engine.distributed import World

__all__ = ["train_together"]

# Once an epoch is enough: see World.same_buffers. Torch 2.14 has another word for it.
_WORD = "forward_sync_buffers"
_IS_NEW = _WORD in signature(DistributedDataParallel.__init__).parameters
_BUFFERS_STAY: dict[str, Any] = {_WORD if _IS_NEW else "broadcast_buffers": False}


def train_together(classifier: Classifier, world: World, size: tuple[int, int]) -> Classifier:
    """Return the classifier with a network whose gradients are the mean of those of all processes.

    Its weights become those of the first process. size: height and width of the images that it will see.
    """
    if world.place.is_alone:
        return classifier
    parallel = DistributedDataParallel(
        classifier.network,
        device_ids=[classifier.device] if classifier.device.type == "cuda" else None,
        **_BUFFERS_STAY,
        find_unused_parameters=_has_idle_parameters(classifier, size),
        gradient_as_bucket_view=True,
    )
    return replace(classifier, parallel=parallel)


def _has_idle_parameters(classifier: Classifier, size: tuple[int, int]) -> bool:
    """Return whether some weights get no gradient, for which torch would wait; to look in each step takes time."""
    network = classifier.network.eval()  # so that no statistic moves
    grey = torch.full((2, 3, *size), 127, dtype=torch.uint8)
    classifier.logits(classifier.pixels(grey)).sum().backward()  # type: ignore[no-untyped-call]
    idle = any(one.requires_grad and one.grad is None for one in network.parameters())
    network.zero_grad(set_to_none=True)
    return idle
