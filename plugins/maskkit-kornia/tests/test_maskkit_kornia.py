"""Each recipe against plain arithmetic, one image at a time, and what a training sees of them."""

import csv
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from maskkit_kornia import augmentations
from maskkit_kornia.recipes import BrightnessContrast, Clahe, Dropout, Flip, ShiftScaleRotate
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from maskkit import Augmentation, Draws
from maskkit.errors import UsageError
from maskkit.testing import Check

SINGLE: dict[str, Callable[..., Augmentation]] = {
    "flip": augmentations.flip,
    "brightness_contrast": augmentations.brightness_contrast,
    "clahe": augmentations.clahe,
    "shift_scale_rotate": augmentations.shift_scale_rotate,
    "dropout": augmentations.dropout,
}
every_recipe = pytest.mark.parametrize("factory", SINGLE.values(), ids=SINGLE)


class Given(Draws):
    """Draws that give the numbers they were made of, the same to every sample, then go on as real ones."""

    def __init__(self, count: int, *numbers: float) -> None:
        super().__init__(1, 0, torch.arange(count))
        self._numbers = list(numbers)

    def uniform(self, *shape: int) -> Tensor:
        count = math.prod(shape)
        if not self._numbers:
            return super().uniform(*shape)
        taken, self._numbers = self._numbers[:count], self._numbers[count:]
        assert len(taken) == count
        return torch.tensor(taken).reshape(1, *shape).expand(len(self._samples), *shape)


def share(value: float, largest: float) -> float:
    """Return the uniform number by which -largest..largest gives `value`."""
    return (value / largest + 1) / 2


def noise(count: int, height: int, width: int) -> Tensor:
    images: Tensor = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(3))
    return images


def smooth(count: int, height: int, width: int) -> Tensor:
    """Return images with gentle slopes, of which another way to interpolate makes nearly the same."""
    coarse = noise(count, 4, 4)
    images: Tensor = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)
    return images


def augmented(augmentation: Augmentation, images: Tensor, samples: Tensor | None = None, *, epoch: int = 0) -> Tensor:
    assert augmentation.augment is not None
    samples = torch.arange(len(images)) if samples is None else samples
    return augmentation.augment(images.clone(), Draws(5, epoch, samples))


def test_flip_mirrors_each_row() -> None:
    images = noise(2, 4, 5)
    expected = np.ascontiguousarray(images.numpy()[..., ::-1])
    assert torch.equal(Flip()(images, Draws(1, 0, torch.arange(2))), torch.from_numpy(expected))


def test_brightness_and_contrast_are_a_sum_and_a_factor() -> None:
    images = noise(2, 6, 5)
    recipe = BrightnessContrast(brightness=0.3, contrast=0.4)
    changed = recipe(images, Given(2, share(-0.15, 0.3), share(0.2, 0.4)))
    expected = np.clip(images.numpy().astype(np.float64) * 1.2 - 0.15, 0, 1)
    np.testing.assert_allclose(changed.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(15, 15), (24, 11)])
def test_shift_scale_rotate_takes_every_pixel_from_where_the_photo_had_it(size: tuple[int, int]) -> None:
    images = noise(1, *size)
    recipe = ShiftScaleRotate(shift=0.2, scale=0.5, rotate=30)
    numbers = share(0.1, 0.2), share(-0.05, 0.2), share(0.25, 0.5), share(20, 30)
    moved = recipe(images, Given(1, *numbers))
    expected = moved_by_hand(images[0].numpy(), across=0.1, down=-0.05, scale=1.25, degrees=20)
    np.testing.assert_allclose(moved[0].numpy(), expected, atol=1e-4)


def moved_by_hand(
    image: NDArray[np.float32], *, across: float, down: float, scale: float, degrees: float
) -> NDArray[np.float64]:
    """Return an image [C, H, W] rotated clockwise in a frame of side 1, by bilinear interpolation over black."""
    channels, height, width = image.shape
    framed = np.zeros((channels, height + 2, width + 2))
    framed[:, 1:-1, 1:-1] = image
    result = np.zeros(image.shape)
    cosine, sine = math.cos(math.radians(degrees)) / scale, math.sin(math.radians(degrees)) / scale
    for row in range(height):
        for column in range(width):
            x, y = (column + 0.5) / width - 0.5 - across, (row + 0.5) / height - 0.5 - down
            left = (cosine * x + sine * y + 0.5) * width + 0.5
            top = (-sine * x + cosine * y + 0.5) * height + 0.5
            if not (0 <= left < width + 1 and 0 <= top < height + 1):
                continue
            i, j = math.floor(top), math.floor(left)
            down_share, right_share = top - i, left - j
            upper = (1 - right_share) * framed[:, i, j] + right_share * framed[:, i, j + 1]
            lower = (1 - right_share) * framed[:, i + 1, j] + right_share * framed[:, i + 1, j + 1]
            result[:, row, column] = (1 - down_share) * upper + down_share * lower
    return result


