"""How far gradients in bfloat16 are from exact ones: `python tests/benchmarks/gradient_rounding.py`.

Each depthwise convolution of a network is taken as it stands in a training step in bfloat16, with the images and the
gradient that reach it, and goes backward once more: in bfloat16 alone, with the slow ones by detours, and in float64.
The table tells the largest difference to float64 over all layers, as a share of the largest gradient of a tensor:
bfloat16 itself rounds by up to 0.0039. And it tells the largest difference of a probability when batch norms are
folded. Networks of packages that are not installed are left out.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from maskkit.arithmetic.depthwise import DepthwiseByDetours
from maskkit.arithmetic.folding import fold
from maskkit.errors import MaskkitError
from maskkit.plugin.discovery import discover
from maskkit.plugin.part import Part
from maskkit.plugin.registry import Registry

OWN = ("BaseModel", *(f"Efficientnet_b{size}" for size in range(8)), *(f"Efficientnet_lite{size}" for size in range(3)))
TIMM = ("mobilenetv3_large_100", "tf_efficientnetv2_s", "convnext_atto")
NUM_OUTPUTS, BATCH_SIZE = 18, 8

Convolve = Callable[[Tensor, Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=[*OWN, *TIMM], help="of maskkit, or of timm by their names")
    parser.add_argument("--size", type=int, default=64, help="pixels of a side")
    arguments = parser.parse_args()
    table = Table("network", "depthwise", "bf16", "slow ones by detours", "folded, fp32", "folded, bf16")
    registry = Registry(discover())
    for name in arguments.models:
        try:
            torch.manual_seed(0)
            network = network_of(name, registry)
        except MaskkitError as error:
            print(f"{name} left out: {error}", file=sys.stderr)
            continue
        pixels = torch.randn(BATCH_SIZE, 3, arguments.size, arguments.size).contiguous(
            memory_format=torch.channels_last
        )
        table.add_row(name, *gradients(network, pixels), *(f"{found:.0e}" for found in foldings(network, pixels)))
    Console(width=100).print(table)


def network_of(name: str, registry: Registry) -> nn.Module:
    is_own = name in OWN
    part = Part.find(registry, "model", name if is_own else "timm", {} if is_own else {"name": name})
    network: nn.Module = part.make(NUM_OUTPUTS, pretrained=False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics as of a training, so that folding has something to do
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            assert module.running_mean is not None and module.running_var is not None  # noqa: PT018
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.to(memory_format=torch.channels_last)


_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


class Depthwise(TorchFunctionMode):
    """Notes the depthwise convolutions of a pass, and the gradients that reach them when it goes backward."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Convolve, Tensor, Tensor, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.conv2d:
            bound = dict(zip(_ARGUMENTS, args, strict=False)) | (kwargs or {})
            images, weight = bound["input"], bound["weight"]
            geometry = [bound.get(name, usual) for name, usual in zip(_ARGUMENTS[3:], (1, 0, 1, 1), strict=True)]
            if 1 < geometry[3] == images.shape[1]:
                convolve = partial(_convolve, geometry=geometry)
                result.register_hook(partial(self._keep, convolve, images.detach(), weight.detach()))
        return result

    def _keep(self, convolve: Convolve, images: Tensor, weight: Tensor, gradient: Tensor) -> None:
        self.seen.append((convolve, images.bfloat16(), weight.bfloat16(), gradient.detach()))


def _convolve(images: Tensor, weight: Tensor, geometry: Any) -> Tensor:
    return torch.conv2d(images, weight, None, *geometry)


def gradients(network: nn.Module, pixels: Tensor) -> Iterator[str]:
    network.train()
    with torch.autocast("cpu", dtype=torch.bfloat16), Depthwise() as watching:
        logits = network(pixels)
    torch.autograd.backward(functional.cross_entropy(logits.float(), torch.arange(BATCH_SIZE)))
    yield str(len(watching.seen))
    exact = [backward(torch.float64, *one) for one in watching.seen]
    for mode in (nullcontext, DepthwiseByDetours):
        with mode():
            found = [backward(torch.bfloat16, *one) for one in watching.seen]
        yield f"{max((distance(*pair) for pair in zip(found, exact, strict=True)), default=0):.4f}"


def backward(dtype: torch.dtype, convolve: Convolve, images: Tensor, weight: Tensor, gradient: Tensor) -> list[Tensor]:
    inputs = [tensor.to(dtype).requires_grad_() for tensor in (images, weight)]
    return list(torch.autograd.grad(convolve(*inputs), inputs, gradient.to(dtype)))


def distance(found: list[Tensor], exact: list[Tensor]) -> float:
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in zip(found, exact, strict=True))


def foldings(network: nn.Module, pixels: Tensor) -> Iterator[float]:
    network.eval()
    for dtype in (torch.float32, torch.bfloat16):
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            wanted = network(pixels).float().softmax(dim=1)
            with fold(network, pixels[:2], dtype) or nullcontext():
                found = network(pixels).float().softmax(dim=1)
        yield float((wanted - found).abs().max())


if __name__ == "__main__":
    main()
