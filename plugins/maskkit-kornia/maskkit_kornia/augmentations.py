"""The factories: each prepares the centre of the photo as BaseAugmentation does, and varies it by recipes.

`size` is the height and width that images are made; `crop` is the side in pixels of the square that is kept of the
photo's centre, or of a smaller photo all there is. `probability` is the share of the images that is changed. Every
factory raises a UsageError where an option lies outside its range.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from maskkit import Augmentation, Draws
from maskkit_kornia.recipes import BrightnessContrast, Clahe, Dropout, Flip, ShiftScaleRotate, expect_within

__all__ = ["brightness_contrast", "clahe", "combined", "dropout", "flip", "shift_scale_rotate"]

_Recipe = Callable[[Tensor, Draws], Tensor]


def flip(*, size: tuple[int, int], crop: int = 350, probability: float = 0.5) -> Augmentation:
    """Mirror some images left to right."""
    return _augmentation(size, crop, {"probability": (probability, Flip())})


def brightness_contrast(
    *,
    size: tuple[int, int],
    crop: int = 350,
    probability: float = 0.5,
    brightness: float = BrightnessContrast.brightness,
    contrast: float = BrightnessContrast.contrast,
) -> Augmentation:
    """Change the light and the contrast of some images, as `BrightnessContrast` does."""
    recipe = BrightnessContrast(brightness=brightness, contrast=contrast)
    return _augmentation(size, crop, {"probability": (probability, recipe)})


def clahe(
    *,
    size: tuple[int, int],
    crop: int = 350,
    probability: float = 0.5,
    clip: float = Clahe.clip,
    tiles: int = Clahe.tiles,
) -> Augmentation:
    """Even out the contrast of some images tile by tile, as `Clahe` does."""
    expect_within("tiles", tiles, 1, min(size) - 1)
    return _augmentation(size, crop, {"probability": (probability, Clahe(clip=clip, tiles=tiles))})


def shift_scale_rotate(
    *,
    size: tuple[int, int],
    crop: int = 350,
    probability: float = 0.5,
    shift: float = ShiftScaleRotate.shift,
    scale: float = ShiftScaleRotate.scale,
    rotate: float = ShiftScaleRotate.rotate,
    padding: Literal["zeros", "border", "reflection"] = ShiftScaleRotate.padding,
) -> Augmentation:
    """Shift, scale and rotate some images, as `ShiftScaleRotate` does."""
    recipe = ShiftScaleRotate(shift=shift, scale=scale, rotate=rotate, padding=padding)
    return _augmentation(size, crop, {"probability": (probability, recipe)})


def dropout(
    *,
    size: tuple[int, int],
    crop: int = 350,
    probability: float = 0.5,
    holes: int = Dropout.holes,
    min_side: float = Dropout.min_side,
    max_side: float = Dropout.max_side,
    fill: float = Dropout.fill,
) -> Augmentation:
    """Cut rectangles out of some images, as `Dropout` does."""
    recipe = Dropout(holes=holes, min_side=min_side, max_side=max_side, fill=fill)
    return _augmentation(size, crop, {"probability": (probability, recipe)})


def combined(
    *,
    size: tuple[int, int],
    crop: int = 350,
    flip: float = 0.5,  # here and below, a recipe's own name is its probability; 0 leaves it out
    brightness_contrast: float = 0.5,
    clahe: float = 0.5,
    shift_scale_rotate: float = 0.5,
    dropout: float = 0.5,
    brightness: float = BrightnessContrast.brightness,
    contrast: float = BrightnessContrast.contrast,
    clip: float = Clahe.clip,
    tiles: int = Clahe.tiles,
    shift: float = ShiftScaleRotate.shift,
    scale: float = ShiftScaleRotate.scale,
    rotate: float = ShiftScaleRotate.rotate,
    padding: Literal["zeros", "border", "reflection"] = ShiftScaleRotate.padding,
    holes: int = Dropout.holes,
    min_side: float = Dropout.min_side,
    max_side: float = Dropout.max_side,
    fill: float = Dropout.fill,
) -> Augmentation:
    """Apply all recipes in this order, each to images of its own draw."""
    if clahe:
        expect_within("tiles", tiles, 1, min(size) - 1)
    # Light first, on the photo alone: the black that moving and cutting bring in is in no histogram.
    steps: dict[str, tuple[float, _Recipe]] = {
        "flip": (flip, Flip()),
        "brightness_contrast": (brightness_contrast, BrightnessContrast(brightness=brightness, contrast=contrast)),
        "clahe": (clahe, Clahe(clip=clip, tiles=tiles)),
        "shift_scale_rotate": (
            shift_scale_rotate,
            ShiftScaleRotate(shift=shift, scale=scale, rotate=rotate, padding=padding),
        ),
        "dropout": (dropout, Dropout(holes=holes, min_side=min_side, max_side=max_side, fill=fill)),
    }
    return _augmentation(size, crop, steps)


def _augmentation(size: tuple[int, int], crop: int, steps: dict[str, tuple[float, _Recipe]]) -> Augmentation:
    """Return what applies recipes in turn, each named by the option that is its probability."""
    expect_within("crop", crop, 1, 100_000)
    for option, (probability, _) in steps.items():
        expect_within(option, probability, 0, 1)
    used = [step for step in steps.values() if step[0] > 0]
    return Augmentation(partial(_prepare, size=size, crop=crop), partial(_augment, steps=used) if used else None)


def _prepare(image: Image.Image, *, size: tuple[int, int], crop: int) -> Tensor:
    """Return the centre of an RGB image, resized with antialiasing: uint8 [3, H, W]."""
    centre = functional.center_crop(image, [min(crop, image.height), min(crop, image.width)])
    pixels: Tensor = functional.pil_to_tensor(functional.resize(centre, list(size)))
    return pixels


def _augment(images: Tensor, draws: Draws, *, steps: Iterable[tuple[float, _Recipe]]) -> Tensor:
    """Return float [B, 3, H, W], each recipe applied to those images whose draw lies below its probability."""
    for probability, recipe in steps:
        is_changed = draws.uniform(1, 1, 1) < probability
        # All are computed and some are taken: to pick them first, a GPU would have to be waited for.
        images = torch.where(is_changed, recipe(images, draws), images)
    return images
