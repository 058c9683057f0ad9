"""The place within a network where a map is taken: the last module whose output still knows where things are."""

import difflib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Literal

import torch
from torch import Tensor, nn

from maskkit.errors import UnknownNameError, UsageError

__all__ = ["Layer", "Layout", "find_layer", "tapped"]

_NUM_SHOWN = 4
_MOST_EXTRA_TOKENS = 8  # those of a class, of distillation, and registers


@dataclass(frozen=True)
class Layout:
    """How an output holds a map: as [B, C, h, w], as [B, h, w, C], or as tokens [B, num_extra + h * w, C]."""

    form: Literal["channels first", "channels last", "tokens"]
    height: int
    width: int
    num_extra: int = 0

    @classmethod
    def of(cls, shape: torch.Size, size: tuple[int, int]) -> "Layout | None":
        """Return the layout of an output of that shape, for images of size (height, width); None when it has no map."""
        if len(shape) == 4:
            if _is_like(shape[2], shape[3], size):
                return cls("channels first", shape[2], shape[3])
            if _is_like(shape[1], shape[2], size):
                return cls("channels last", shape[1], shape[2])
        if len(shape) == 3:
            for num_extra in range(min(_MOST_EXTRA_TOKENS + 1, shape[1])):
                # Patches are square, so their number tells the grid of an image.
                side = (size[0] * size[1] / (shape[1] - num_extra)) ** 0.5
                height, width = round(size[0] / side), round(size[1] / side)
                if height * width == shape[1] - num_extra and _is_like(height, width, size):
                    return cls("tokens", height, width, num_extra)
        return None

    def maps(self, output: Tensor) -> Tensor:
        """Return the maps [B, C, h, w] that an output holds."""
        if self.form == "channels last":
            return output.permute(0, 3, 1, 2)
        if self.form == "tokens":
            places = output[:, self.num_extra :].transpose(1, 2)
            return places.reshape(*places.shape[:2], self.height, self.width)
        return output

    def output(self, maps: Tensor, original: Tensor) -> Tensor:
        """Return an output that holds the maps; what is no map in it is the original's."""
        if self.form == "channels last":
            return maps.permute(0, 2, 3, 1)
        if self.form == "tokens":
            return torch.cat([original[:, : self.num_extra], maps.flatten(2).transpose(1, 2)], dim=1)
        return maps


def _is_like(height: int, width: int, size: tuple[int, int]) -> bool:
    """Return whether a map is more than a point and has about the shape of the images, which channels have not."""
    shape = (height / width) / (size[0] / size[1])
    return height * width > 1 and height <= size[0] and width <= size[1] and 0.5 <= shape <= 2


@dataclass(frozen=True)
class Layer:
    """A module of a network by its path, how often one forward pass calls it, and the map in its last output."""

    name: str
    module: nn.Module
    num_calls: int
    layout: Layout


@contextmanager
def tapped(layer: Layer) -> Iterator[nn.Module]:
    """Yield a module that the layer's maps [B, C, h, w] flow through, whatever form its output has."""
    tap, calls = nn.Identity(), count(1)

    def divert(_: nn.Module, __: tuple[object, ...], output: Tensor) -> Tensor | None:
        if next(calls) % layer.num_calls:
            return None
        # A copy goes on, since what follows may work in place, as most ReLU do.
        return layer.layout.output(tap(layer.layout.maps(output)).clone(), output)

    handle = layer.module.register_forward_hook(divert)
    try:
        yield tap
    finally:
        handle.remove()


def find_layer(module: nn.Module, network: nn.Module, size: tuple[int, int], name: str | None) -> Layer:
    """Return the layer of that name or, without one, the last that holds a map on which the logits depend.

    A map that was only pooled is passed over: it shows the same as the one before it, and coarser.

    module: pixels float32 [1, 3, H, W] -> logits; network: the part of it whose modules are searched.

    Raises:
        UnknownNameError: the network has no module of that name.
        UsageError: the module holds no map, or nothing that the logits depend on; or no module does.
    """
    calls = _record(module, network, size)
    layers = {call.name: call.layer for call in calls if call.layer}
    if name is not None:
        if name not in layers:
            raise _refusal(name, network, calls, list(layers))
        return layers[name]
    pooled = {id(call.output) for call in calls if type(call.module).__module__ == nn.MaxPool2d.__module__}
    # Within a block tokens get other widths; those of the last ones are what the blocks hand on.
    width = [call.shape[2] for call in calls if call.has_tokens][-1:]
    usual = [call for call in calls if not call.has_tokens or [call.shape[2]] == width]
    found = [layers[call.name] for call in usual if call.name in layers and id(call.output) not in pooled]
    if not found:
        raise UsageError(
            f"no module of {type(network).__name__} gives a map of features that its answers depend on",
            hint="--layer=NAME takes maps [B, C, h, w] and tokens [B, N, C]; --method=occlusion needs no layer.",
        )
    return found[-1]


