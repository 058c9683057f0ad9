"""Batch norms folded into the convolutions before them: in evaluation both are affine, so one of the two is enough.

The network itself stays as it is. A pass of two images shows which convolution stands before which norm, so the
networks of plugins gain too. Then, while a mode is entered, such convolutions compute with the weights of both, and
such norms give back what they take. It is used only where it gives the same logits in float32. The weights are held in
the format of the arithmetic, where autocast would cast all of them for every batch.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode

from maskkit.arithmetic.replacing import Replacing

__all__ = ["Folded", "fold"]

_TOLERANCE = 1e-4


class Folded(Replacing):
    """While it is entered, a network in evaluation mode computes with what was folded."""

    def __init__(self) -> None:
        super().__init__({torch.conv2d: self._convolve, functional.batch_norm: self._normalise})
        # By the identity of the network's own tensors, which are held here so that it stays theirs.
        self._weights: dict[int, tuple[Tensor, Tensor, Tensor | None]] = {}
        self._means: dict[int, Tensor] = {}

    def hold(self, convolution: "_Convolution", norm: "_Norm | None", dtype: torch.dtype) -> None:
        """Let a convolution compute in a format, and with the weights of a norm too."""
        weight, bias = convolution.weight, convolution.bias
        if norm is not None:
            weight, bias = fuse_conv_bn_weights(
                weight, bias, norm.mean, norm.variance, norm.eps, norm.weight, norm.bias
            )
            self._means[id(norm.mean)] = norm.mean
        held = (convolution.weight, weight.to(dtype), None if bias is None else bias.to(dtype))
        self._weights[id(convolution.weight)] = held

    def _convolve(
        self,
        input: Tensor,  # noqa: A002  torch's own name
        weight: Tensor,
        bias: Tensor | None = None,
        *geometry: Any,
        **named: Any,
    ) -> Tensor:
        _, weight, bias = self._weights.get(id(weight), (weight, weight, bias))
        return torch.conv2d(input, weight, bias, *geometry, **named)

    def _normalise(self, input: Tensor, running_mean: Tensor | None, *others: Any, **named: Any) -> Tensor:  # noqa: A002
        if id(running_mean) in self._means:
            return input
        return functional.batch_norm(input, running_mean, *others, **named)


@torch.inference_mode(mode=False)  # tensors of that mode do not tell whether something wrote into them
@torch.no_grad()
def fold(network: nn.Module, images: Tensor, dtype: torch.dtype) -> Folded | None:
    """Return the mode in which a network gives the same logits sooner, None where there is none.

    `network`: in evaluation mode. `images` float32 [B, 3, H, W], normalised: a few of those that it will see. `dtype`:
    the format that it computes in.
    """
    if any(_is_compiled(module) for module in network.modules()):
        return None  # each mode would have it compiled anew
    with _autocast(images, dtype), _Watching() as watching:
        network(images.clone())  # it may write into what it is given
    exact, reduced = Folded(), Folded()
    for convolution, norm in watching.pairs():
        exact.hold(convolution, norm, convolution.weight.dtype)
        reduced.hold(convolution, norm, convolution.output.dtype)
    # Nothing may round here: neither a caller's autocast, nor cuDNN to TF32.
    with _autocast(images, torch.float32), torch.backends.cudnn.flags(enabled=False):
        logits = network(images.clone())
        with exact:
            furthest = (network(images.clone()) - logits).abs().max()
    return reduced if furthest <= _TOLERANCE * max(1.0, float(logits.abs().max())) else None


@dataclass(frozen=True, eq=False)
class _Convolution:
    """A convolution that was called, what it gave, and how often that had been written into."""

    weight: Tensor
    bias: Tensor | None
    output: Tensor
    version: int


@dataclass(frozen=True, eq=False)
class _Norm:
    """A batch norm that was called with statistics of its own."""

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float


class _Watching(TorchFunctionMode):
    """Notes the convolutions of a pass, and the batch norms that take what they give."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: Counter[int] = Counter()
        self._convolutions: dict[int, _Convolution] = {}  # by what they gave
        self._norms: dict[int, _Norm] = {}  # by what they took

    def pairs(self) -> Iterator[tuple[_Convolution, _Norm | None]]:
        """Yield every convolution that is called once, with the norm that is called for it alone."""
        for given, convolution in self._convolutions.items():
            norm = self._norms.get(given)
            if self._calls[id(convolution.weight)] == 1:
                yield convolution, norm if norm is not None and self._calls[id(norm.mean)] == 1 else None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        named = kwargs or {}
        if func is torch.conv2d:
            self._note_convolution(result, *_values(("input", "weight", "bias"), args, named))
        elif func is functional.batch_norm:
            names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
            self._note_norm(*_values(names, args, named))
        return result

    def _note_convolution(self, output: Tensor, _: Tensor, weight: Tensor, bias: Tensor | None) -> None:
        self._calls[id(weight)] += 1
        if isinstance(weight, nn.Parameter):  # another tensor may be made anew for each call
            self._convolutions[id(output)] = _Convolution(weight, bias, output, output._version)  # noqa: SLF001

    def _note_norm(self, taken: Tensor, mean: Tensor | None, *others: Any) -> None:
        self._calls[id(mean)] += 1
        convolution = self._convolutions.get(id(taken))
        variance, weight, bias, of_batch, _, eps = others
        if mean is None or of_batch or convolution is None or taken._version != convolution.version:  # noqa: SLF001
            return
        self._norms[id(taken)] = _Norm(mean, variance, weight, bias, eps)


def _values(names: Sequence[str], args: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
    """Return arguments in the order of their names, None for those that were not given."""
    return [args[place] if place < len(args) else named.get(name) for place, name in enumerate(names)]


def _is_compiled(module: nn.Module) -> bool:
    return getattr(module, "_compiled_call_impl", None) is not None or hasattr(module, "_orig_mod")


def _autocast(images: Tensor, dtype: torch.dtype) -> torch.autocast:
    is_reduced = dtype != torch.float32
    return torch.autocast(images.device.type, dtype=dtype if is_reduced else None, enabled=is_reduced)
