"""EfficientNet-b0 to b7 (Tan and Le, arXiv 1905.11946), from the package efficientnet-pytorch."""

import torch
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
    _pad_within(network)
    if pretrained:
        state = fetch_weights(url_map[name])
        kept = {key: value for key, value in state.items() if not key.startswith("_fc.")}
        network.load_state_dict(kept, strict=False)
    return network  # type: ignore[no-any-return]


def _pad_within(network: nn.Module) -> None:
    """Let convolutions that do not stride pad by themselves, where the package makes a padded copy of the images.

    Without a stride, its padding is the same on both sides for images of any size.
    """
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d) and tuple(child.stride) == (1, 1):
                setattr(parent, name, _padding(child))


def _padding(convolution: nn.Conv2d) -> nn.Conv2d:
    height, width = convolution.kernel_size
    with torch.device("meta"):  # its weights are those of the other
        plain = nn.Conv2d(
            convolution.in_channels,
            convolution.out_channels,
            (height, width),
            padding=(height // 2, width // 2),
            groups=convolution.groups,
        )
    plain.weight, plain.bias = convolution.weight, convolution.bias
    return plain


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
