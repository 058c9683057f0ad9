"""EfficientNet-b0 to b7 (Tan and Le, arXiv 1905.11946), from the package efficientnet-pytorch."""

from efficientnet_pytorch import EfficientNet
from efficientnet_pytorch.utils import url_map
from torch import nn

from maskkit import fetch_weights

__all__ = [
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
]


def _efficientnet(size: str, num_outputs: int, *, pretrained: bool, dropout: float | None = None) -> nn.Module:
    """Return the network for any image size; `dropout` before the last layer is the paper's unless given.

    Raises:
        WeightsError: the ImageNet weights cannot be downloaded, or fail their hash.
    """
    name = f"efficientnet-{size}"
    changes = {} if dropout is None else {"dropout_rate": dropout}
    # Without an image size the padding follows each input, as in the network that the weights were trained with.
    network = EfficientNet.from_name(name, num_classes=num_outputs, image_size=None, **changes)
    network.set_swish(memory_efficient=False)  # the plain one is torch's own SiLU, which is faster
    if pretrained:
        state = fetch_weights(url_map[name])
        kept = {key: value for key, value in state.items() if not key.startswith("_fc.")}
        network.load_state_dict(kept, strict=False)
    return network  # type: ignore[no-any-return]


def efficientnet_b0(num_outputs: int, *, pretrained: bool, dropout: float | None = None) -> nn.Module:
    """Return EfficientNet-B0."""
    return _efficientnet("b0", num_outputs, pretrained=pretrained, dropout=dropout)


def efficientnet_b1(num_outputs: int, *, pretrained: bool, dropout: float | None = None) -> nn.Module:
    """Return EfficientNet-B1."""
    return _efficientnet("b1", num_outputs, pretrained=pretrained, dropout=dropout)


def efficientnet_b2(num_outputs: int, *, pretrained: bool, dropout: float | None = None) -> nn.Module:
    """Return EfficientNet-B2."""
    return _efficientnet("b2", num_outputs, pretrained=pretrained, dropout=dropout)


def efficientnet_b3(num_outputs: int, *, pretrained: bool, dropout: float | None = None) -> nn.Module:
    """Return EfficientNet-B3."""
    return _efficientnet("b3", num_outputs, pretrained=pretrained, dropout=dropout)


def efficientnet_b4(num_outputs: int, *, pretrained: bool, dropout: float | None = None) -> nn.Module:
    """Return EfficientNet-B4."""
    return _efficientnet("b4", num_outputs, pretrained=pretrained, dropout=dropout)


def efficientnet_b5(num_outputs: int, *, pretrained: bool, dropout: float | None = None) -> nn.Module:
    """Return EfficientNet-B5."""
    return _efficientnet("b5", num_outputs, pretrained=pretrained, dropout=dropout)


def efficientnet_b6(num_outputs: int, *, pretrained: bool, dropout: float | None = None) -> nn.Module:
    """Return EfficientNet-B6."""
    return _efficientnet("b6", num_outputs, pretrained=pretrained, dropout=dropout)


def efficientnet_b7(num_outputs: int, *, pretrained: bool, dropout: float | None = None) -> nn.Module:
    """Return EfficientNet-B7."""
    return _efficientnet("b7", num_outputs, pretrained=pretrained, dropout=dropout)
