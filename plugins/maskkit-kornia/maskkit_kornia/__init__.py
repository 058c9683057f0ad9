"""Augmentations that teams trained faces with, by kornia; torch and kornia are imported when one is first used."""

from collections.abc import Iterable

from maskkit import Component, hookimpl

_HOME = "maskkit_kornia.augmentations"


@hookimpl
def maskkit_augmentations() -> Iterable[Component]:
    yield Component(
        name="FlipAugmentation",
        target=f"{_HOME}:flip",
        summary="BaseAugmentation's centre, mirrored left to right",
    )
    yield Component(
        name="BrightnessContrastAugmentation",
        target=f"{_HOME}:brightness_contrast",
        summary="The centre in another light and contrast",
    )
    yield Component(
        name="ClaheAugmentation",
        target=f"{_HOME}:clahe",
        summary="The centre, its contrast evened out tile by tile (CLAHE)",
    )
    yield Component(
        name="ShiftScaleRotateAugmentation",
        target=f"{_HOME}:shift_scale_rotate",
        summary="The centre shifted, scaled and rotated",
    )
    yield Component(
        name="DropoutAugmentation",
        target=f"{_HOME}:dropout",
        summary="The centre with rectangles cut out (coarse dropout, random erasing)",
    )
    yield Component(
        name="CombinedAugmentation",
        target=f"{_HOME}:combined",
        summary="All five, one after the other, each with a probability of its own",
    )
