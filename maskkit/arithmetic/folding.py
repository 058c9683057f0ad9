"""Batch norms folded into the convolutions before them: in evaluation both are affine, so one of the two is enough.

Which convolution stands before which norm is seen by watching a pass of two images, so the networks of plugins gain
too; and what was folded is used only where it gives the same logits in float32. The weights of the convolutions are
held in the format of the arithmetic, where autocast would cast all of them for every batch.
"""

import copy
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized

__all__ = ["folded"]

_TOLERANCE = 1e-4


@torch.inference_mode(mode=False)  # tensors of that mode do not tell whether something wrote into them
@torch.no_grad()
def folded(network: nn.Module, images: Tensor, dtype: torch.dtype) -> nn.Module:
    """Return a copy of a network in evaluation mode that gives the same logits sooner, or itself where that cannot be.

    `images` float32 [B, 3, H, W], normalised: a few of those that it will see. `dtype`: the format that it computes in.
    """
    seen = _watch(network, images, dtype)
    try:
        copied = copy.deepcopy(network)
    except RuntimeError:  # it holds a tensor that torch does not copy
        return network
    for source, target in seen.pairs.items():
        convolution, norm = copied.get_submodule(source), copied.get_submodule(target)
        assert isinstance(convolution, nn.Conv2d)  # noqa: S101  so they were seen
        assert isinstance(norm, nn.BatchNorm2d)  # noqa: S101
        _replace(copied, source, fuse_conv_bn_eval(convolution, norm))
        _replace(copied, target, nn.Identity())
    # Nothing may round: neither a caller's autocast, nor cuDNN to TF32.
    with torch.autocast(images.device.type, enabled=False), torch.backends.cudnn.flags(enabled=False):
        logits = network(images)
        furthest = (copied(images) - logits).abs().max()
    if not furthest <= _TOLERANCE * max(1.0, float(logits.abs().max())):
        return network
    for source in seen.reduced:
        copied.get_submodule(source).to(dtype)
    return copied


@dataclass
class _Seen:
    """What a pass showed, by names: the batch norm that takes what a convolution gives, and who computed in `dtype`."""

    dtype: torch.dtype
    pairs: dict[str, str] = field(default_factory=dict)
    reduced: set[str] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)
    given: dict[int, tuple[str, Tensor, int]] = field(default_factory=dict)

    def after(self, name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Note a call of a module."""
        self.calls[name] += 1
        if isinstance(module, nn.Conv2d):
            self.given[id(output)] = (name, output, output._version)  # noqa: SLF001  held, so that no other takes its id
            if output.dtype == self.dtype:
                self.reduced.add(name)
            return
        source, tensor, version = self.given.get(id(inputs[0]), ("", None, 0))
        if tensor is not None and tensor._version == version:  # noqa: SLF001  else something wrote into it
            self.pairs[source] = name


def _watch(network: nn.Module, images: Tensor, dtype: torch.dtype) -> _Seen:
    seen = _Seen(dtype)
    modules = [(name, module) for name, module in network.named_modules() if _is_watched(module)]
    hooks = [module.register_forward_hook(partial(seen.after, name)) for name, module in modules]
    reduces = dtype != torch.float32
    try:
        with torch.autocast(images.device.type, dtype=dtype if reduces else None, enabled=reduces):
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    seen.given.clear()
    seen.pairs = {one: norm for one, norm in seen.pairs.items() if seen.calls[one] == seen.calls[norm] == 1}
    return seen


def _is_watched(module: nn.Module) -> bool:
    """Return whether a module is a convolution or a batch norm that torch can fuse; its subclasses may do more."""
    if type(module) is nn.BatchNorm2d:
        return module.running_mean is not None
    return isinstance(module, nn.Conv2d) and not is_parametrized(module)


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