@dataclass
class _Call:
    """The last call of a module in a forward pass, and whether the logits depend on places of its output."""

    name: str
    module: nn.Module
    num_calls: int
    output: object
    layout: Layout | None = None
    matters: bool = False

    @property
    def layer(self) -> Layer | None:
        return Layer(self.name, self.module, self.num_calls, self.layout) if self.layout and self.matters else None

    @property
    def has_tokens(self) -> bool:
        return self.layout is not None and self.layout.form == "tokens"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the output, () when it is no tensor."""
        return tuple(self.output.shape) if isinstance(self.output, Tensor) else ()


def _record(module: nn.Module, network: nn.Module, size: tuple[int, int]) -> list[_Call]:
    """Return the calls of the network's modules in the order in which they end."""
    found: dict[str, _Call] = {}

    def note(one: nn.Module, _: tuple[object, ...], output: object, *, name: str) -> None:
        earlier = found.pop(name, None)
        found[name] = _Call(name, one, earlier.num_calls + 1 if earlier else 1, output)

    # Noise, since an even picture could leave a map without any gradient.
    pixels = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with ExitStack() as hooks, torch.enable_grad():
        for name, one in network.named_modules():
            if name:  # the network as a whole gives the logits
                hooks.callback(one.register_forward_hook(partial(note, name=name)).remove)
        logits: Tensor = module(pixels.to(next(module.buffers()).device).requires_grad_())
    calls = list(found.values())
    _find_layouts(calls, size)
    _find_what_matters(calls, logits)
    return calls


def _find_layouts(calls: list[_Call], size: tuple[int, int]) -> None:
    for call in calls:
        # Windows of an image, cut out for an attention within each, stand where the images of a batch do.
        if isinstance(call.output, Tensor) and call.output.requires_grad and call.shape[:1] == (1,):
            call.layout = Layout.of(call.output.shape, size)
    tokens = {call.shape[1:] for call in calls if call.has_tokens}
    for call in calls:
        if call.layout and any(_is_of_an_attention(call.shape, *one) for one in tokens):
            call.layout = None


def _is_of_an_attention(shape: tuple[int, ...], length: int, width: int) -> bool:
    """Return whether an output is no map but a table of tokens by tokens, or tokens parted by heads."""
    if len(shape) != 4:
        return False
    is_parted = length in shape[1:3] and shape[1] * shape[2] * shape[3] == length * width
    return is_parted or shape[2:] == (length, length)


def _find_what_matters(calls: list[_Call], logits: Tensor) -> None:
    held = [(call, call.layout, call.output) for call in calls if call.layout and isinstance(call.output, Tensor)]
    if not held:
        return
    # Squares, since there are networks whose logits always have the same sum.
    gradients = torch.autograd.grad(logits.square().sum(), [output for _, _, output in held], allow_unused=True)
    for (call, layout, _), gradient in zip(held, gradients, strict=True):
        call.matters = gradient is not None and bool(layout.maps(gradient).any())


def _refusal(name: str, network: nn.Module, calls: list[_Call], valid: list[str]) -> UsageError:
    hint = (
        f"The last that hold one: {', '.join(valid[-_NUM_SHOWN:])}." if valid else "--method=occlusion needs no layer."
    )
    names = [path for path, _ in network.named_modules() if path]
    if name not in names:
        near = difflib.get_close_matches(name, valid, _NUM_SHOWN) or difflib.get_close_matches(name, names, _NUM_SHOWN)
        suggestion = f"; did you mean {' or '.join(near)}?" if near else ""
        return UnknownNameError(f"--layer={name}: the network has no such module{suggestion}", hint=hint)
    call = next((call for call in calls if call.name == name), None)
    if call is None:
        return UsageError(f"--layer={name}: the network never calls that module", hint=hint)
    if call.layout:
        return UsageError(f"--layer={name}: no answer depends on the places of its map", hint=hint)
    shape = list(call.shape) or type(call.output).__name__
    return UsageError(f"--layer={name}: its output, {shape}, is no map of features", hint=hint)
