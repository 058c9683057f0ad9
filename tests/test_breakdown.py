"""Scores by axis and by group, and their bootstrap intervals, against slow independent forms of themselves."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score

from maskkit.bootstrap import Estimate, resampled_counts
from maskkit.breakdown import Answers, Breakdown, Part, break_down
from maskkit.labels import VIEWS, decode

Classes = NDArray[np.int64]
Score = Callable[[Classes, Classes], float]


def answers_of(truth: Classes, ans: Classes, people: Classes, *, view: str = "multi", truth_view: str = "") -> Answers:
    return Answers(view=VIEWS[view], ans=ans, truth_view=VIEWS[truth_view or "multi"], truth=truth, people=people)


def parts_of(scores: Breakdown) -> Iterator[Part]:
    yield scores.whole
    yield from scores.axes
    for parts in scores.groups.values():
        yield from parts


def part_named(scores: Breakdown, name: str) -> Part:
    (found,) = [part for part in parts_of(scores) if part.name == name]
    return found


def crowd(num_people: int = 60) -> Answers:
    """Make people of one to seven images each, who are mistaken for another age or gender in all images or in none."""
    draws = np.random.default_rng(5)
    people = np.repeat(np.arange(num_people), draws.integers(1, 8, num_people))
    told = draws.integers(0, 6, num_people)
    taken_for = np.where(draws.random(num_people) < 0.3, draws.integers(0, 6, num_people), told)
    mask = draws.integers(0, 3, len(people))
    seen = np.where(draws.random(len(people)) < 0.1, draws.integers(0, 3, len(people)), mask)
    return answers_of(mask * 6 + told[people], seen * 6 + taken_for[people], people)


def macro_f1(truth: Classes, ans: Classes) -> float:
    return float(f1_score(truth, ans, labels=np.unique(truth), average="macro", zero_division=0))


def accuracy(truth: Classes, ans: Classes) -> float:
    return float(accuracy_score(truth, ans))


def on_age(score: Score) -> Score:
    return lambda truth, ans: score(truth % 3, ans % 3)


def among(inside: Callable[[Classes], NDArray[np.bool_]], score: Score) -> Score:
    return lambda truth, ans: score(truth[inside(truth)], ans[inside(truth)])


def is_female(truth: Classes) -> NDArray[np.bool_]:
    return np.asarray(truth // 3 % 2 == 1)


def is_old_man(truth: Classes) -> NDArray[np.bool_]:
    return np.asarray(truth % 6 == 2)


def is_incorrect(truth: Classes) -> NDArray[np.bool_]:
    return np.asarray(truth // 6 == 1)


SLOW_FORMS: list[tuple[str, str, Score]] = [
    ("all", "macro_f1", macro_f1),
    ("all", "accuracy", accuracy),
    ("age", "macro_f1", on_age(macro_f1)),
    ("age", "accuracy", on_age(accuracy)),
    ("female", "macro_f1", among(is_female, macro_f1)),
    ("male old", "accuracy", among(is_old_man, accuracy)),
    ("incorrect", "macro_f1", among(is_incorrect, macro_f1)),
]


def slow_bootstrap(answers: Answers, score: Score, times: int) -> NDArray[np.float64]:
    """Score resamples of whole people, made row by row; float64 [times]."""
    draws = np.random.default_rng(11)
    rows_of = [np.flatnonzero(answers.people == person) for person in np.unique(answers.people)]
    values = []
    for _ in range(times):
        rows = np.concatenate([rows_of[person] for person in draws.choice(len(rows_of), size=len(rows_of))])
        values.append(score(answers.truth[rows], answers.ans[rows]))
    return np.array(values)


@pytest.mark.parametrize(("name", "figure", "score"), SLOW_FORMS, ids=[" ".join(form[:2]) for form in SLOW_FORMS])
def test_intervals_agree_with_a_slow_bootstrap_of_rows(name: str, figure: str, score: Score) -> None:
    answers = crowd()
    found = getattr(part_named(break_down(answers), name), figure)
    values = slow_bootstrap(answers, score, times=400)
    assert found.value == pytest.approx(score(answers.truth, answers.ans))
    # The quantile of R normal draws of deviation s has a standard error of 2.67 s / sqrt(R): here of 0.15 s for both.
    near = 0.5 * values.std()
    assert found.low == pytest.approx(np.quantile(values, 0.025), abs=near)
    assert found.high == pytest.approx(np.quantile(values, 0.975), abs=near)


def test_images_taken_for_people_give_a_much_narrower_interval() -> None:
    people = crowd()
    images = answers_of(people.truth, people.ans, np.arange(len(people.ans)))
    by_people, by_images = (break_down(answers).whole.accuracy for answers in (people, images))
    assert by_people.value == by_images.value
    assert by_people.high - by_people.low > 1.5 * (by_images.high - by_images.low)


def test_intervals_hold_the_true_score_about_as_often_as_they_say() -> None:
    draws = np.random.default_rng(3)
    people = np.repeat(np.arange(50), 4)
    held = 0
    for _ in range(100):
        right = (draws.random(50) < 0.7).astype(np.int64)  # all four answers on a person are right, or none is
        estimate = Estimate.of(resampled_counts(right[people], people, 2)[:, 1] / len(people))
        held += estimate.low <= 0.7 <= estimate.high
    assert 88 <= held <= 99


@st.composite
def few_answers(draw: st.DrawFn) -> Answers:
    rows = draw(st.lists(st.tuples(st.integers(0, 17), st.integers(0, 17), st.integers(0, 5)), min_size=1, max_size=30))
    truth, ans, people = np.array(rows, dtype=np.int64).T
    return answers_of(truth, ans, np.unique(people, return_inverse=True)[1])


@settings(max_examples=12, deadline=None)
@given(answers=few_answers(), seed=st.integers(0, 99))
def test_every_score_lies_in_its_range_and_no_order_changes_it(answers: Answers, seed: int) -> None:
    scores = break_down(answers)
    for part in parts_of(scores):
        for one in (part.accuracy, part.macro_f1):
            assert 0 <= one.low <= one.high <= 1
            assert 0 <= one.value <= 1
        assert 1 <= part.people <= part.images <= len(answers.ans)
    order = np.random.default_rng(seed).permutation(len(answers.ans))
    assert break_down(answers_of(answers.truth[order], answers.ans[order], answers.people[order])) == scores


@settings(max_examples=12, deadline=None)
@given(answers=few_answers())
def test_the_scores_themselves_equal_those_of_sklearn(answers: Answers) -> None:
    truth, ans = answers.truth, answers.ans
    scores = break_down(answers)
    every = f1_score(truth, ans, labels=range(18), average="macro", zero_division=0)
    assert scores.whole.macro_f1.value == pytest.approx(every)
    assert scores.whole.accuracy.value == pytest.approx(accuracy_score(truth, ans))
    for position, part in enumerate(scores.axes):
        true, given_answers = ([decode(int(number))[position] for number in column] for column in (truth, ans))
        labels = range(len(answers.view.axes[position].classes))
        expected = f1_score(true, given_answers, labels=labels, average="macro", zero_division=0)
        assert part.macro_f1.value == pytest.approx(expected)
        assert part.accuracy.value == pytest.approx(accuracy_score(true, given_answers))
    for grouping, position in (("mask", 0), ("gender", 1), ("age", 2)):
        groups = np.array([decode(int(number))[position] for number in truth])
        for number, part in zip(np.unique(groups), scores.groups[grouping], strict=True):
            inside = groups == number
            assert part.macro_f1.value == pytest.approx(macro_f1(truth[inside], ans[inside]))
            assert part.accuracy.value == pytest.approx(accuracy_score(truth[inside], ans[inside]))
            assert (part.people, part.images) == (len(np.unique(answers.people[inside])), inside.sum())


def test_one_person_alone_gives_intervals_without_width() -> None:
    truth, ans = np.array([0, 0, 6, 13]), np.array([0, 3, 6, 12])
    for part in parts_of(break_down(answers_of(truth, ans, np.zeros(4, dtype=np.int64)))):
        for one in (part.accuracy, part.macro_f1):
            assert one == Estimate(one.value, one.value, one.value)


def test_a_class_that_a_resample_loses_does_not_pull_the_interval_down() -> None:
    each = np.arange(18)
    scores = break_down(answers_of(each, each, each))
    assert scores.whole.macro_f1 == Estimate(1, 1, 1)


def test_groups_come_in_the_order_of_the_classes_and_only_those_that_occur() -> None:
    truth = np.array([0, 5, 11, 11])  # a young man, and two old women
    scores = break_down(answers_of(truth, truth, np.array([0, 1, 1, 2])))
    named = {grouping: [part.name for part in parts] for grouping, parts in scores.groups.items()}
    assert named == {
        "gender": ["male", "female"],
        "age": ["young", "old"],
        "gender x age": ["male young", "female old"],
        "mask": ["wear", "incorrect"],
    }
    assert scores.unknown == ()
    assert (part_named(scores, "female old").people, part_named(scores, "female old").images) == (2, 3)
    assert (part_named(scores, "incorrect").people, part_named(scores, "incorrect").images) == (2, 2)


@pytest.mark.parametrize("view", ["mask", "gender", "age"])
def test_answers_of_one_task_are_grouped_by_a_truth_in_all_classes(view: str) -> None:
    every = crowd()
    reduced = np.array(VIEWS[view].of_class)
    scores = break_down(answers_of(every.truth, reduced[every.ans], every.people, view=view))
    truth, ans, female = reduced[every.truth], reduced[every.ans], is_female(every.truth)
    assert scores.whole.macro_f1.value == pytest.approx(macro_f1(truth, ans))
    assert part_named(scores, "female").macro_f1.value == pytest.approx(macro_f1(truth[female], ans[female]))
    assert [part.name for part in scores.axes] == [view]
    assert scores.axes[0].macro_f1 == scores.whole.macro_f1
    assert list(scores.groups) == ["gender", "age", "gender x age", "mask"]


@pytest.mark.parametrize(
    ("view", "unknown"),
    [
        ("mask", ("gender", "age", "gender x age")),
        ("gender", ("age", "gender x age", "mask")),
        ("age", ("gender", "gender x age", "mask")),
    ],
)
def test_a_truth_of_one_task_tells_its_own_groups_alone(view: str, unknown: tuple[str, ...]) -> None:
    every = crowd()
    reduced = np.array(VIEWS[view].of_class)
    with_all = break_down(answers_of(every.truth, reduced[every.ans], every.people, view=view))
    alone = break_down(
        answers_of(reduced[every.truth], reduced[every.ans], every.people, view=view, truth_view=view),
    )
    assert alone.unknown == unknown
    assert alone.groups == {view: with_all.groups[view]}
    assert (alone.whole, alone.axes) == (with_all.whole, with_all.axes)
