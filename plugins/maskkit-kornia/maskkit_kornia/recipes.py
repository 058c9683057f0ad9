"""What is done to an image, each a step of (images, draws) -> images that changes every image of the batch.

Images are float32 [B, 3, H, W] in [0, 1], on any device, and nothing waits for a GPU. What a field may be is checked
when a recipe is made: a UsageError says what is wrong.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from kornia.color import rgb_to_grayscale
from kornia.enhance import adjust_brightness, adjust_contrast, equalize_clahe
from kornia.geometry.transform import get_affine_matrix2d, hflip, warp_affine
from torch import Tensor

from maskkit import Draws
from maskkit.errors import UsageError

__all__ = ["BrightnessContrast", "Clahe", "Dropout", "Flip", "ShiftScaleRotate", "expect_within"]


def expect_within(name: str, value: float, lowest: float, highest: float) -> None:
    """Raise a UsageError unless `value`, of the option `name`, lies in lowest..highest; NaN does not."""
    if not lowest <= value <= highest:
        raise UsageError(
            f"the augmentation's {name} is {value}; it must be {lowest:g}..{highest:g}",
            hint=f"Give another, as in --augmentation_args={name}={lowest:g}.",
        )


@dataclass(frozen=True)
class Flip:
    """Mirror left to right."""

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:  # noqa: ARG002  it draws nothing
        flipped: Tensor = hflip(images)
        return flipped


@dataclass(frozen=True, kw_only=True)
class BrightnessContrast:
    """Multiply by a contrast and add a brightness, drawn from 1 +- `contrast` and 0 +- `brightness` (white is 1).

    This is the formula of RandomBrightnessContrast of albumentations, whose limits are 0.2 and 0.2: a brightness of
    -0.2 leaves nothing of a face in a dark photo.
    """

    brightness: float = 0.1
    contrast: float = 0.2

    def __post_init__(self) -> None:
        expect_within("brightness", self.brightness, 0, 1)
        expect_within("contrast", self.contrast, 0, 1)

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        brightness, contrast = _either_side(draws, 2).unbind(1)
        images = adjust_contrast(images, 1 + self.contrast * contrast, clip_output=False)
        changed: Tensor = adjust_brightness(images, self.brightness * brightness)
        return changed


@dataclass(frozen=True, kw_only=True)
class Clahe:
    """Even out the contrast of each of `tiles` x `tiles` parts of the luma, by a strength drawn from 0..1.

    Contrast limited adaptive histogram equalization, Zuiderveld in "Graphics Gems IV" (1994), pages 474 to 485. `clip`
    is how many times as frequent as the mean a level may be at most. Colours keep their differences from the luma:
    equalizing red, green and blue apart would change the colour of skin, and takes three times as long. The usual 8 x 8
    tiles are made for photos: of 128 x 96 pixels, each would hold fewer than it has levels, and they take four times
    as long.
    """

    clip: float = 4.0
    tiles: int = 4

    def __post_init__(self) -> None:
        expect_within("clip", self.clip, 1, 255)
        expect_within("tiles", self.tiles, 1, 100)

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        luma = rgb_to_grayscale(images)
        change = equalize_clahe(luma, float(self.clip), (self.tiles, self.tiles)) - luma
        evened: Tensor = (images + draws.uniform(1, 1, 1) * change).clamp(0, 1)
        return evened


@dataclass(frozen=True, kw_only=True)
class ShiftScaleRotate:
    """Move by up to `shift` of width and height, resize by 1 +- `scale` and rotate by up to `rotate` degrees.

    The photo's centre, which is a square, is what rotates: the face keeps its proportions where the images that were
    made of it are not square. `padding` fills what comes from outside, with black ("zeros"), the pixel at the edge
    ("border") or the mirror image ("reflection").
    """

    shift: float = 0.1
    scale: float = 0.1
    rotate: float = 15.0
    padding: Literal["zeros", "border", "reflection"] = "zeros"

    def __post_init__(self) -> None:
        expect_within("shift", self.shift, 0, 1)
        expect_within("scale", self.scale, 0, 0.9)
        expect_within("rotate", self.rotate, 0, 180)

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        height, width = images.shape[2:]
        across, down, scale, angle = _either_side(draws, 4).unbind(1)
        square = get_affine_matrix2d(
            translations=self.shift * torch.stack((across, down), dim=1),
            center=torch.full_like(across, 0.5)[:, None].expand(-1, 2),
            scale=(1 + self.scale * scale)[:, None].expand(-1, 2),
            angle=self.rotate * angle,
        )
        # From the square, whose side is 1, to the pixels, whose centres are the whole numbers.
        pixels = torch.tensor([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1]], dtype=square.dtype)
        pixels, squared = (one.to(images.device, non_blocking=True) for one in (pixels, pixels.inverse()))
        matrix = (pixels @ square @ squared)[:, :2]
        moved: Tensor = warp_affine(images, matrix, (height, width), padding_mode=self.padding)
        return moved.clamp(0, 1)  # white between whites may be a rounding more than white


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Cut out `holes` rectangles and fill them with a grey, from 0 for black to 1 for white.

    Height and width of each are drawn from `min_side`..`max_side` of the image's; all of it lies within the image. See
    Zhong et al., "Random Erasing Data Augmentation" (arXiv 1708.04896).
    """

    holes: int = 1
    min_side: float = 0.1
    max_side: float = 0.375
    fill: float = 0.0

    def __post_init__(self) -> None:
        expect_within("holes", self.holes, 1, 100)
        expect_within("max_side", self.max_side, 0, 1)
        expect_within("min_side", self.min_side, 0, self.max_side)
        expect_within("fill", self.fill, 0, 1)

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        sides = self.min_side + (self.max_side - self.min_side) * draws.uniform(self.holes, 2)
        starts = draws.uniform(self.holes, 2) * (1 - sides)
        rows, columns = (
            _covered(starts[:, :, axis], sides[:, :, axis], count) for axis, count in enumerate(images.shape[2:])
        )
        is_hole = (rows[:, :, :, None] & columns[:, :, None, :]).any(dim=1, keepdim=True)
        return images.masked_fill(is_hole, self.fill)


def _covered(starts: Tensor, sides: Tensor, count: int) -> Tensor:
    """Return which of `count` pixels, on a line from 0 to 1, each hole [B, N] covers the centre of: [B, N, count]."""
    centres = (torch.arange(count, device=starts.device) + 0.5) / count
    return (starts[:, :, None] <= centres) & (centres < (starts + sides)[:, :, None])


def _either_side(draws: Draws, count: int) -> Tensor:
    """Return numbers spread evenly over [-1, 1), float32 [B, count]."""
    return 2 * draws.uniform(count) - 1
