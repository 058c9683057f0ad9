"""A step on two plain photos, before a run folder exists: what breaks a contract is named by its plugin."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from maskkit.data.augmentation import Draws
from maskkit.engine.learning import Learning
from maskkit.engine.memory import is_out_of_memory
from maskkit.engine.plan import Plan
from maskkit.engine.variation import resized
from maskkit.errors import MaskkitError, UsageError
from maskkit.labels import NUM_CLASSES
from maskkit.plugin.part import Part

__all__ = ["rehearse"]

_ROWS = (0, 1)
_PHOTO = (150, 200)  # width and height
_COLOURS = ((90, 120, 150), (200, 160, 120))


@torch.no_grad()
def rehearse(plan: Plan, learning: Learning) -> None:
    """Let every part of a step do its work once, and change nothing.

    Raises:
        PluginError: a part fails, or gives something else than its contract says; it is named.
    """
    height, width = plan.config.resize
    with _blamed(plan.parts["augmentation"]):
        prepared = [plan.variation.augmentation.prepare(Image.new("RGB", _PHOTO, colour)) for colour in _COLOURS]
        for image in prepared:
            _expect_like(image, (3, height, width), torch.uint8, "prepare")
        pixels = learning.classifier.pixels(torch.stack(prepared))
        draws = Draws(plan.config.seed, 0, torch.tensor(_ROWS), device=plan.device)
        if plan.variation.augmentation.augment is not None:
            pixels = plan.variation.augmentation.augment(pixels, draws)
            _expect_like(pixels, (len(_ROWS), 3, height, width), torch.float32, "augment")
            _expect(float(pixels.min()) >= -0.01 and float(pixels.max()) <= 1.01, "augment must give pixels in 0..1")
    targets = torch.tensor(_ROWS, device=plan.device)
    if plan.variation.mix is not None:
        with _blamed(plan.parts["mix"]):
            pixels, targets = plan.variation.mix(pixels, functional.one_hot(targets, NUM_CLASSES).float(), draws)
            _expect_like(pixels, (len(_ROWS), 3, height, width), torch.float32, "the images")
            _expect_like(targets, (len(_ROWS), NUM_CLASSES), torch.float32, "the targets")
            _expect((targets.sum(dim=1) - 1).abs().max() < 1e-3, "each row of the targets must sum to 1")
    with _blamed(plan.parts["model"]):
        learning.classifier.network.eval()
        logits = learning.classifier.logits(pixels)
        _expect_like(logits, (len(_ROWS), plan.view.num_outputs), torch.float32, "the logits")
    if plan.config.resize_from is not None:
        _rehearse_growth(plan, learning, pixels)
    learning.objective.eval()
    for number, (_, part) in enumerate(plan.losses):
        with _blamed(part):
            for loss in learning.objective.of_heads(logits, targets, term=number):
                _expect_like(loss, (), torch.float32, "the loss")


def _rehearse_growth(plan: Plan, learning: Learning, pixels: Tensor) -> None:
    size = plan.config.resize_from or plan.config.resize
    try:
        learning.classifier.logits(resized(pixels, size))
    except (RuntimeError, ValueError, AssertionError) as error:
        if is_out_of_memory(error):
            raise
        height, width = size
        raise UsageError(
            f"--resize_from: {plan.config.model} cannot take images of {height}x{width} as well:"
            f" {next(iter(str(error).splitlines()), type(error).__name__)}",
            hint="Leave it out.",
        ) from error


@contextmanager
def _blamed(part: Part) -> Iterator[None]:
    try:
        yield
    except MaskkitError:
        raise
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        raise part.offer.failure(error) from error


def _expect_like(value: object, shape: tuple[int, ...], dtype: torch.dtype, what: str) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{what} must be a tensor, not {type(value).__name__}")
    _expect(
        tuple(value.shape) == shape and value.dtype == dtype,
        f"{what} must be {dtype} {list(shape)}; it is {value.dtype} {list(value.shape)}",
    )


def _expect(condition: object, sentence: str) -> None:
    if not condition:
        raise ValueError(sentence)
