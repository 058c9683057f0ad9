"""Models of timm for maskkit: any by its name, and the field's favourites under names of their own."""

from collections.abc import Iterable

from maskkit import Component, hookimpl

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Mean and standard deviation of the images of a pretraining, as timm's configurations give them; a test compares."""


@hookimpl
def maskkit_models() -> Iterable[Component]:
    yield Component(
        name="timm",
        target="maskkit_timm.models:any_model",
        summary="Any model of timm: --model_args=name=convnext_tiny",
        has_weights=True,
        # Pixels arrive as they are, in 0..1: the model brings its own normalisation, which depends on its name.
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )
    favourites = {
        "nfnet_f0": ("NFNet-F0, 71 M parameters", _IMAGENET, 192),
        "ecaresnet50t": ("ECA-ResNet-50-T, 26 M parameters", _IMAGENET, 256),
        "seresnet152d": ("SE-ResNet-152-D, 67 M parameters", _IMAGENET, 256),
        "eca_nfnet_l0": ("ECA-NFNet-L0, 24 M parameters", _IMAGENET, 224),
        "vit_base_384": ("ViT-B/16 of 384 x 384, 87 M parameters", _HALVES, 384),
    }
    for name, (summary, (mean, std), side) in favourites.items():
        yield Component(
            name=name,
            target=f"maskkit_timm.models:{name}",
            summary=f"{summary}, ImageNet weights by download",
            has_weights=True,
            mean=mean,
            std=std,
            size=(side, side),
        )
