"""The scores, against scikit-learn on random answers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from maskkit import metrics
from maskkit.labels import AGE, MASK, VIEWS, decode

Classes = NDArray[np.int64]


@st.composite
def answers(draw: st.DrawFn, num_classes: int | None = None) -> tuple[Classes, Classes, int]:
    """Draw the true and the predicted classes of at least one sample, and K."""
    num_classes = num_classes or draw(st.sampled_from([2, 3, 18]))
    pair = st.tuples(*[st.integers(0, num_classes - 1)] * 2)
    pairs = np.array(draw(st.lists(pair, min_size=1, max_size=60)), dtype=np.int64)
    return pairs[:, 0], pairs[:, 1], num_classes


@given(answers())
def test_counts_and_scores_equal_those_of_sklearn(drawn: tuple[Classes, Classes, int]) -> None:
    truth, predicted, num_classes = drawn
    labels = range(num_classes)
    counts = metrics.confusion_counts(truth, predicted, num_classes)
    assert (counts == confusion_matrix(truth, predicted, labels=labels)).all()
    assert counts.dtype == np.int64
    assert metrics.accuracy(counts) == pytest.approx(accuracy_score(truth, predicted))
    macro = f1_score(truth, predicted, labels=labels, average="macro", zero_division=0)
    assert metrics.macro_f1(counts) == pytest.approx(macro)
    for ours, theirs in (
        (metrics.f1_per_class, f1_score),
        (metrics.precision_per_class, precision_score),
        (metrics.recall_per_class, recall_score),
    ):
        expected = theirs(truth, predicted, labels=labels, average=None, zero_division=0)
        assert ours(counts) == pytest.approx(expected)
    assert metrics.support_per_class(counts).tolist() == [(truth == label).sum() for label in labels]


@given(answers(num_classes=18))
def test_the_accuracy_of_an_axis_looks_at_that_answer_alone(drawn: tuple[Classes, Classes, int]) -> None:
    truth, predicted, _ = drawn
    counts = metrics.confusion_counts(truth, predicted, 18)
    found = metrics.scores(counts, VIEWS["multihead"])
    for position, axis in enumerate(("mask", "gender", "age")):
        right = [decode(int(t))[position] == decode(int(p))[position] for t, p in zip(truth, predicted, strict=True)]
        assert found.axis_accuracies[axis] == pytest.approx(np.mean(right))
    assert found.accuracy <= min(found.axis_accuracies.values())


@given(answers(num_classes=3), answers(num_classes=3))
def test_counts_of_parts_add_up_to_those_of_the_whole(
    first: tuple[Classes, Classes, int], second: tuple[Classes, Classes, int]
) -> None:
    truth, predicted = (np.concatenate([first[side], second[side]]) for side in (0, 1))
    parts = [metrics.confusion_counts(part[0], part[1], 3) for part in (first, second)]
    assert (metrics.confusion_counts(truth, predicted, 3) == sum(parts)).all()


def test_rows_are_the_truth() -> None:
    counts = metrics.confusion_counts(np.array([0, 0, 1]), np.array([1, 1, 1]), 2)
    assert counts.tolist() == [[0, 2], [0, 1]]


def test_an_absent_class_counts_zero_in_macro_f1() -> None:
    perfect = metrics.confusion_counts(np.array([0, 1]), np.array([0, 1]), 18)
    assert metrics.macro_f1(perfect) == pytest.approx(2 / 18)
    assert metrics.accuracy(perfect) == 1


def test_a_single_axis_view_scores_its_own_axis() -> None:
    counts = metrics.confusion_counts(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1]), 3)
    found = metrics.scores(counts, VIEWS["age"])
    assert found.axis_accuracies == {"age": found.accuracy} == {"age": 0.75}
    assert metrics.axis_accuracy(counts, VIEWS["age"], AGE) == 0.75
    with pytest.raises(ValueError, match="age does not answer mask"):
        metrics.axis_accuracy(counts, VIEWS["age"], MASK)


def test_an_empty_set_has_no_accuracy() -> None:
    none = np.array([], dtype=np.int64)
    found = metrics.scores(metrics.confusion_counts(none, none, 18), VIEWS["multi"])
    assert all(math.isnan(value) for value in (found.accuracy, *found.axis_accuracies.values()))
    assert found.macro_f1 == 0


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        ([0, 3], [0, 0], r"truth.*0\.\.2"),
        ([0, 0], [0, 3], r"prediction.*0\.\.2"),
        ([0, -1], [0, 0], r"truth.*0\.\.2"),
        ([0, 1], [0], r"\(2,\).*\(1,\)"),
    ],
)
def test_classes_that_do_not_fit_are_refused(truth: list[int], predicted: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.confusion_counts(np.array(truth), np.array(predicted), 3)
