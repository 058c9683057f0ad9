"""What becomes of a training batch: mixed in the share that is asked for, smaller in the first epochs, smoothed."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from maskkit.builtin import augmentations, losses, mixes
from maskkit.criterion import Term, terms_of
from maskkit.data.augmentation import Augmentation, Draws
from maskkit.engine.objective import LossSum, Objective
from maskkit.engine.variation import Growth, Variation, resized
from maskkit.errors import UsageError
from maskkit.labels import VIEWS

SIDE = 16
PLAIN = augmentations.base(size=(SIDE, SIDE))
MIXES = {"mixup": mixes.mixup, "cutmix": mixes.cutmix, "half_face": mixes.half_face}

answer_lists = st.lists(st.integers(0, 17), min_size=2, max_size=9)
shares = st.floats(0.01, 1)


def noise(count: int, height: int = SIDE, width: int = SIDE) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(count))


def varied(answers: list[int], variation: Variation, *, seed: int = 0, epoch: int = 0) -> tuple[Tensor, Tensor]:
    draws = Draws(seed, epoch, torch.arange(len(answers)))
    return variation.vary(noise(len(answers)), torch.tensor(answers), draws, epoch)


@pytest.mark.parametrize("name", MIXES)
@given(answers=answer_lists, share=shares, seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_soft_targets_sum_to_one_and_what_is_not_mixed_stays_as_it_was(
    name: str, answers: list[int], share: float, seed: int
) -> None:
    mix = MIXES[name](num_classes=18)
    images, targets = varied(answers, Variation(PLAIN, mix, mix_probability=share), seed=seed)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(len(answers)))
    assert float(targets.min()) >= 0
    own = noise(len(answers))
    for number, ans in enumerate(answers):
        if torch.equal(images[number], own[number]):
            assert float(targets[number, ans]) == pytest.approx(1)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_so_many_images_are_mixed_as_are_asked_for(share: float) -> None:
    """Each by its own draw, whatever the others of its batch have drawn."""

    def mix(images: Tensor, targets: Tensor, _: Draws) -> tuple[Tensor, Tensor]:
        return images.mul_(0), targets.roll(1, dims=1)

    answers = [number % 18 for number in range(2000)]
    images, targets = varied(answers, Variation(PLAIN, mix, mix_probability=share))
    are_mixed = (images == 0).flatten(1).all(dim=1)
    assert int(are_mixed.sum()) == pytest.approx(2000 * share, abs=4 * math.sqrt(2000 * share * (1 - share)))
    assert torch.equal(targets.argmax(dim=1) != torch.tensor(answers), are_mixed)
    few, _ = varied(answers[:50], Variation(PLAIN, mix, mix_probability=share))
    assert torch.equal((few == 0).flatten(1).all(dim=1), are_mixed[:50])


@given(
    first=st.tuples(st.integers(16, 200), st.integers(16, 200)),
    more=st.tuples(st.integers(0, 200), st.integers(0, 200)),
    epochs=st.integers(1, 60),
)
def test_images_grow_from_the_first_size_to_the_last_and_have_it_for_the_last_third(
    first: tuple[int, int], more: tuple[int, int], epochs: int
) -> None:
    last = (first[0] + more[0], first[1] + more[1])
    sizes = [Growth(first, last, epochs).size(epoch) for epoch in range(epochs)]
    assert sizes[0] == first
    assert all(size == last for epoch, size in enumerate(sizes) if epoch >= 2 * epochs / 3)
    for earlier, later in pairwise(sizes):
        assert earlier[0] <= later[0] <= last[0]
        assert earlier[1] <= later[1] <= last[1]
    assert all((size[0] - first[0]) % 8 == 0 for size in sizes if size != last)


def test_the_network_sees_small_images_first_and_the_augmentation_whole_ones() -> None:
    seen: list[tuple[int, ...]] = []

    def augment(images: Tensor, _: Draws) -> Tensor:
        seen.append(tuple(images.shape))
        return images

    variation = Variation(Augmentation(PLAIN.prepare, augment), growth=Growth((8, 8), (SIDE, SIDE), epochs=3))
    shapes = [tuple(varied([0, 1], variation, epoch=epoch)[0].shape) for epoch in range(3)]
    assert shapes == [(2, 3, 8, 8), (2, 3, 8, 8), (2, 3, SIDE, SIDE)]
    assert seen == [(2, 3, SIDE, SIDE)] * 3


def test_smaller_images_are_means_of_the_larger_ones() -> None:
    flat = torch.full((1, 3, 32, 32), 0.25)
    torch.testing.assert_close(resized(flat, (16, 8)), torch.full((1, 3, 16, 8), 0.25))
    images = noise(2, 32, 32)
    assert float(resized(images, (8, 8)).var()) < float(images.var()) / 8, "it smooths, and does not skip"
    assert resized(images, (32, 32)) is images


class Noted(nn.Module):
    """Notes the targets that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.targets = torch.empty(0)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.targets = targets
        return logits.sum()


