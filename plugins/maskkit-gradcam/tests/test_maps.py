"""The maps by formulas that are computed another way, and the choice of the layer."""

import numpy as np
import pytest
import torch
from maskkit_gradcam.layers import Layout, find_layer
from maskkit_gradcam.maps import Method, heat_map
from maskkit_gradcam.questions import choose_questions
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from maskkit.errors import UnknownNameError, UsageError
from maskkit.labels import view_named

SIZE = (32, 24)
QUESTION = choose_questions(view_named("age"), (), "predicted")[0]


class Normalised(nn.Module):
    """A network behind a module with a buffer, as a run gives it."""

    mean: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(0.5))

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(pixels - self.mean)
        return logits


def features() -> list[nn.Module]:
    return [nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 20, 3, stride=2, padding=1)]


class ChannelsLast(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1)


class ChannelsFirst(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 3, 1, 2)


class Attention(nn.Module):
    """An attention of two heads, whose parts pass through modules as tokens by heads and as tokens by tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.parts, self.keys, self.shares = nn.Linear(8, 24), nn.Identity(), nn.Softmax(dim=-1)

    def forward(self, tokens: Tensor) -> Tensor:
        queries, keys, values = self.parts(tokens).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        shares = self.shares(queries @ self.keys(keys).transpose(2, 3))
        mixed: Tensor = (shares @ values).transpose(1, 2).flatten(2)
        return mixed


class Patches(nn.Module):
    """A transformer of one block that answers by its class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.start, self.attention, self.norm, self.head = (
            nn.LayerNorm(8),
            Attention(),
            nn.LayerNorm(8),
            nn.Linear(8, 3),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patches(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(pixels), 1, 8), patches], dim=1)
        logits: Tensor = self.head(self.norm(tokens + self.attention(self.start(tokens)))[:, 0])
        return logits


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(3)


def pixels() -> Tensor:
    return torch.rand(1, 3, *SIZE)


def scaled(maps: Tensor) -> NDArray[np.float32]:
    """Return maps [1, 1, h, w] as a heat map: what is positive, as large as the image, its highest being 1."""
    heat = functional.interpolate(maps.clamp(min=0), SIZE, mode="bilinear")[0, 0]
    return np.asarray((heat / heat.max().clamp(min=1e-30)).detach().numpy())


def found(network: nn.Module, image: Tensor, method: Method = "gradcam", answer: int = 1) -> NDArray[np.float32]:
    module = Normalised(network).eval()
    layer = find_layer(module, network, SIZE, None)
    return heat_map(method, module, layer, image, question=QUESTION, answer=answer)


@pytest.mark.parametrize("method", ["gradcam", "hirescam"])
def test_with_a_mean_and_a_linear_layer_both_forms_are_the_weights_of_the_class_times_the_maps(method: Method) -> None:
    linear = nn.Linear(20, 3)
    body = nn.Sequential(*features(), nn.ReLU())
    network, image = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear), pixels()
    expected = [scaled(torch.einsum("c,bchw->bhw", row, body(image - 0.5))[:, None]) for row in linear.weight]
    assert sum(one.any() for one in expected) >= 2
    for answer in range(3):
        np.testing.assert_allclose(found(network, image, method, answer), expected[answer], atol=1e-5)


def test_with_any_head_it_is_the_mean_gradient_times_the_maps_and_the_sharper_form_the_gradient_itself() -> None:
    body, head = nn.Sequential(*features(), nn.ReLU()), nn.Sequential(nn.Flatten(), nn.Linear(20 * 48, 9), nn.Tanh())
    network, image = nn.Sequential(body, head, nn.Linear(9, 3)), pixels()
    for answer in range(3):
        maps = body(image - 0.5).detach().requires_grad_()
        network[2](head(maps))[0, answer].backward()
        assert maps.grad is not None
        mean = scaled((maps.grad.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True))
        each = scaled((maps.grad * maps).sum(dim=1, keepdim=True))
        assert abs(mean - each).max() > 0.1
        np.testing.assert_allclose(found(network, image, "gradcam", answer), mean, atol=1e-5)
        np.testing.assert_allclose(found(network, image, "hirescam", answer), each, atol=1e-5)


def test_maps_with_channels_last_and_modules_called_twice_give_the_same() -> None:
    layers, linear, relu = features(), nn.Linear(20, 3), nn.ReLU()
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear]
    plain, image = nn.Sequential(layers[0], nn.ReLU(), layers[2], nn.ReLU(), *tail), pixels()
    twice = nn.Sequential(layers[0], relu, layers[2], relu, *tail)
    last = nn.Sequential(*plain[:4], nn.Sequential(ChannelsLast(), nn.Identity(), ChannelsFirst()), *tail)
    expected = found(plain, image)
    assert expected.any()
    np.testing.assert_allclose(found(twice, image), expected, atol=1e-6)
    np.testing.assert_allclose(found(last, image), expected, atol=1e-6)
    module = Normalised(last).eval()
    named = find_layer(module, last, SIZE, "4.1")
    assert named.layout.form == "channels last"
    np.testing.assert_allclose(
        heat_map("gradcam", module, named, image, question=QUESTION, answer=1), expected, atol=1e-6
    )


