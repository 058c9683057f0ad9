"""The objective gives each head its own loss, classes and counts, and takes their mean in float32."""

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

from maskkit.builtin import losses
from maskkit.engine.objective import Objective
from maskkit.labels import AXES, VIEWS, decode

VIEW_NAMES = ["multi", "mask", "gender", "age", "multihead"]
AXIS_NAMES = [axis.name for axis in AXES]

every_view = pytest.mark.parametrize("name", VIEW_NAMES)
answer_lists = st.lists(st.integers(0, 17), min_size=1, max_size=12)


class Noted(nn.Module):
    """The plain sum of the true classes' logits, which notes what it was made with and given."""

    def __init__(self, num_classes: int, class_counts: NDArray[np.int64]) -> None:
        super().__init__()
        self.num_classes, self.class_counts = num_classes, class_counts
        self.logits, self.targets = torch.empty(0), torch.empty(0)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        self.logits, self.targets = logits, targets
        return logits.gather(1, targets[:, None]).sum()


def noted(*, num_classes: int, class_counts: NDArray[np.int64]) -> Noted:
    return Noted(num_classes, class_counts)


def objective(name: str, answers: list[int], make_loss: Callable[..., nn.Module] = noted) -> Objective:
    return Objective(VIEWS[name], make_loss, np.array(answers))


def parts_of(name: str) -> list[list[int]]:
    """Return what each head of a view calls each of the 18 classes."""
    if name == "multi":
        return [list(range(18))]
    axes = AXIS_NAMES if name == "multihead" else [name]
    return [[decode(ans)[AXIS_NAMES.index(axis)] for ans in range(18)] for axis in axes]


def drawn_logits(name: str, rows: int) -> Tensor:
    return torch.randn(rows, VIEWS[name].num_outputs, generator=torch.Generator().manual_seed(rows))


@every_view
@given(answers=answer_lists)
@settings(max_examples=20, deadline=None)
def test_each_head_learns_of_its_own_classes_and_counts(name: str, answers: list[int]) -> None:
    heads = objective(name, answers).losses
    assert len(heads) == len(parts_of(name))
    for head, of_class in zip(heads, parts_of(name), strict=True):
        assert isinstance(head, Noted)
        assert head.num_classes == max(of_class) + 1
        called = [of_class[ans] for ans in answers]
        assert head.class_counts.tolist() == [called.count(number) for number in range(head.num_classes)]


@every_view
@given(answers=answer_lists)
@settings(max_examples=20, deadline=None)
def test_each_head_sees_its_own_columns_and_targets_and_the_mean_is_taken(name: str, answers: list[int]) -> None:
    whole, logits = objective(name, answers), drawn_logits(name, len(answers))
    result = whole(logits, torch.tensor(answers))
    sums, first = [], 0
    for head, of_class in zip(whole.losses, parts_of(name), strict=True):
        assert isinstance(head, Noted)
        assert head.targets.tolist() == [of_class[ans] for ans in answers]
        assert torch.equal(head.logits, logits[:, first : first + head.num_classes])
        sums.append(sum(float(logits[row, first + of_class[ans]]) for row, ans in enumerate(answers)))
        first += head.num_classes
    assert first == logits.shape[1]
    assert float(result) == pytest.approx(math.fsum(sums) / len(sums), rel=1e-5, abs=1e-5)


@every_view
@given(rows=st.lists(st.lists(st.floats(0, 1), min_size=18, max_size=18), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_soft_targets_are_summed_over_the_classes_of_each_head(name: str, rows: list[list[float]]) -> None:
    class Taken(nn.Module):
        def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
            seen.append(targets)
            return logits.sum()

    seen: list[Tensor] = []
    objective(name, [0], lambda **_: Taken())(drawn_logits(name, len(rows)), torch.tensor(rows))
    for targets, of_class in zip(seen, parts_of(name), strict=True):
        expected = [
            [math.fsum(share for ans, share in enumerate(row) if of_class[ans] == number) for number in set(of_class)]
            for row in rows
        ]
        torch.testing.assert_close(targets, torch.tensor(expected))


@every_view
@pytest.mark.parametrize("make_loss", [losses.cross_entropy, losses.focal, losses.f1, losses.label_smoothing])
def test_rows_of_one_one_teach_what_classes_teach(name: str, make_loss: Callable[..., nn.Module]) -> None:
    answers = torch.tensor([3, 12, 0, 8])
    whole, logits = objective(name, [0, 5, 17], make_loss), drawn_logits(name, 4)
    rows = torch.eye(18)[answers]
    assert float(whole(logits, rows)) == pytest.approx(float(whole(logits, answers)), rel=1e-5)


@every_view
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_the_loss_is_always_float32(name: str, dtype: torch.dtype) -> None:
    whole = objective(name, [0, 5, 17])
    result = whole(drawn_logits(name, 3).to(dtype), torch.tensor([0, 5, 17]))
    assert result.dtype == torch.float32
    for head in whole.losses:
        assert isinstance(head, Noted)
        assert head.logits.dtype == torch.float32


def test_multihead_is_the_mean_of_the_three_tasks_with_class_weights_of_their_own() -> None:
    def balanced(**facts: object) -> nn.Module:
        return losses.cross_entropy(class_weights="balanced", **facts)  # type: ignore[arg-type]

    training = [0, 0, 1, 5, 9, 12, 12, 17, 3]
    logits, answers = drawn_logits("multihead", 4), [3, 12, 0, 8]
    together = objective("multihead", training, balanced)(logits, torch.tensor(answers))
    columns = {"mask": logits[:, 0:3], "gender": logits[:, 3:5], "age": logits[:, 5:8]}
    apart = [objective(axis, training, balanced)(part, torch.tensor(answers)) for axis, part in columns.items()]
    assert float(together) == pytest.approx(sum(map(float, apart)) / 3, rel=1e-6)


@every_view
def test_probabilities_are_the_heads_softmaxes_multiplied(name: str) -> None:
    logits = drawn_logits(name, 5)
    found = objective(name, [0]).probabilities(logits)
    starts = np.cumsum([0] + [max(part) + 1 for part in parts_of(name)])
    shares = [logits[:, start:end].softmax(dim=1) for start, end in pairwise(starts)]
    classes = range(18) if name == "multihead" else range(max(parts_of(name)[0]) + 1)
    for number in classes:
        answers = decode(number) if name == "multihead" else (number,)
        expected = torch.stack([share[:, answer] for share, answer in zip(shares, answers, strict=True)]).prod(dim=0)
        torch.testing.assert_close(found[:, number], expected)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(5))
