"""The models of timm, with the weights and the preprocessing of their pretraining."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor, nn

from maskkit.errors import UsageError
from maskkit_timm.names import config_of, warn_of_other_statistics
from maskkit_timm.weights import fetch

__all__ = ["any_model", "eca_nfnet_l0", "ecaresnet50t", "nfnet_f0", "seresnet152d", "vit_base_384"]

_ANY_SIZE = ("dynamic_img_size", "dynamic_img_pad")
"""The arguments by which a transformer takes images of any size; which of them there are depends on the family."""


def any_model(
    num_outputs: int,
    *,
    pretrained: bool,
    name: str = "convnext_tiny",
    drop_rate: float | None = None,
    drop_path_rate: float | None = None,
    image_size: tuple[int, int] | None = None,
) -> nn.Module:
    """Return the model of timm of that name: pixels float [B, 3, H, W] in 0..1 -> logits [B, num_outputs].

    Its first step is (pixels - mean) / std with the numbers of its own pretraining, to the same floats as in timm's
    transform. The step is a hook and its numbers are no part of the state, so the state_dict is that of timm's model
    and takes timm's files.

    name: as timm lists it, with or without the tag of its weights: "convnext_tiny", "convnext_tiny.fb_in1k".
    drop_rate: the share of features left out before the last layer in training; the model's own unless given.
    drop_path_rate: the share of residual branches left out in training; the model's own unless given.
    image_size: (height, width) to build for, in place of that of the pretraining; only families that take images of
    one size alone have need of it.

    Raises:
        UnknownNameError: timm has no such model.
        UsageError: a value is out of bounds, or the model has no such option; when called, images of a size that it
            is not built for.
        WeightsError: the weights cannot be had.
    """
    config = config_of(name)
    if pretrained:
        warn_of_other_statistics(name, config)
    options = _rates(drop_rate=drop_rate, drop_path_rate=drop_path_rate)
    if image_size is not None:
        if min(image_size) < 1:
            raise UsageError(f"image_size must be height and width in pixels; received {image_size}")
        options["img_size"] = image_size
    network = _network(name, num_outputs, pretrained=pretrained, options=options)
    network.register_buffer("pixel_mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
    network.register_buffer("pixel_std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)
    network.register_forward_pre_hook(_normalise)
    return network


def nfnet_f0(
    num_outputs: int, *, pretrained: bool, drop_rate: float | None = None, drop_path_rate: float | None = None
) -> nn.Module:
    """Return NFNet-F0 of Brock et al., "High-Performance Large-Scale Image Recognition" (arXiv 2102.06171).

    It is timm's dm_nfnet_f0, the network as DeepMind trained it; timm's nfnet_f0 differs and has no weights.
    """
    rates = _rates(drop_rate=drop_rate, drop_path_rate=drop_path_rate)
    return _network("dm_nfnet_f0.dm_in1k", num_outputs, pretrained=pretrained, options=rates)


def ecaresnet50t(
    num_outputs: int, *, pretrained: bool, drop_rate: float | None = None, drop_path_rate: float | None = None
) -> nn.Module:
    """Return ResNet-50-T with the channel attention of Wang et al., "ECA-Net" (arXiv 1910.03151)."""
    rates = _rates(drop_rate=drop_rate, drop_path_rate=drop_path_rate)
    return _network("ecaresnet50t.ra2_in1k", num_outputs, pretrained=pretrained, options=rates)


def seresnet152d(
    num_outputs: int, *, pretrained: bool, drop_rate: float | None = None, drop_path_rate: float | None = None
) -> nn.Module:
    """Return ResNet-152-D with the attention of Hu et al., "Squeeze-and-Excitation Networks" (arXiv 1709.01507)."""
    rates = _rates(drop_rate=drop_rate, drop_path_rate=drop_path_rate)
    return _network("seresnet152d.ra2_in1k", num_outputs, pretrained=pretrained, options=rates)


def eca_nfnet_l0(
    num_outputs: int, *, pretrained: bool, drop_rate: float | None = None, drop_path_rate: float | None = None
) -> nn.Module:
    """Return timm's light NFNet-L0 with ECA attention, after Brock et al. (arXiv 2102.06171)."""
    rates = _rates(drop_rate=drop_rate, drop_path_rate=drop_path_rate)
    return _network("eca_nfnet_l0.ra2_in1k", num_outputs, pretrained=pretrained, options=rates)


