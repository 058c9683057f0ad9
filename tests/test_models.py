"""The networks in the box: shapes, gradients, sizes, and the two modes of a module."""

import re
from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn

from maskkit import builtin
from maskkit.builtin import models
from maskkit.builtin.base_model import base_model
from maskkit.errors import WeightsError

SIZES = [(128, 96), (224, 224), (97, 61)]
EFFICIENTNETS = [f"b{number}" for number in range(8)]
SUMMARIES = {component.name: component.summary for component in builtin.maskkit_models()}

Factory = Callable[..., nn.Module]

small_networks = pytest.mark.parametrize("factory", [base_model, models.efficientnet_b0])


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def on_no_device(size: str, num_outputs: int) -> nn.Module:
    """Build an EfficientNet whose parameters have shapes and no memory."""
    with torch.device("meta"):
        network: nn.Module = getattr(models, f"efficientnet_{size}")(num_outputs, pretrained=False)
    return network


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("size", SIZES, ids=str)
@small_networks
def test_logits_have_a_row_an_image_whatever_the_image_size(factory: Factory, size: tuple[int, int]) -> None:
    network = factory(18, pretrained=False).eval()
    with torch.inference_mode():
        logits = network(images(2, 3, *size))
    assert logits.shape == (2, 18)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@pytest.mark.parametrize("num_outputs", [2, 3, 8])
@small_networks
def test_a_view_gets_as_many_outputs_as_it_asks_for(factory: Factory, num_outputs: int) -> None:
    assert factory(num_outputs, pretrained=False).eval()(images(1, 3, 64, 64)).shape == (1, num_outputs)


@small_networks
def test_every_parameter_gets_a_finite_gradient(factory: Factory) -> None:
    network = factory(18, pretrained=False).train()
    nn.functional.cross_entropy(network(images(4, 3, 64, 48)), torch.tensor([0, 5, 11, 17])).backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@small_networks
def test_evaluation_is_the_same_alone_and_in_a_batch_and_leaves_the_network_as_it_was(factory: Factory) -> None:
    network = factory(18, pretrained=False).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batch = images(3, 3, 64, 48)
    with torch.inference_mode():
        together, again = network(batch), network(batch)
        alone = torch.cat([network(image[None]) for image in batch])
    assert torch.equal(together, again)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@small_networks
def test_training_draws_dropout_and_moves_the_batch_statistics(factory: Factory) -> None:
    network = factory(18, pretrained=False).train()
    before = {name: value.clone() for name, value in network.named_buffers()}
    batch = images(8, 3, 64, 48)
    with torch.inference_mode():
        first, second = network(batch), network(batch)
    assert not torch.equal(first, second)
    assert any(not torch.equal(value, before[name]) for name, value in network.named_buffers())


@small_networks
def test_dropout_is_an_option(factory: Factory) -> None:
    rates = [
        [module.p for module in factory(18, pretrained=False, **options).modules() if isinstance(module, nn.Dropout)]
        for options in ({}, {"dropout": 0.4}, {"dropout": 0.0})
    ]
    assert rates[0] != [0.4]
    assert rates[1:] == [[0.4], [0.0]]


@small_networks
def test_weights_follow_the_seed(factory: Factory) -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.cat([parameter.detach().flatten() for parameter in factory(18, pretrained=False).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize("size", EFFICIENTNETS)
def test_an_efficientnet_has_the_millions_of_parameters_that_its_summary_says(size: str) -> None:
    found = num_parameters(on_no_device(size, 1000))
    said = re.search(r"(\d+) M parameters", SUMMARIES[f"Efficientnet_{size}"])
    assert said is not None
    assert round(found / 1e6) == int(said[1])


@pytest.mark.parametrize("size", EFFICIENTNETS)
def test_an_efficientnet_is_as_large_as_that_of_torchvision(size: str) -> None:
    with torch.device("meta"):
        other = getattr(torchvision.models, f"efficientnet_{size}")(num_classes=18)
    assert num_parameters(on_no_device(size, 18)) == num_parameters(other)


def test_base_model_is_small_and_has_no_weights_to_start_from() -> None:
    assert num_parameters(base_model(18, pretrained=False)) < 200_000
    with pytest.raises(WeightsError, match="no pretrained weights"):
        base_model(18, pretrained=True)