def noted(*, num_classes: int, class_counts: NDArray[np.int64]) -> Noted:  # noqa: ARG001  needs neither
    return Noted()


@pytest.mark.parametrize("name", VIEWS)
@given(answers=answer_lists, smoothing=st.floats(0.001, 0.9))
@settings(deadline=None, max_examples=30)
def test_smoothed_labels_take_from_the_true_class_and_give_to_the_others(
    name: str, answers: list[int], smoothing: float
) -> None:
    view = VIEWS[name]
    objective = Objective(view, noted, np.array(answers), smoothing=smoothing)
    logits = torch.zeros(len(answers), view.num_outputs)
    objective.train()(logits, torch.tensor(answers))
    for head, loss in zip(view.heads, objective.losses, strict=True):
        assert isinstance(loss, Noted)
        for row, ans in zip(loss.targets.tolist(), answers, strict=True):
            expected = [smoothing / (head.num_classes - 1)] * head.num_classes
            expected[head.of_class[ans]] = 1 - smoothing
            assert row == pytest.approx(expected, abs=1e-6)
    objective.eval()(logits, torch.tensor(answers))
    assert all(isinstance(loss, Noted) and not loss.targets.is_floating_point() for loss in objective.losses)


@given(answers=answer_lists, smoothing=st.floats(0, 0.9))
@settings(deadline=None, max_examples=30)
def test_smoothing_any_loss_is_the_loss_label_smoothing_for_cross_entropy(answers: list[int], smoothing: float) -> None:
    logits = torch.randn(len(answers), 18, generator=torch.Generator().manual_seed(len(answers)))
    counts, truth = np.ones(18, dtype=np.int64), torch.tensor(answers)
    objective = Objective(VIEWS["multi"], losses.cross_entropy, np.array(answers), smoothing=smoothing)
    expected = losses.label_smoothing(num_classes=18, class_counts=counts, smoothing=smoothing)(logits, truth)
    torch.testing.assert_close(objective.train()(logits, truth), expected)


@given(answers=answer_lists, first=st.floats(0.1, 5), second=st.floats(0.1, 5))
@settings(deadline=None, max_examples=30)
def test_a_sum_of_losses_is_their_weighted_sum_and_so_is_its_gradient(
    answers: list[int], first: float, second: float
) -> None:
    counts, truth = np.ones(18, dtype=np.int64), torch.tensor(answers)
    makers: list[tuple[float, Callable[..., nn.Module]]] = [(first, losses.cross_entropy), (second, losses.focal)]
    logits = torch.randn(len(answers), 18, generator=torch.Generator().manual_seed(1)).requires_grad_()
    total = LossSum.made(makers, num_classes=18, class_counts=counts)(logits, truth)
    (gradient,) = torch.autograd.grad(total, logits)
    parts = [(weight, make(num_classes=18, class_counts=counts)(logits, truth)) for weight, make in makers]
    torch.testing.assert_close(total, torch.stack([weight * part for weight, part in parts]).sum())
    expected = sum(weight * torch.autograd.grad(part, logits, retain_graph=True)[0] for weight, part in parts)
    torch.testing.assert_close(gradient, expected)


names = st.from_regex(r"[A-Za-z][A-Za-z0-9_.:-]{0,12}", fullmatch=True)
weights = st.one_of(st.just(1.0), st.floats(0.001, 1000).map(lambda number: round(number, 3)))


@given(
    terms=st.lists(st.tuples(weights, names), min_size=1, max_size=4, unique_by=lambda term: term[1]),
    spaces=st.booleans(),
)
def test_a_sum_reads_as_it_is_written(terms: list[tuple[float, str]], spaces: bool) -> None:  # noqa: FBT001
    expected = [Term(weight, name) for weight, name in terms]
    text = "+".join(map(str, expected))
    if spaces:
        text = text.replace("+", " + ").replace("*", " * ")
    assert terms_of(text) == expected


@given(st.text(alphabet="ab+*. 01e-", max_size=12))
def test_any_text_is_a_sum_or_is_refused(text: str) -> None:
    try:
        terms = terms_of(text)
    except UsageError as error:
        assert "--criterion" in str(error)  # noqa: PT017
    else:
        assert all(term.weight > 0 and term.name for term in terms)


def test_half_of_the_images_can_be_mirrored() -> None:
    augment = augmentations.affine(size=(SIDE, SIDE), shear=0, min_scale=1, max_scale=1, jitter=0, flip=0.5).augment
    assert augment is not None
    images = noise(400)
    found = augment(images.clone(), Draws(1, 0, torch.arange(400)))
    plain = [torch.allclose(one, other, atol=1e-5) for one, other in zip(found, images, strict=True)]
    mirrored = [torch.allclose(one, other.flip(2), atol=1e-5) for one, other in zip(found, images, strict=True)]
    assert all(one != other for one, other in zip(plain, mirrored, strict=True))
    assert 150 < sum(mirrored) < 250
