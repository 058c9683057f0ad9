"""A trained run as it predicts: for `maskkit predict`, and for the commands of plugins."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn

from maskkit.data.augmentation import Augmentation
from maskkit.engine.checkpoint import Checkpoint, find_checkpoint
from maskkit.engine.classifier import Classifier
from maskkit.engine.device import choose_device, choose_precision
from maskkit.engine.parts import part_from_record
from maskkit.errors import CheckpointError
from maskkit.labels import View, view_named
from maskkit.plugin.discovery import discover
from maskkit.plugin.registry import Registry
from maskkit.processes import Place

__all__ = ["TrainedRun", "load_run", "probabilities", "restore"]

_DESCRIBED = ("classification", "model", "augmentation", "size", "mean", "std", "precision", "epoch")


@dataclass(frozen=True)
class TrainedRun:
    """A network with its weights, in evaluation mode, and all that stood between an image and it.

    checkpoint: the file that it comes from. description: what that file tells of it, as JSON holds it.
    view: what it learned; its heads split the logits, and compose their probabilities.
    """

    checkpoint: Path
    description: Mapping[str, Any]
    view: View
    classifier: Classifier
    augmentation: Augmentation

    @property
    def prepare(self) -> Callable[[Image.Image], Tensor]:
        """What makes the network's input of an image: PIL image in RGB -> uint8 [3, H, W]."""
        return self.augmentation.prepare

    @property
    def network(self) -> nn.Module:
        """The network alone: normalised float [B, 3, H, W] -> logits [B, num_outputs]."""
        return self.classifier.network

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images that the network sees."""
        height, width = self.description["size"]
        return height, width

    @property
    def module(self) -> nn.Module:
        """The network behind its normalisation: pixels float32 [B, 3, H, W] in 0..1 -> logits [B, num_outputs]."""
        return _Normalised(self.network, self.classifier.mean, self.classifier.std).to(self.classifier.device).eval()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return probabilities [B, num_classes] of logits [B, num_outputs]."""
        return probabilities(self.view, logits)


def probabilities(view: View, logits: Tensor) -> Tensor:
    """Return probabilities [B, num_classes] of the logits [B, num_outputs] of a network that learned a view."""
    composed: Tensor = view.compose([part.softmax(dim=1) for part in view.split(logits)])
    return composed


class _Normalised(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network((pixels - self.mean) / self.std)
        return logits


def load_run(run: Path, *, checkpoint: Literal["best", "last"] = "best", device: str = "cpu") -> TrainedRun:
    """Return a trained run, in float32, from its folder or a file of a checkpoint, whatever plugins it needs.

    Raises:
        CheckpointError: there is none, it is damaged, or a plugin that it needs is missing.
        UsageError: there is no such device.
    """
    return restore(find_checkpoint(run, checkpoint), Registry(discover()), device=device, precision="fp32")


def restore(
    path: Path,
    registry: Registry,
    *,
    device: str,
    precision: str,
    test_flip: bool | str = "auto",
    place: Place | None = None,
) -> TrainedRun:
    """Return the trained run of a checkpoint; the file alone tells how to build it. "auto" is as it was trained.

    Raises:
        CheckpointError, UsageError: as of `load_run`.
    """
    checkpoint = Checkpoint.load(path)
    description = checkpoint.description
    missing = [name for name in _DESCRIBED if name not in description]
    if missing or "model" not in checkpoint.state:
        raise CheckpointError(f"the checkpoint {path} does not tell {', '.join(missing or ['its weights'])}")
    view, target = view_named(description["classification"]), choose_device(device, place)
    network = _network(checkpoint, registry, view)
    wanted = description["precision"] if precision == "auto" else precision
    is_gpu_format = wanted == "fp16" and target.type == "cpu"
    chosen = choose_precision("fp32" if is_gpu_format else wanted, target)
    flips = bool(description.get("test_flip")) if test_flip == "auto" else bool(test_flip)
    statistics = (tuple(description["mean"]), tuple(description["std"]))
    classifier = Classifier(network, *statistics, target, chosen, flips=flips)
    classifier.to_device()
    part = part_from_record(registry, "augmentation", description["augmentation"])
    augmentation = part.build_a(Augmentation, size=tuple(description["size"]))
    return TrainedRun(path, description, view, classifier, augmentation)


def _network(checkpoint: Checkpoint, registry: Registry, view: View) -> nn.Module:
    model = checkpoint.description["model"]
    network: nn.Module = part_from_record(registry, "model", model).make(view.num_outputs, pretrained=False)
    try:
        network.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights do not fit {model['name']}: {str(error).splitlines()[-1].strip()}",
            hint=f"They were trained with {model['distribution']} {model['version']}.",
        ) from error
    return network.eval()
