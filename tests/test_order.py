"""How often an epoch visits each image, in which order, and how it numbers the visits."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from maskkit.data.order import epoch_order, rows_of
from maskkit.data.sampling import drawing_weights
from maskkit.labels import VIEWS, decode

NUM_IMAGES = 200
BALANCES = ["none", "class", "person_age"]

weight_lists = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60)
answer_lists = st.lists(st.integers(0, 17), min_size=1, max_size=60)


def visits_of(weights: list[float], *, seed: int = 0, epoch: int = 0) -> tuple[Tensor, Tensor]:
    """Return rows, of which every third image of a table is one, and the visits of an epoch."""
    rows = torch.arange(0, 3 * len(weights), 3)
    drawn = torch.tensor(weights, dtype=torch.float64)
    return rows, epoch_order(rows, seed=seed, epoch=epoch, weights=drawn, num_images=NUM_IMAGES)


@given(weights=weight_lists, seed=st.integers(0, 2**70), epoch=st.integers(0, 100))
@settings(deadline=None)
def test_each_image_is_visited_as_often_as_the_whole_number_below_or_above_what_is_asked(
    weights: list[float], seed: int, epoch: int
) -> None:
    rows, visits = visits_of(weights, seed=seed, epoch=epoch)
    assert len(visits) == len(weights)
    counts = torch.bincount(rows_of(visits, NUM_IMAGES), minlength=NUM_IMAGES)
    assert int(counts[rows].sum()) == len(weights)
    expected = np.array(weights) / np.sum(weights) * len(weights)
    for count, share in zip(counts[rows].tolist(), expected, strict=True):
        assert np.floor(share - 1e-9) <= count <= np.ceil(share + 1e-9)


@given(weights=weight_lists, seed=st.integers(0, 1000))
@settings(deadline=None)
def test_no_two_visits_have_one_number_and_the_first_has_that_of_the_row(weights: list[float], seed: int) -> None:
    _, visits = visits_of(weights, seed=seed)
    assert len(set(visits.tolist())) == len(visits)
    for row in set(rows_of(visits, NUM_IMAGES).tolist()):
        own = sorted(visit for visit in visits.tolist() if visit % NUM_IMAGES == row)
        assert own == [row + NUM_IMAGES * number for number in range(len(own))]


def test_over_many_epochs_the_rates_are_those_that_are_asked_for() -> None:
    """An image that is due 0.3 times an epoch comes in 30 % of them: 600 of 2,000, give or take."""
    weights = [0.3, 0.7, 1.4, 1.6, 1.0]
    counts = torch.zeros(NUM_IMAGES)
    for epoch in range(2000):
        counts += torch.bincount(rows_of(visits_of(weights, epoch=epoch)[1], NUM_IMAGES), minlength=NUM_IMAGES)
    assert (counts[[0, 3, 6, 9, 12]] / 2000).tolist() == pytest.approx(weights, abs=0.05)


def test_orders_are_of_seed_and_epoch_alone_and_do_not_repeat() -> None:
    weights = [float(1 + number % 4) for number in range(40)]
    orders = [visits_of(weights, seed=seed, epoch=epoch)[1].tolist() for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9
    torch.manual_seed(5)
    assert visits_of(weights, seed=1, epoch=1)[1].tolist() == orders[4]
    steps = [later - earlier for order in orders for earlier, later in pairwise(order)]
    assert 0.4 < sum(step > 0 for step in steps) / len(steps) < 0.6, "what is drawn twice is spread over the epoch"


@pytest.mark.parametrize("view", VIEWS)
@given(answers=answer_lists)
@settings(deadline=None, max_examples=40)
def test_balanced_classes_of_the_view_are_drawn_equally_often(view: str, answers: list[int]) -> None:
    targets = np.array(answers)
    people = np.array([str(number) for number in range(len(answers))], dtype=object)
    weights = drawing_weights(targets, people, VIEWS[view], balance="class", oversample_old=1.0)
    classes = np.array(VIEWS[view].of_class)[targets]
    sums = np.bincount(classes, weights=np.ones(len(targets)) if weights is None else weights)
    present = sums[np.unique(classes)]
    assert present == pytest.approx(np.full(len(present), present[0]))
    if weights is not None:
        assert all(len(set(weights[classes == one].round(12))) == 1 for one in np.unique(classes))


@given(ages=st.lists(st.integers(0, 2), min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_age_groups_are_drawn_equally_often_and_so_are_the_people_of_each(ages: list[int]) -> None:
    draws = np.random.default_rng(len(ages))
    number_of = draws.integers(1, 8, len(ages))
    people = np.repeat(np.array([f"p{number}" for number in range(len(ages))], dtype=object), number_of)
    targets = np.repeat(ages, number_of) + 3 * draws.integers(0, 6, number_of.sum())
    weights = drawing_weights(targets, people, VIEWS["multi"], balance="person_age", oversample_old=1.0)
    weights = np.ones(len(targets)) if weights is None else weights
    by_person = [weights[people == f"p{number}"].sum() for number in range(len(ages))]
    groups = [[of_one for age, of_one in zip(ages, by_person, strict=True) if age == group] for group in set(ages)]
    sums = [sum(group) for group in groups]
    assert sums == pytest.approx([sums[0]] * len(sums))
    for group in groups:
        assert group == pytest.approx([group[0]] * len(group))


@pytest.mark.parametrize("balance", BALANCES)
@given(answers=answer_lists, factor=st.floats(0.1, 20))
@settings(deadline=None, max_examples=40)
def test_the_old_are_drawn_so_many_times_as_often(balance: str, answers: list[int], factor: float) -> None:
    targets = np.array(answers)
    people = np.array([str(number // 2) for number in range(len(answers))], dtype=object)
    found = [
        drawing_weights(targets, people, VIEWS["multi"], balance=balance, oversample_old=one) for one in (1.0, factor)
    ]
    plain, more = (np.ones(len(targets)) if weights is None else weights for weights in found)
    are_old = np.array([decode(ans)[2] == 2 for ans in answers])
    if are_old.all() or not are_old.any():
        return
    assert more[are_old] / plain[are_old] == pytest.approx(factor * more[~are_old][0] / plain[~are_old][0])
