"""BaseModel: three convolutions, for those who want a result on a CPU within minutes."""

from torch import nn

from maskkit.errors import WeightsError

__all__ = ["base_model"]

# Where a mask sits tells the three mask states apart, so the features keep a coarse place: 4 rows by 3 columns.
_GRID = (4, 3)
_CHANNELS = (24, 48, 96)


def base_model(num_outputs: int, *, pretrained: bool, dropout: float = 0.25) -> nn.Module:
    """Return a small convolutional network: float [B,3,H,W] with H, W >= 32 -> logits [B,num_outputs].

    Raises:
        WeightsError: pretrained weights are asked for; there are none.
    """
    if pretrained:
        raise WeightsError(
            "BaseModel has no pretrained weights", hint="Add --no-pretrained, or choose --model=Efficientnet_b0."
        )
    first, second, third = _CHANNELS
    return nn.Sequential(
        # The stride of the first convolution costs little accuracy and saves three quarters of the time.
        *_block(3, first, kernel_size=5, stride=2),
        *_block(first, second, kernel_size=3, stride=1),
        *_block(second, third, kernel_size=3, stride=1),
        nn.AdaptiveMaxPool2d(_GRID),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(third * _GRID[0] * _GRID[1], num_outputs),
    )


def _block(inputs: int, outputs: int, *, kernel_size: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
