"""The contract of augmentations: `maskkit.plugin.contracts.AugmentationFactory`."""

import pickle
from collections.abc import Callable
from functools import partial
from multiprocessing.reduction import ForkingPickler
from unittest import SkipTest

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maskkit.data.augmentation import Augmentation, Draws
from maskkit.testing.candidate import Candidate
from maskkit.testing.check import CheckError, expect
from maskkit.testing.inputs import draws, pixels, seeded
from maskkit.testing.randomness import SEEDS, expect_draws_alone

__all__ = ["CHECKS"]

_SIZE = (40, 32)
_PHOTOS = ((90, 60), (50, 120), (20, 16), (40, 32))  # height and width: tall, wide, small, and just right
_EPOCHS = range(4)


def _gives_an_augmentation(candidate: Candidate) -> None:
    built = candidate.build(size=_SIZE)
    expect(
        isinstance(built, Augmentation),
        f"it must give a maskkit.Augmentation, but gave {type(built).__name__}; return Augmentation(prepare, augment)",
    )


def _prepares_any_photo(candidate: Candidate) -> None:
    prepare = _required(candidate).prepare
    for height, width in _PHOTOS:
        image = prepare(_photo(height, width))
        sentence = f"prepare must make a photo of {height}x{width} uint8 [3, {_SIZE[0]}, {_SIZE[1]}], but it gave"
        expect(isinstance(image, Tensor), f"{sentence} {type(image).__name__}; return a torch tensor")
        expect(
            image.dtype == torch.uint8 and tuple(image.shape) == (3, *_SIZE),
            f"{sentence} {image.dtype} {list(image.shape)}; `size` is (height, width), and nothing is normalised here",
        )


def _prepares_the_same_twice(candidate: Candidate) -> None:
    prepare = _required(candidate).prepare
    for height, width in _PHOTOS:
        results = []
        for seed in SEEDS:
            with seeded(seed):
                results.append(prepare(_photo(height, width)))
        expect(
            all(torch.equal(results[0], other) for other in results[1:]),
            "prepare must give the same for the same photo, since validation sees it and it is kept between epochs, but"
            " it gave another; put what is random into augment",
        )


def _reaches_other_processes(candidate: Candidate) -> None:
    prepare = _required(candidate).prepare
    try:
        again = pickle.loads(ForkingPickler.dumps(prepare))  # noqa: S301  its own bytes
    except Exception as error:
        raise CheckError(
            f"prepare is sent to the processes that decode, but pickling it raised {type(error).__name__}: {error};"
            " make it a function of a module, or a functools.partial of one"
        ) from error
    photo = _photo(*_PHOTOS[0])
    expect(
        torch.equal(again(photo), prepare(photo)),
        "prepare is sent to the processes that decode, but after pickling it gives another result; keep its settings"
        " in a functools.partial",
    )


def _augments_within_range(candidate: Candidate) -> None:
    augment = _augment(candidate)
    for epoch in _EPOCHS:
        for rows in ([0, 1, 2, 3, 4], [9]):
            images = augment(pixels(len(rows), _SIZE), draws(rows, epoch=epoch))
            shape = [len(rows), 3, *_SIZE]
            expect(isinstance(images, Tensor), f"augment must give a tensor, but gave {type(images).__name__}")
            expect(
                images.dtype == torch.float32 and list(images.shape) == shape,
                f"augment must give float32 {shape}, but gave {images.dtype} {list(images.shape)}",
            )
            expect(bool(images.isfinite().all()), "augment must give finite pixels, but some are NaN or infinite")
            lowest, highest = float(images.min()), float(images.max())
            expect(
                lowest >= -1e-5 and highest <= 1 + 1e-5,
                f"augment must give pixels in 0..1, but gave {lowest:.3g}..{highest:.3g}; end with .clamp(0, 1)",
            )


def _augments_each_image_by_itself(candidate: Candidate) -> None:
    augment = _augment(candidate)
    part = [4, 1, 3]
    for epoch in _EPOCHS:
        with seeded(0):
            whole = augment(pixels(6, _SIZE), draws([10, 11, 12, 13, 14, 15], epoch=epoch))
            alone = augment(pixels(6, _SIZE)[part], draws([10 + row for row in part], epoch=epoch))
        distance = float((whole[part] - alone).abs().max())
        expect(
            distance <= 1e-5,
            "what becomes of an image must not depend on the others of its batch or their order, but it differs by"
            f" {distance:.2g}; draw for each image with `draws`, and take no mean over the batch",
        )


def _augments_by_its_draws_alone(candidate: Candidate) -> None:
    augment = _augment(candidate)
    for epoch in _EPOCHS:
        expect_draws_alone(partial(_augmented, augment, epoch), "augment")


def _augmented(augment: Callable[[Tensor, Draws], Tensor], epoch: int) -> list[Tensor]:
    return [augment(pixels(3, _SIZE), draws([4, 5, 6], epoch=epoch))]


def _augment(candidate: Candidate) -> Callable[[Tensor, Draws], Tensor]:
    augment = _required(candidate).augment
    if augment is None:
        raise SkipTest("it varies nothing")
    return augment


def _required(candidate: Candidate) -> Augmentation:
    return candidate.require(Augmentation, size=_SIZE)


def _photo(height: int, width: int) -> Image.Image:
    values = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


CHECKS: dict[str, Callable[[Candidate], None]] = {
    "it gives an Augmentation": _gives_an_augmentation,
    "prepare takes any photo": _prepares_any_photo,
    "prepare gives the same twice": _prepares_the_same_twice,
    "prepare reaches other processes": _reaches_other_processes,
    "augment keeps shape, type and range": _augments_within_range,
    "augment takes each image by itself": _augments_each_image_by_itself,
    "augment draws from its draws alone": _augments_by_its_draws_alone,
}
