"""The augmentations in the box: the centre of the photo, sheared and scaled, or with noise."""

from functools import partial

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from maskkit import Augmentation, Draws
from maskkit.errors import UsageError

__all__ = ["affine", "base", "gaussian"]


def base(*, size: tuple[int, int], crop: int = 350) -> Augmentation:
    """Prepare the centre of the photo and vary nothing.

    size: height and width in pixels.
    crop: the side in pixels of the square kept from the centre; of a smaller image, all there is.

    Raises:
        UsageError: `crop` is less than 1.
    """
    return Augmentation(_prepare_with(size, crop))


def affine(
    *,
    size: tuple[int, int],
    crop: int = 350,
    shear: float = 10.0,
    min_scale: float = 0.8,
    max_scale: float = 1.2,
    jitter: float = 0.1,
    flip: float = 0.0,
) -> Augmentation:
    """Prepare as `base`, then shear and scale each image about its centre, vary its colours, and mirror some.

    shear: the largest angle in degrees, to either side.
    min_scale, max_scale: factors of the size; what lies outside the image is black.
    jitter: the largest change of brightness, contrast, saturation and hue (in turns); 0 leaves the colours alone.
    flip: the share of images that are mirrored, left for right.

    Raises:
        UsageError: an option lies outside its range.
    """
    _within("shear", shear, 0, 89)
    _within("min_scale", min_scale, 0.01, max_scale)
    _within("max_scale", max_scale, min_scale, 100)
    _within("jitter", jitter, 0, 0.5)
    _within("flip", flip, 0, 1)
    augment = partial(_affine, shear=shear, min_scale=min_scale, max_scale=max_scale, jitter=jitter, flip=flip)
    return Augmentation(_prepare_with(size, crop), augment)


def gaussian(*, size: tuple[int, int], crop: int = 350, noise: float = 0.05, jitter: float = 0.1) -> Augmentation:
    """Prepare as `base`, then vary the colours and add noise to every pixel.

    noise: the standard deviation, where black is 0 and white 1.
    jitter: as in `affine`.

    Raises:
        UsageError: an option lies outside its range.
    """
    _within("noise", noise, 0, 1)
    _within("jitter", jitter, 0, 0.5)
    return Augmentation(_prepare_with(size, crop), partial(_gaussian, noise=noise, jitter=jitter))


def _within(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:  # so written, it refuses NaN too
        raise UsageError(
            f"the augmentation's {name} is {value}; it must be {lowest}..{highest}",
            hint=f"Give another, as in --augmentation_args={name}={lowest}.",
        )


def _prepare_with(size: tuple[int, int], crop: int) -> partial[torch.Tensor]:
    _within("crop", crop, 1, 100_000)
    return partial(_prepare, size=size, crop=crop)


def _prepare(image: Image.Image, *, size: tuple[int, int], crop: int) -> torch.Tensor:
    """Return the centre of an RGB image, resized with antialiasing: uint8 [3, H, W]."""
    height, width = size
    kept_width, kept_height = min(crop, image.width), min(crop, image.height)
    left, top = round((image.width - kept_width) / 2), round((image.height - kept_height) / 2)
    centre = image.crop((left, top, left + kept_width, top + kept_height))
    pixels = np.array(centre.resize((width, height), Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _affine(
    images: torch.Tensor,
    draws: Draws,
    *,
    shear: float,
    min_scale: float,
    max_scale: float,
    jitter: float,
    flip: float,
) -> torch.Tensor:
    slope = (_either_side(draws, 1) * shear).deg2rad().tan()
    scale = min_scale + (max_scale - min_scale) * draws.uniform(1)
    images = _jittered(_sheared(images, slope, scale), draws, jitter)
    return torch.where(draws.uniform(1, 1, 1) < flip, images.flip(3), images) if flip else images


def _gaussian(images: torch.Tensor, draws: Draws, *, noise: float, jitter: float) -> torch.Tensor:
    images = _jittered(images, draws, jitter)
    if noise:
        images = (images + noise * draws.normal(*images.shape[1:])).clamp_(0, 1)
    return images


def _either_side(draws: Draws, *shape: int) -> torch.Tensor:
    return 2 * draws.uniform(*shape) - 1


def _sheared(images: torch.Tensor, slope: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return images whose rows move sideways by `slope` [B, 1] of their height and that grow by `scale` [B, 1]."""
    height, width = images.shape[2:]
    across = _pixel_centres(width, images)[None, None, :]
    down = _pixel_centres(height, images)[None, :, None]
    # Where each pixel comes from, from -1 at one edge of the image to 1 at the other.
    columns = (across + slope[:, :, None] * down * (height / width)) / scale[:, :, None]
    rows = (down / scale[:, :, None]).expand_as(columns)
    grid = torch.stack((columns, rows), dim=3)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _pixel_centres(count: int, images: torch.Tensor) -> torch.Tensor:
    return (2 * torch.arange(count, device=images.device, dtype=images.dtype) + 1) / count - 1


def _jittered(images: torch.Tensor, draws: Draws, jitter: float) -> torch.Tensor:
    """Return images whose brightness, contrast, saturation and hue are changed, in this order."""
    if not jitter:
        return images
    factors = 1 + jitter * _either_side(draws, 3, 1, 1, 1)
    brightness, contrast, saturation = factors.unbind(1)
    images = (images * brightness).clamp_(0, 1)
    # Mean of means: one sum over all pixels would be taken in another order for another batch size.
    mean = _grey(images).mean(3, keepdim=True).mean(2, keepdim=True)
    images = torch.lerp(mean, images, contrast).clamp_(0, 1)
    images = torch.lerp(_grey(images), images, saturation).clamp_(0, 1)
    return _turned(images, jitter * _either_side(draws, 1, 1))


def _grey(images: torch.Tensor) -> torch.Tensor:
    """Return the luma of ITU-R BT.601, [B, 1, H, W]."""
    red, green, blue = images.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


def _turned(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Return images whose hue is moved by `turns` [B, 1, 1] of the colour circle, by the hexagon of HSV.

    The formulas are those of https://en.wikipedia.org/wiki/HSL_and_HSV, where the hue runs from 0 to 6.
    """
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    chroma = value - images.amin(1)
    divisor = chroma.clamp(min=1e-12)  # a grey has no hue, and with chroma 0 none is needed
    hue = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    hue = hue + 6 * turns
    sectors = [(offset + hue).remainder_(6) for offset in (5, 3, 1)]
    return torch.stack([value - chroma * torch.minimum(sector, 4 - sector).clamp_(0, 1) for sector in sectors], dim=1)
