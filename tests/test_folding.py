"""Folded batch norms change no logits, and a network in which folding would change them is left alone."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from maskkit.arithmetic.folding import folded
from maskkit.builtin.base_model import base_model
from maskkit.builtin.models import efficientnet_b0
from maskkit.data.loader import Batch
from maskkit.engine.classifier import Classifier
from maskkit.engine.device import Precision

CPU = torch.device("cpu")
FP32, BF16 = Precision("fp32", torch.float32, ""), Precision("bf16", torch.bfloat16, "")


class Plain(nn.Module):
    """A convolution, a batch norm and a linear layer, for others to vary."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1)
        self.norm: nn.Module = nn.BatchNorm2d(8)
        self.last = nn.Linear(8, 18)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.last(self.features(images).mean(dim=(2, 3)))
        return logits

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.norm(self.convolution(images)).relu()
        return features


class TakenTwice(Plain):
    def features(self, images: Tensor) -> Tensor:
        given = self.convolution(images)
        features: Tensor = self.norm(given) + given
        return features


class WrittenInto(Plain):
    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.norm(self.convolution(images).relu_())
        return features


class CalledTwice(Plain):
    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.norm(self.convolution(images)) + self.convolution(images.flip(3))
        return features


class OfTheBatch(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)


class NormThatDoesMore(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's own name
        return super().forward(input).relu() * 2


class OwnNorm(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.norm = NormThatDoesMore(8)


class Parametrised(Plain):
    def __init__(self) -> None:
        super().__init__()
        weight_norm(self.convolution)


class NotCopied(Plain):
    def __init__(self) -> None:
        super().__init__()
        with torch.enable_grad():
            self.doubled = self.last.weight * 2  # torch copies no tensor that autograd made


class Broken(Plain):
    def __init__(self) -> None:
        super().__init__()
        nn.init.constant_(self.last.weight, torch.nan)


class PartlyExact(Plain):
    """What a plugin may do where bfloat16 is too coarse for it."""

    def __init__(self) -> None:
        super().__init__()
        self.exact = nn.Conv2d(8, 8, 1)

    def features(self, images: Tensor) -> Tensor:
        features = super().features(images)
        with torch.autocast("cpu", enabled=False):
            exact: Tensor = self.exact(features.float())
        return exact


def small_base_model() -> nn.Module:
    return base_model(18, pretrained=False)


def b0() -> nn.Module:
    return efficientnet_b0(18, pretrained=False)


def seasoned(network: nn.Module) -> nn.Module:
    """Give the batch norms of a network statistics as of a training, and return it in evaluation mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            if module.running_mean is not None and module.running_var is not None:
                nn.init.uniform_(module.running_mean, -0.5, 0.5)
                nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


def images_of(count: int) -> Tensor:
    return torch.randn(count, 3, 64, 48, generator=torch.Generator().manual_seed(count))


def count_norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("make", [small_base_model, b0])
@torch.no_grad()
def test_every_norm_of_the_box_is_folded_and_no_probability_changes(make: Callable[[], nn.Module]) -> None:
    network = seasoned(make())
    before = copy.deepcopy(network.state_dict())
    found = folded(network, images_of(2), torch.float32)
    assert count_norms(network) > 0 == count_norms(found)
    wanted, given = (one(images_of(5)).softmax(dim=1) for one in (network, found))
    assert (wanted - given).abs().max() < 1e-5
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    "make", [TakenTwice, WrittenInto, CalledTwice, OfTheBatch, OwnNorm, Parametrised, NotCopied, Broken]
)
@torch.no_grad()
def test_what_cannot_be_folded_stays_as_it_is(make: Callable[[], nn.Module]) -> None:
    network = seasoned(make())
    found = folded(network, images_of(2), torch.float32)
    assert count_norms(found) == 1
    torch.testing.assert_close(found(images_of(5)), network(images_of(5)), equal_nan=True)


@torch.no_grad()
def test_a_norm_beside_one_that_cannot_be_folded_is() -> None:
    network = seasoned(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), OwnNorm()))
    found = folded(network, images_of(2), torch.float32)
    assert (count_norms(network), count_norms(found)) == (2, 1)
    torch.testing.assert_close(found(images_of(5)), network(images_of(5)))


@pytest.mark.parametrize("make", [Plain, PartlyExact, small_base_model, b0])
@torch.no_grad()
def test_in_bfloat16_weights_are_held_in_it_where_it_computes(make: Callable[[], nn.Module]) -> None:
    network = seasoned(make())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = folded(network, images_of(2), torch.bfloat16)
    assert count_norms(found) == 0
    formats = {name: module.weight.dtype for name, module in found.named_modules() if isinstance(module, nn.Conv2d)}
    assert {name for name, dtype in formats.items() if dtype != torch.bfloat16} <= {"exact"}
    wanted = network(images_of(5)).softmax(dim=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = found(images_of(5)).float().softmax(dim=1)
    assert (wanted - given).abs().max() < 1e-2


@pytest.mark.parametrize("precision", [FP32, BF16], ids=["fp32", "bf16"])
def test_predictions_come_from_folded_norms_and_the_network_goes_on_learning(precision: Precision) -> None:
    network = Plain()
    seasoned(network)
    classifier = Classifier(network, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), CPU, precision)
    photos = torch.randint(256, (7, 3, 64, 48), dtype=torch.uint8)
    batches = [Batch(photos[rows], rows) for rows in torch.tensor_split(torch.arange(7), 3)]
    calls: list[Tensor] = []
    network.norm.register_forward_hook(lambda _module, inputs, _output: calls.append(inputs[0]))
    found = classifier.logits_of(iter(batches)).softmax(dim=1)
    assert [len(images) for images in calls] == [2, 2]  # it was watched, and compared with, on two images
    with torch.no_grad():
        wanted = classifier.logits(classifier.pixels(photos)).softmax(dim=1)
    assert (found - wanted).abs().max() < (1e-5 if precision is FP32 else 1e-2)
    network.train()
    classifier.logits(classifier.pixels(photos)).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in network.parameters())