def test_tokens_are_laid_out_as_the_image_and_those_that_no_answer_comes_from_are_passed_over() -> None:
    network, image = Patches().eval(), pixels()
    module = Normalised(network).eval()
    start = find_layer(module, network, SIZE, None)
    assert start.name == "start"  # after it the answer comes from the class token alone
    assert start.layout == Layout("tokens", 8, 6, num_extra=1)
    kept: list[Tensor] = []
    handle = network.start.register_forward_hook(lambda _, __, output: kept.append(output))
    logits = module(image)
    handle.remove()
    gradient = torch.autograd.grad(logits[0, 2], kept)[0][:, 1:]
    maps = (gradient.mean(dim=1, keepdim=True) * kept[0][:, 1:]).sum(dim=2).reshape(1, 1, 8, 6)
    result = heat_map("gradcam", module, start, image, question=QUESTION, answer=2)
    np.testing.assert_allclose(result, scaled(maps), atol=1e-5)
    for name in ("norm", "attention"):
        with pytest.raises(UsageError, match="no answer depends on the places"):
            find_layer(module, network, SIZE, name)
    for name in ("attention.keys", "attention.shares"):
        with pytest.raises(UsageError, match="is no map of features"):
            find_layer(module, network, SIZE, name)


def test_a_pooled_copy_of_a_map_is_passed_over_unless_it_is_named() -> None:
    network = nn.Sequential(*features(), nn.ReLU(), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(80, 3))
    module = Normalised(network)
    assert find_layer(module, network, SIZE, None).name == "3"
    assert find_layer(module, network, SIZE, "4").layout.height == 2


def test_a_network_without_maps_is_refused_and_told_of_what_needs_none() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 24, 3))
    with pytest.raises(UsageError, match=r"no module of Sequential(.|\n)*--layer=NAME(.|\n)*--method=occlusion"):
        find_layer(Normalised(network), network, SIZE, None)
    image = pixels()
    assert heat_map("occlusion", Normalised(network), None, image, question=QUESTION, answer=0).shape == SIZE


@pytest.mark.parametrize(
    ("name", "kind", "complaint"),
    [
        ("bdy.0", UnknownNameError, r"no such module; did you mean body\.0(.|\n)*The last that hold one: .*body"),
        ("head", UsageError, r"its output, \[1, 3\], is no map"),
        ("spare", UsageError, "never calls"),
    ],
)
def test_a_layer_that_cannot_be_looked_at_is_refused(name: str, kind: type[UsageError], complaint: str) -> None:
    network = nn.Sequential()
    network.add_module("body", nn.Sequential(*features()))
    network.add_module("rest", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    network.add_module("head", nn.Linear(20, 3))
    network.forward = lambda one: network.head(network.rest(network.body(one)))  # type: ignore[method-assign, operator]
    network.add_module("spare", nn.Linear(3, 3))
    with pytest.raises(kind, match=complaint):
        find_layer(Normalised(network), network, SIZE, name)


def test_occlusion_finds_the_only_place_that_the_answer_comes_from() -> None:
    class Corner(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images[:, :, 24:, 16:].mean(dim=(2, 3))

    image = torch.zeros(1, 3, *SIZE)
    image[:, :, 24:, 16:] = 1
    heat = heat_map("occlusion", Corner(), None, image, question=QUESTION, answer=1)
    assert heat[24:, 16:].sum() / heat.sum() > 0.7  # the squares of occlusion reach over its border


def test_a_softmax_over_18_answers_each_axis_by_the_sums_of_its_probabilities() -> None:
    logits = torch.randn(4, 18)
    table = logits.softmax(dim=1).reshape(4, 3, 2, 3)
    for name, others in {"mask": (2, 3), "gender": (1, 3), "age": (1, 2)}.items():
        (question,) = choose_questions(view_named("multi"), (name,), "predicted")
        torch.testing.assert_close(question.scores(logits).softmax(dim=1), table.sum(dim=others))


@pytest.mark.parametrize(
    ("view", "names", "target", "expected"),
    [
        ("multi", (), "predicted", {"multi": None}),
        ("multi", (), "wear female old", {"multi": 5}),
        ("multi", (), "17", {"multi": 17}),
        ("multi", (), "old", {"age": 2}),
        ("multi", ("mask", "age"), "17", {"mask": 2, "age": 2}),
        ("multihead", (), "predicted", {"mask": None, "gender": None, "age": None}),
        ("multihead", (), "female", {"gender": 1}),
        ("multihead", ("age", "gender"), "incorrect female middle", {"age": 1, "gender": 1}),
        ("mask", (), "2", {"mask": 2}),
    ],
)
def test_heads_and_answers_are_found_by_name(
    view: str, names: tuple[str, ...], target: str, expected: dict[str, int | None]
) -> None:
    questions = choose_questions(view_named(view), names, target)
    assert {one.name: one.target for one in questions} == expected


@pytest.mark.parametrize(
    ("view", "names", "target", "complaint"),
    [
        ("multihead", ("gendr",), "predicted", "--head=gendr.*did you mean gender"),
        ("mask", ("age",), "predicted", "a run of the view mask has no such head"),
        ("multi", (), "wear femal old", "did you mean wear female old"),
        ("multi", (), "18", "--target=18: there is no such answer"),
        ("multihead", ("mask",), "old", "--target=old: there is no such answer"),
        ("age", (), "yong", "did you mean young"),
    ],
)
def test_other_heads_and_answers_are_refused(view: str, names: tuple[str, ...], target: str, complaint: str) -> None:
    with pytest.raises(UnknownNameError, match=complaint):
        choose_questions(view_named(view), names, target)