def vit_base_384(
    num_outputs: int, *, pretrained: bool, drop_rate: float | None = None, drop_path_rate: float | None = None
) -> nn.Module:
    """Return ViT-B/16, pretrained at 384 x 384, of Dosovitskiy et al. (arXiv 2010.11929); weights of arXiv 2106.10270.

    It takes images of any size: its positions are interpolated, and the edges filled up to whole patches.
    """
    rates = _rates(drop_rate=drop_rate, drop_path_rate=drop_path_rate)
    return _network("vit_base_patch16_384.augreg_in21k_ft_in1k", num_outputs, pretrained=pretrained, options=rates)


def _rates(**rates: float | None) -> dict[str, Any]:
    """Return the rates that are given.

    Raises:
        UsageError: one is no share.
    """
    given = {option: rate for option, rate in rates.items() if rate is not None}
    for option, rate in given.items():
        if not 0 <= rate < 1:
            raise UsageError(f"{option} must be from 0 to below 1; received {rate}")
    return dict(given)


def _network(name: str, num_outputs: int, *, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    """Return timm's model for normalised images, that takes them at any size where its family can."""
    config = config_of(name)
    # A file of ours is named, so timm looks for none itself: its own search would end at a pickle.
    source = {"file": str(fetch(name, config)), "custom_load": False} if pretrained else {}
    arguments = {"pretrained": pretrained, "pretrained_cfg_overlay": source, "num_classes": num_outputs, **options}
    try:
        network, takes_any_size = _created(name, arguments, _ANY_SIZE if config.fixed_input_size else ())
    except TypeError as error:
        refused = [argument for argument in options if f"'{argument}'" in str(error)]
        if not refused:
            raise
        option = "image_size" if refused[0] == "img_size" else refused[0]
        raise UsageError(f"{name} takes no {option}", hint="Leave it out of --model_args.") from error
    except (AssertionError, ValueError, RuntimeError) as error:
        if "img_size" not in options:
            raise
        height, width = options["img_size"]
        cause = next(iter(str(error).splitlines()), "timm does not say why")
        raise UsageError(
            f"{name} cannot be built for images of {height}x{width}: {cause}",
            hint=f"Its own size is {config.input_size[1]}x{config.input_size[2]}; try multiples of 32, and squares.",
        ) from error
    if config.fixed_input_size and not takes_any_size:
        size = options.get("img_size", config.input_size[1:])
        network.register_forward_pre_hook(partial(_expect_size, name, size))
    return network


def _created(name: str, arguments: dict[str, Any], any_size: Sequence[str]) -> tuple[nn.Module, bool]:
    """Return the model, and whether it takes images of any size; of `any_size` it is given what it knows."""
    try:
        return timm.create_model(name, **(arguments | dict.fromkeys(any_size, True))), bool(any_size)
    except TypeError as error:
        if not any(f"'{argument}'" in str(error) for argument in any_size):
            raise
    return _created(name, arguments, any_size[:-1])


def _expect_size(name: str, size: tuple[int, int], _: nn.Module, inputs: tuple[Tensor]) -> None:
    height, width = inputs[0].shape[2:]
    if (height, width) != size:
        raise UsageError(
            f"{name} is built for images of {size[0]}x{size[1]}; it was given {height}x{width}",
            hint=f"Type --resize={size[0]},{size[1]}, or build it for these: image_size={height}x{width} among its"
            " --model_args.",
        )


def _normalise(network: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    """Return what the network sees of pixels in 0..1."""
    mean, std = network.get_buffer("pixel_mean"), network.get_buffer("pixel_std")
    return (inputs[0] - mean) / std
