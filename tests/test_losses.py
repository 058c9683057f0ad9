"""The losses in the box equal their formulas, written here once more as sums over Python floats."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from maskkit.builtin import losses

Rows = list[list[float]]
Reference = Callable[[Rows, Rows, list[float], float], float]

EPSILON = 1e-7
SMALL_BATCH = "ignore:the f1 loss sees"

quick = settings(max_examples=40, deadline=None)


def close_to(number: float) -> object:
    return pytest.approx(number, rel=1e-10, abs=1e-10)


def log_softmax(row: Sequence[float]) -> list[float]:
    highest = max(row)
    log_sum = math.log(math.fsum(math.exp(value - highest) for value in row))
    return [value - highest - log_sum for value in row]


def softmax(row: Sequence[float]) -> list[float]:
    return [math.exp(value) for value in log_softmax(row)]


def weighted_mean(terms: Callable[[int, int], float], targets: Rows, weights: list[float]) -> float:
    """Return the sum of w_k * term(i, k), divided by the weights of the true classes."""
    places = [(i, k) for i in range(len(targets)) for k in range(len(weights))]
    total = math.fsum(weights[k] * terms(i, k) for i, k in places)
    return total / math.fsum(weights[k] * targets[i][k] for i, k in places)


def cross_entropy(logits: Rows, targets: Rows, weights: list[float], _: float) -> float:
    log_p = [log_softmax(row) for row in logits]
    return weighted_mean(lambda i, k: -targets[i][k] * log_p[i][k], targets, weights)


def label_smoothing(logits: Rows, targets: Rows, weights: list[float], smoothing: float) -> float:
    """Of each share that a target gives to a class, `smoothing` goes to the others in equal parts."""
    log_p = [log_softmax(row) for row in logits]
    others = len(weights) - 1

    def share(i: int, k: int) -> float:
        given = ((1 - smoothing if j == k else smoothing / others) * targets[i][j] for j in range(others + 1))
        return math.fsum(given)

    return weighted_mean(lambda i, k: -share(i, k) * log_p[i][k], targets, weights)


def focal(logits: Rows, targets: Rows, weights: list[float], gamma: float) -> float:
    log_p = [log_softmax(row) for row in logits]
    return weighted_mean(
        lambda i, k: -targets[i][k] * (1 - math.exp(log_p[i][k])) ** gamma * log_p[i][k], targets, weights
    )


def f1(logits: Rows, targets: Rows, weights: list[float], _: float) -> float:
    pairs = [list(zip(row, softmax(values), strict=True)) for row, values in zip(targets, logits, strict=True)]
    scores = []
    for k in range(len(weights)):
        true_positive = math.fsum(row[k][0] * row[k][1] for row in pairs)
        false_positive = math.fsum((1 - row[k][0]) * row[k][1] for row in pairs)
        false_negative = math.fsum(row[k][0] * (1 - row[k][1]) for row in pairs)
        precision = true_positive / (true_positive + false_positive + EPSILON)
        recall = true_positive / (true_positive + false_negative + EPSILON)
        score = 2 * precision * recall / (precision + recall + EPSILON)
        scores.append(min(max(score, EPSILON), 1 - EPSILON))
    return 1 - math.fsum(scores) / len(scores)


@dataclass(frozen=True)
class Kind:
    """A loss in the box beside its formula, its option and the values that this may have."""

    factory: Callable[..., nn.Module]
    reference: Reference
    option: str = ""
    values: tuple[float, ...] = (0.0,)
    is_weighted: bool = True

    def make(self, counts: Sequence[int], value: float, *, balanced: bool = False) -> nn.Module:
        options: dict[str, object] = {self.option: value} if self.option else {}
        if self.is_weighted:
            options["class_weights"] = "balanced" if balanced else "none"
        return self.factory(num_classes=len(counts), class_counts=np.array(counts), **options).double()


KINDS = {
    "cross_entropy": Kind(losses.cross_entropy, cross_entropy),
    "label_smoothing": Kind(losses.label_smoothing, label_smoothing, "smoothing", (0.0, 0.01, 0.1, 0.3)),
    "focal": Kind(losses.focal, focal, "gamma", (0.0, 0.5, 1.0, 2.0, 3.5)),
    "f1": Kind(losses.f1, f1, is_weighted=False),
}
WEIGHTED = [name for name, kind in KINDS.items() if kind.is_weighted]


@dataclass(frozen=True)
class Case:
    """A batch, with the number of training images of each class, some of which are absent."""

    logits: Rows
    classes: list[int]
    soft: Rows
    counts: list[int]

    @property
    def one_hot(self) -> Rows:
        return [[float(k == true) for k in range(len(self.counts))] for true in self.classes]

    @property
    def balanced(self) -> list[float]:
        """N/(K n_k), 0 for an absent class, in float32, which is what a loss holds."""
        total = sum(self.counts) / len(self.counts)
        return [float(np.float32(total / count if count else 0)) for count in self.counts]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    num_classes, batch = draw(st.integers(2, 6)), draw(st.integers(1, 7))
    counts = draw(st.lists(st.integers(0, 500), min_size=num_classes, max_size=num_classes).filter(any))
    present = [k for k, count in enumerate(counts) if count]

    def rows(values: st.SearchStrategy[float]) -> Rows:
        row = st.lists(values, min_size=num_classes, max_size=num_classes)
        return draw(st.lists(row, min_size=batch, max_size=batch))

    parts = rows(st.floats(0.0625, 1))
    return Case(
        logits=rows(st.floats(-12, 12)),
        classes=draw(st.lists(st.sampled_from(present), min_size=batch, max_size=batch)),
        soft=[[part / sum(row) for part in row] for row in parts],
        counts=counts,
    )


def double(rows: Rows) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("name", KINDS)
@given(case=cases(), data=st.data())
@quick
def test_class_targets_follow_the_formula(name: str, case: Case, data: st.DataObject) -> None:
    kind, value = KINDS[name], data.draw(st.sampled_from(KINDS[name].values))
    found = kind.make(case.counts, value)(double(case.logits), torch.tensor(case.classes))
    expected = kind.reference(case.logits, case.one_hot, [1.0] * len(case.counts), value)
    assert float(found) == close_to(expected)


@pytest.mark.parametrize("name", KINDS)
@given(case=cases(), data=st.data())
@quick
def test_soft_targets_follow_the_formula(name: str, case: Case, data: st.DataObject) -> None:
    kind, value = KINDS[name], data.draw(st.sampled_from(KINDS[name].values))
    found = kind.make(case.counts, value)(double(case.logits), double(case.soft))
    expected = kind.reference(case.logits, case.soft, [1.0] * len(case.counts), value)
    assert float(found) == close_to(expected)


@pytest.mark.parametrize("name", WEIGHTED)
@given(case=cases(), is_soft=st.booleans(), data=st.data())
@quick
def test_balanced_weights_follow_the_formula(name: str, case: Case, is_soft: bool, data: st.DataObject) -> None:  # noqa: FBT001  drawn
    kind, value = KINDS[name], data.draw(st.sampled_from(KINDS[name].values))
    loss = kind.make(case.counts, value, balanced=True)
    targets = double(case.soft) if is_soft else torch.tensor(case.classes)
    expected = kind.reference(case.logits, case.soft if is_soft else case.one_hot, case.balanced, value)
    assert float(loss(double(case.logits), targets)) == close_to(expected)


@pytest.mark.parametrize("name", KINDS)
@given(case=cases(), balanced=st.booleans())
@quick
def test_one_hot_rows_equal_classes(name: str, case: Case, balanced: bool) -> None:  # noqa: FBT001  drawn
    loss = KINDS[name].make(case.counts, KINDS[name].values[-1], balanced=balanced)
    logits = double(case.logits)
    by_class, by_row = loss(logits, torch.tensor(case.classes)), loss(logits, double(case.one_hot))
    assert float(by_class) == close_to(float(by_row))


@pytest.mark.parametrize("name", WEIGHTED)
def test_equal_counts_weigh_like_none(name: str) -> None:
    logits, targets = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 3])
    value = KINDS[name].values[-1]
    plain, balanced = (KINDS[name].make([7] * 4, value, balanced=weigh) for weigh in (False, True))
    assert float(plain(logits, targets)) == close_to(float(balanced(logits, targets)))


@given(cases(), st.sampled_from([0.0, 0.01, 0.25]))
@quick
def test_label_smoothing_is_torchs_own_spread_over_all_classes(case: Case, smoothing: float) -> None:
    num_classes = len(case.counts)
    torchs = nn.CrossEntropyLoss(label_smoothing=smoothing * num_classes / (num_classes - 1))
    logits, targets = double(case.logits), torch.tensor(case.classes)
    found = KINDS["label_smoothing"].make(case.counts, smoothing)(logits, targets)
    assert float(found) == close_to(float(torchs(logits, targets)))


def test_the_defaults_are_gamma_2_and_smoothing_a_hundredth() -> None:
    logits, targets = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 1, 0])
    for name, value in (("focal", 2.0), ("label_smoothing", 0.01)):
        plain = KINDS[name].factory(num_classes=3, class_counts=np.ones(3, dtype=np.int64))
        assert torch.equal(plain(logits, targets), KINDS[name].make([1, 1, 1], value)(logits, targets))


@pytest.mark.filterwarnings(SMALL_BATCH)
@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_those_of_the_loss(name: str, balanced: bool) -> None:  # noqa: FBT001  given by name
    logits = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    loss = KINDS[name].make([5, 0, 9, 2], KINDS[name].values[-1], balanced=balanced)
    assert torch.autograd.gradcheck(loss, (logits, torch.tensor([0, 2, 3, 3, 2, 0])))
    assert torch.autograd.gradcheck(loss, (logits, torch.rand(6, 4, dtype=torch.float64).softmax(dim=1)))


@pytest.mark.filterwarnings(SMALL_BATCH)
@pytest.mark.parametrize("name", KINDS)
def test_loss_and_gradient_stay_finite_where_softmax_is_sure(name: str) -> None:
    for value in KINDS[name].values:
        logits = torch.tensor([[90.0, -90.0, 0.0], [-90.0, 90.0, 0.0], [0.0, 0.0, 90.0]], requires_grad=True)
        loss = KINDS[name].make([1, 1, 1], value).float()(logits, torch.tensor([0, 0, 2]))
        loss.backward()
        assert logits.grad is not None
        assert loss.isfinite()
        assert logits.grad.isfinite().all()


def test_f1_warns_of_a_first_batch_that_is_too_small_and_names_a_size() -> None:
    loss = losses.f1(num_classes=18, class_counts=np.ones(18, dtype=np.int64))
    logits, targets = torch.randn(71, 18, requires_grad=True), torch.arange(71) % 18
    with pytest.warns(UserWarning, match=r"71 images of 18 classes.*--batch_size=72"):
        loss(logits, targets)
    loss(logits, targets)  # once is enough, and a second warning would be an error here


def test_f1_does_not_mind_a_small_last_batch_nor_one_that_only_measures() -> None:
    loss = losses.f1(num_classes=18, class_counts=np.ones(18, dtype=np.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(torch.randn(5, 18), torch.arange(5))
        loss(torch.randn(72, 18, requires_grad=True), torch.arange(72) % 18)
        loss(torch.randn(3, 18, requires_grad=True), torch.arange(3))


@pytest.mark.parametrize(
    ("name", "value"), [("focal", -0.1), ("label_smoothing", -0.01), ("label_smoothing", 0.8), ("label_smoothing", 2.0)]
)
def test_an_option_outside_its_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{KINDS[name].option} must .*received {value}"):
        KINDS[name].make([1, 1, 1, 1], value)