def test_on_a_square_shift_scale_rotate_is_that_of_torchvision() -> None:
    images = smooth(1, 40, 40)
    recipe = ShiftScaleRotate(shift=0.2, scale=0.2, rotate=15)
    moved = recipe(images, Given(1, share(0.1, 0.2), share(0.05, 0.2), share(-0.1, 0.2), share(12, 15)))
    expected = v2.functional.affine(
        images, angle=12, translate=[4, 2], scale=0.9, shear=[0.0], interpolation=v2.InterpolationMode.BILINEAR
    )
    # They differ in how the edge of the photo fades into black.
    assert (moved - expected)[..., 8:-8, 8:-8].abs().max() < 1e-4


@pytest.mark.parametrize(("padding", "expected"), [("zeros", 0.0), ("border", 0.0), ("reflection", 1.0)])
def test_padding_says_what_comes_from_outside(padding: str, expected: float) -> None:
    images = torch.ones(1, 3, 12, 12)
    images[..., 0] = 0
    moved = ShiftScaleRotate(shift=0.5, padding=padding)(images, Given(1, share(0.25, 0.5), 0.5, 0.5, 0.5))  # type: ignore[arg-type]
    torch.testing.assert_close(moved[..., 0], torch.full((1, 3, 12), expected))


@pytest.mark.parametrize("tiles", [1, 4])
def test_clahe_without_effective_limit_is_histogram_equalization_of_each_tile(tiles: int) -> None:
    levels = torch.randint(0, 256, (1, 1, 32, 32), generator=torch.Generator().manual_seed(1))
    images = ((levels + 0.25) / 255).clamp(0, 1).expand(1, 3, 32, 32)  # clear of rounding within the luma
    evened = Clahe(clip=255, tiles=tiles)(images, Given(1, 1.0))
    side = 32 // tiles
    # In the outer quarter of a corner tile nothing is interpolated: its own cumulative histogram decides.
    tile = levels[0, 0, :side, :side].numpy()
    ranks = np.array([[(tile <= level).sum() for level in row] for row in tile[: side // 2, : side // 2]])
    expected = np.round(255 * ranks / tile.size) / 255
    np.testing.assert_allclose(evened[0, 0, : side // 2, : side // 2].numpy(), expected, atol=0.004)


def test_clahe_spreads_a_flat_picture_and_keeps_its_colours() -> None:
    slope = torch.linspace(0.4, 0.5, 64).expand(1, 3, 64, 64)
    images = slope + torch.tensor([0.1, 0.0, -0.1]).reshape(1, 3, 1, 1)
    evened = Clahe(clip=40)(images, Given(1, 1.0))
    assert evened.std() > 1.2 * images.std()
    is_free = ((evened > 0) & (evened < 1)).all(dim=1, keepdim=True)  # elsewhere a colour meets its end
    assert is_free.float().mean() > 0.9
    distance = (evened - evened[:, 1:2]) - (images - images[:, 1:2])
    assert (distance * is_free).abs().max() < 1e-5


def test_the_strength_of_clahe_goes_from_nothing_to_all() -> None:
    images = smooth(1, 32, 32)[:, :1].expand(1, 3, 32, 32)
    none, half, whole = (Clahe()(images, Given(1, strength)) for strength in (0.0, 0.5, 1.0))
    torch.testing.assert_close(none, images)
    torch.testing.assert_close(half, (images + whole) / 2)
    assert (whole - images).abs().max() > 0.1


def test_dropout_cuts_just_the_rectangle_drawn() -> None:
    images = noise(1, 20, 10) + 0.1
    recipe = Dropout(min_side=0.1, max_side=0.5, fill=0.0)
    # Sides 0.3 of the height and 0.4 of the width, and starts at half of what is left.
    cut = recipe(images, Given(1, 0.5, 0.75, 0.5, 0.5))
    expected = images.clone()
    expected[..., 7:13, 3:7] = 0
    assert torch.equal(cut, expected)


def test_holes_lie_within_the_image_and_are_as_large_as_asked_for() -> None:
    images = torch.ones(500, 3, 40, 20)
    cut = augmented(augmentations.dropout(size=(40, 20), probability=1, min_side=0.2, max_side=0.5), images)
    hidden = cut[:, 0] == 0
    rows, columns = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert torch.equal(rows * columns, hidden.sum((1, 2)))  # whole rectangles
    assert 7 <= rows.min() <= 9
    assert 18 <= rows.max() <= 21
    assert 3 <= columns.min() <= 5
    assert 9 <= columns.max() <= 11


def test_several_holes_hide_more_and_take_the_grey_that_was_asked_for() -> None:
    images = torch.ones(200, 3, 30, 30)
    one, six = (
        augmented(augmentations.dropout(size=(30, 30), probability=1, holes=holes, fill=0.5), images)
        for holes in (1, 6)
    )
    assert set(six.flatten().tolist()) == {0.5, 1.0}
    assert (six == 0.5).float().mean() > 3 * (one == 0.5).float().mean()


@every_recipe
@pytest.mark.parametrize("probability", [0.2, 0.7])
def test_the_share_of_images_changed_is_the_probability(
    factory: Callable[..., Augmentation], probability: float
) -> None:
    images = noise(1, 12, 12).expand(2000, -1, -1, -1)
    options = {"tiles": 1} if factory is augmentations.clahe else {}  # the time goes by them
    result = augmented(factory(size=(12, 12), probability=probability, **options), images)
    changed = (result != images).flatten(1).any(1).float().mean().item()
    assert abs(changed - probability) < 0.04  # nearly four standard deviations of a share of 2000


@every_recipe
def test_probability_0_changes_nothing(factory: Callable[..., Augmentation]) -> None:
    assert factory(size=(12, 12), probability=0).augment is None


def test_combined_does_what_each_recipe_left_on_does_alone() -> None:
    images = smooth(6, 32, 24)
    for name, factory in SINGLE.items():
        others = dict.fromkeys(SINGLE, 0.0) | {name: 1.0}
        together = augmentations.combined(size=(32, 24), **others)  # type: ignore[arg-type]
        assert torch.equal(augmented(together, images), augmented(factory(size=(32, 24), probability=1.0), images))


def test_combined_draws_each_recipe_for_itself() -> None:
    images = noise(1, 12, 12).expand(3000, -1, -1, -1)
    options = dict.fromkeys(SINGLE, 0.0) | {"flip": 0.5, "dropout": 0.5}
    result = augmented(augmentations.combined(size=(12, 12), min_side=0.3, **options), images)  # type: ignore[arg-type]
    has_hole = (result == 0).all(1).flatten(1).any(1)
    is_flipped = ((result == images.flip(3)) | (result == 0)).flatten(1).all(1)
    for both in (has_hole & is_flipped, has_hole & ~is_flipped, ~has_hole & is_flipped, ~has_hole & ~is_flipped):
        assert 0.21 < both.float().mean().item() < 0.29


@pytest.mark.parametrize("factory", [*SINGLE.values(), augmentations.combined], ids=[*SINGLE, "combined"])
def test_a_sample_gets_the_same_pixels_in_any_batch(factory: Callable[..., Augmentation]) -> None:
    images = noise(9, 40, 30)
    augmentation = factory(size=(40, 30))
    whole = augmented(augmentation, images, torch.arange(20, 29), epoch=3)
    for rows in ([4], [8, 0, 3], [7, 6, 5, 4, 3, 2, 1]):
        part = augmented(augmentation, images[rows], torch.arange(20, 29)[rows], epoch=3)
        torch.testing.assert_close(part, whole[rows], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(9, 9), (33, 17), (128, 96)])
def test_combined_keeps_shape_type_and_range(size: tuple[int, int]) -> None:
    images = noise(8, *size).contiguous(memory_format=torch.channels_last)
    for extreme in (images, torch.zeros_like(images), torch.ones_like(images)):
        result = augmented(augmentations.combined(size=size), extreme)
        assert (result.shape, result.dtype) == (images.shape, torch.float32)
        assert 0 <= result.min() <= result.max() <= 1


def test_prepare_resizes_the_centre_and_draws_nothing() -> None:
    photo = Image.fromarray(np.random.default_rng(1).integers(0, 256, (512, 384, 3), dtype=np.uint8))
    expected = np.asarray(photo.crop((17, 81, 367, 431)).resize((96, 128), Image.Resampling.BILINEAR))
    for factory in (*SINGLE.values(), augmentations.combined):
        np.testing.assert_array_equal(factory(size=(128, 96)).prepare(photo).permute(1, 2, 0).numpy(), expected)


def test_prepare_takes_all_of_a_photo_that_is_smaller_than_the_crop() -> None:
    photo = Image.new("RGB", (20, 30), (10, 200, 30))
    picture = augmentations.flip(size=(8, 6)).prepare(photo)
    assert [set(colour.flatten().tolist()) for colour in picture] == [{10}, {200}, {30}]


@pytest.mark.parametrize(
    ("factory", "options", "said"),
    [
        (augmentations.flip, {"probability": 1.5}, "probability is 1.5; it must be 0..1"),
        (augmentations.flip, {"probability": math.nan}, "probability is nan; it must be 0..1"),
        (augmentations.flip, {"crop": 0}, "crop is 0; it must be 1..100000"),
        (augmentations.brightness_contrast, {"brightness": -0.1}, "brightness is -0.1; it must be 0..1"),
        (augmentations.brightness_contrast, {"contrast": 2}, "contrast is 2; it must be 0..1"),
        (augmentations.clahe, {"clip": 0.5}, "clip is 0.5; it must be 1..255"),
        (augmentations.clahe, {"tiles": 24}, "tiles is 24; it must be 1..23"),
        (augmentations.shift_scale_rotate, {"shift": 2}, "shift is 2; it must be 0..1"),
        (augmentations.shift_scale_rotate, {"scale": 1}, "scale is 1; it must be 0..0.9"),
        (augmentations.shift_scale_rotate, {"rotate": -5}, "rotate is -5; it must be 0..180"),
        (augmentations.dropout, {"holes": 0}, "holes is 0; it must be 1..100"),
        (augmentations.dropout, {"min_side": 0.5}, "min_side is 0.5; it must be 0..0.375"),
        (augmentations.dropout, {"fill": 255}, "fill is 255; it must be 0..1"),
        (augmentations.combined, {"dropout": -1}, "dropout is -1; it must be 0..1"),
        (augmentations.combined, {"tiles": 30}, "tiles is 30; it must be 1..23"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(
    factory: Callable[..., Augmentation], options: dict[str, float], said: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        factory(size=(32, 24), **options)
    assert "--augmentation_args=" in caught.value.hint


def test_combined_without_clahe_takes_images_smaller_than_its_tiles() -> None:
    assert augmented(augmentations.combined(size=(6, 6), clahe=0), noise(4, 6, 6)).shape == (4, 3, 6, 6)


def test_it_keeps_the_contracts(maskkit_check: Check) -> None:
    maskkit_check()


def test_listing_the_plugin_loads_neither_torch_nor_kornia() -> None:
    code = (
        "import sys, maskkit_kornia; list(maskkit_kornia.maskkit_augmentations());"
        " print([name for name in ('torch', 'torchvision', 'kornia', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_trains_with_all_recipes_combined(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for number in range(6):
        person = folder / f"{number:06}_{('male', 'female')[number % 2]}_Asian_{20 + 8 * number}"
        person.mkdir(parents=True)
        for name in ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal"):
            pixels = np.random.default_rng(number).integers(0, 256, (48, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(person / f"{name}.png")
    command = [sys.executable, "-m", "maskkit", "train", f"--data_dir={folder}", f"--model_dir={tmp_path / 'runs'}"]
    command += ["--augmentation=CombinedAugmentation", "--augmentation_args=rotate=10,dropout=0.3,holes=2"]
    command += ["--resize=32,24", "--batch_size=8", "--epochs=1", "--reporters=csv", "--num_workers=0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with next((tmp_path / "runs").rglob("metrics.csv")).open() as file:
        (row,) = csv.DictReader(file)
    assert math.isfinite(float(row["train_loss"]))
    assert math.isfinite(float(row["valid_loss"]))
