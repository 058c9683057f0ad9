from functools import cache
from typing import Any

import numpy as np
import pytest
import timm
import torch
from maskkit_timm import maskkit_models, models
from maskkit_timm.models import any_model
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval
from torch import Tensor, nn

from maskkit import Component
from maskkit.errors import UnknownNameError, UsageError
from maskkit.testing import Check

FAVOURITES = {component.name: component for component in maskkit_models() if component.name != "timm"}


@cache
def on_no_device(name: str) -> nn.Module:
    """Return a favourite of 8 outputs whose parameters have shapes and no memory."""
    with torch.device("meta"):
        network: nn.Module = getattr(models, name)(8, pretrained=False)
    return network


def stated(network: nn.Module) -> dict[str, Any]:
    """Return what timm states of the pretraining of its model."""
    config: dict[str, Any] = vars(network)["pretrained_cfg"]
    return config


def pixels(*size: int) -> Tensor:
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("component", FAVOURITES.values(), ids=FAVOURITES.keys())
def test_a_favourite_is_the_network_that_timm_has_weights_of_but_for_its_last_layer(component: Component) -> None:
    network = on_no_device(component.name)
    with torch.device("meta"):
        theirs = timm.create_model(stated(network)["architecture"])
    own, full, last = network.state_dict(), theirs.state_dict(), stated(theirs)["classifier"]
    assert list(own) == list(full)
    assert [name for name in own if own[name].shape != full[name].shape] == list(own)[-2:]
    assert list(own)[-2:] == [f"{last}.weight", f"{last}.bias"]
    assert own[f"{last}.bias"].shape == (8,)
    millions = sum(parameter.numel() for parameter in theirs.parameters()) / 1e6
    assert f", {millions:.0f} M parameters" in component.summary


@pytest.mark.parametrize("component", FAVOURITES.values(), ids=FAVOURITES.keys())
def test_the_record_of_a_favourite_states_what_timm_does(component: Component) -> None:
    config = stated(on_no_device(component.name))
    assert (component.mean, component.std) == (config["mean"], config["std"])
    assert component.size == config["input_size"][1:]
    assert component.has_weights
    assert timm.models.is_model_pretrained(f"{config['architecture']}.{config['tag']}")


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "test_convnext"])
def test_any_model_sees_to_the_last_bit_what_the_transform_of_timm_gives(name: str) -> None:
    own = any_model(18, pretrained=False, name=name).eval()
    theirs = timm.create_model(name, num_classes=18).eval()
    theirs.load_state_dict(own.state_dict())
    config = stated(theirs)
    transform = transforms_imagenet_eval(160, crop_pct=1.0, mean=config["mean"], std=config["std"])
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8))
    raw = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float().div_(255)
    seen: list[Tensor] = []
    first = next(module for module in own.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        own(raw)
        assert torch.equal(seen[0], transform(image)[None])
        torch.testing.assert_close(own(raw), theirs(transform(image)[None]))


def test_the_state_is_that_of_timm_so_its_files_fit() -> None:
    own = any_model(1000, pretrained=False, name="test_vit")
    assert list(own.state_dict()) == list(timm.create_model("test_vit").state_dict())


@pytest.mark.parametrize("size", [(128, 96), (160, 160), (100, 70)], ids=str)
@pytest.mark.parametrize("name", ["test_vit", "test_vit.r160_in1k", "test_convnext"])
def test_a_transformer_takes_images_of_any_size_as_a_convolutional_network_does(
    name: str, size: tuple[int, int]
) -> None:
    assert any_model(18, pretrained=False, name=name).eval()(pixels(*size)).shape == (2, 18)


def test_a_model_of_one_size_says_how_to_build_it_for_another() -> None:
    network = any_model(18, pretrained=False, name="test_vit_relpos").eval()
    with pytest.raises(UsageError) as refused:
        network(pixels(96, 64))
    size = "x".join(map(str, stated(network)["input_size"][1:]))
    assert f"is built for images of {size}; it was given 96x64" in refused.value.message
    assert "image_size=96x64" in refused.value.hint
    built = any_model(18, pretrained=False, name="test_vit_relpos", image_size=(96, 64)).eval()
    assert built(pixels(96, 64)).shape == (2, 18)


def test_the_rates_reach_the_model() -> None:
    network = any_model(18, pretrained=False, name="test_vit", drop_rate=0.25, drop_path_rate=0.5)
    rates = {type(module).__name__: module for module in network.modules()}
    assert 0.25 in {module.p for module in network.modules() if isinstance(module, nn.Dropout)}
    assert rates["DropPath"].drop_prob == 0.5


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("convnext-tinny", "convnext_tiny"),
        ("convnext_tiny.fb_in1", "convnext_tiny.fb_in1k"),
        ("tf_efficientnet_b0_ns", "tf_efficientnet_b0.ns_jft_in1k"),
    ],
    ids=["a typo", "a typo in the tag", "a former name"],
)
def test_a_name_that_timm_does_not_know_is_refused_with_one_that_it_does(name: str, near: str) -> None:
    with pytest.raises(UnknownNameError) as refused:
        any_model(18, pretrained=False, name=name)
    assert f"Did you mean {near}?" in refused.value.hint


@pytest.mark.parametrize("name", ["", "hf-hub:timm/resnet18.a1_in1k", "local-dir:models", "/models/vit", "*"])
def test_a_name_is_no_way_to_a_folder_or_to_a_repository(name: str) -> None:
    with pytest.raises(UnknownNameError, match="has no model"):
        any_model(18, pretrained=False, name=name)


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match=r"drop_rate must be from 0 to below 1; received 1\.5"):
        any_model(18, pretrained=False, drop_rate=1.5)
    with pytest.raises(UsageError, match="image_size must be height and width"):
        any_model(18, pretrained=False, name="test_vit", image_size=(0, 32))
    with pytest.raises(UsageError, match="test_convnext takes no image_size"):
        any_model(18, pretrained=False, name="test_convnext", image_size=(64, 48))
    with torch.device("meta"), pytest.raises(UsageError, match="vgg11 takes no drop_path_rate"):
        any_model(18, pretrained=False, name="vgg11", drop_path_rate=0.1)
    with torch.device("meta"), pytest.raises(UsageError, match=r"cannot be built for images of 64x48: .*square"):
        any_model(18, pretrained=False, name="nest_tiny_jx", image_size=(64, 48))


def test_it_keeps_the_contracts(maskkit_check: Check) -> None:
    favourite = maskkit_check.subject.removeprefix("model ") in FAVOURITES
    if favourite and not maskkit_check.name.startswith(("its name", "its factory", "its options", "it takes what")):
        pytest.skip("minutes of arithmetic, which `maskkit check-plugin` does")
    maskkit_check()
