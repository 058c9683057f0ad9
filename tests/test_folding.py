"""Folded batch norms change no logits, and a network in which folding would change them is left alone."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils._python_dispatch import TorchDispatchMode

from maskkit.arithmetic.folding import Folded, fold
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


class InBfloat16(Plain):
    """A frozen part that computes in a format of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Conv2d(3, 3, 1).bfloat16()

    def features(self, images: Tensor) -> Tensor:
        return super().features(self.frozen(images.bfloat16()).to(images.dtype))


class WritesIntoItsImages(Plain):
    def features(self, images: Tensor) -> Tensor:
        return super().features(images.mul_(2))


class InTwoFormats(Plain):
    def features(self, images: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            exact = self.convolution(images)
        features: Tensor = self.norm(self.convolution(images).float() + exact)
        return features


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


class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the batch norms that are computed while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.norms: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.norms += "batch_norm" in str(func)
        return func(*args, **(kwargs or {}))


def norms_computed(network: nn.Module, mode: Folded | None) -> int:
    with Counting() as counting, mode or nullcontext():
        network(images_of(1))
    return int(counting.norms)


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("make", [Plain, OwnNorm, small_base_model, b0])
@torch.no_grad()
def test_every_norm_is_folded_and_no_probability_changes(make: Callable[[], nn.Module]) -> None:
    network = seasoned(make())
    before = copy.deepcopy(network.state_dict())
    mode = fold(network, images_of(2), torch.float32)
    assert mode is not None
    assert norms_computed(network, None) > 0 == norms_computed(network, mode)
    wanted = network(images_of(5)).softmax(dim=1)
    with mode:
        found = network(images_of(5)).softmax(dim=1)
    assert (wanted - found).abs().max() < 1e-5
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("make", [WrittenInto, CalledTwice, OfTheBatch, Parametrised])
@torch.no_grad()
def test_a_norm_that_cannot_be_folded_is_computed_beside_those_that_are(make: Callable[[], nn.Module]) -> None:
    network = seasoned(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), make()))
    mode = fold(network, images_of(2), torch.float32)
    assert mode is not None
    assert (norms_computed(network, None), norms_computed(network, mode)) == (2, 1)
    wanted = network(images_of(5))
    with mode:
        torch.testing.assert_close(network(images_of(5)), wanted)


@pytest.mark.parametrize("make", [TakenTwice, Broken])
@torch.no_grad()
def test_nothing_is_folded_in_a_network_whose_logits_would_not_be_the_same(make: Callable[[], nn.Module]) -> None:
    assert fold(seasoned(make()), images_of(2), torch.float32) is None


@pytest.mark.parametrize("make", [Plain, PartlyExact, small_base_model, b0])
@torch.no_grad()
def test_in_bfloat16_probabilities_change_by_its_rounding_alone(make: Callable[[], nn.Module]) -> None:
    """A part that is kept out of it, as a plugin may do where it is too coarse, computes in float32 still."""
    network = seasoned(make())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mode = fold(network, images_of(2), torch.bfloat16)
        assert mode is not None
        with mode:
            found = network(images_of(5)).float().softmax(dim=1)
    assert (network(images_of(5)).softmax(dim=1) - found).abs().max() < 1e-2


@pytest.mark.parametrize("precision", [FP32, BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("make", [InBfloat16, WritesIntoItsImages, InTwoFormats])
def test_networks_that_do_unusual_things_predict_as_they_do(
    make: Callable[[], nn.Module], precision: Precision
) -> None:
    classifier = Classifier(seasoned(make()), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), CPU, precision)
    photos, rows = torch.randint(256, (3, 3, 64, 48), dtype=torch.uint8), torch.arange(3)
    found = classifier.logits_of(iter([Batch(photos, rows)])).softmax(dim=1)
    with torch.no_grad():
        wanted = classifier.logits(classifier.pixels(photos)).softmax(dim=1)
    assert (found - wanted).abs().max() < (1e-5 if precision is FP32 else 1e-2)


@torch.no_grad()
def test_a_compiled_network_is_left_to_its_compiler() -> None:
    network = seasoned(Plain())
    network.compile(backend="eager")
    assert fold(network, images_of(2), torch.float32) is None


@pytest.mark.parametrize("precision", [FP32, BF16], ids=["fp32", "bf16"])
def test_predictions_come_from_folded_norms_and_the_network_goes_on_learning(precision: Precision) -> None:
    network = Plain()
    seasoned(network)
    classifier = Classifier(network, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), CPU, precision)
    photos = torch.randint(256, (7, 3, 64, 48), dtype=torch.uint8)
    batches = [Batch(photos[rows], rows) for rows in torch.tensor_split(torch.arange(7), 3)]
    with Counting() as counting:
        found = classifier.logits_of(iter(batches)).softmax(dim=1)
    assert counting.norms == 2  # to be watched, and to be compared with
    with torch.no_grad():
        wanted = classifier.logits(classifier.pixels(photos)).softmax(dim=1)
    assert (found - wanted).abs().max() < (1e-5 if precision is FP32 else 1e-2)
    network.train()
    classifier.logits(classifier.pixels(photos)).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in network.parameters())
