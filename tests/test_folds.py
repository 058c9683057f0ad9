"""Who is held out: exact totals, one fold a person, even strata, and the same people in any order."""

from collections import Counter
from random import Random

import numpy as np
import pytest
import sklearn.model_selection  # noqa: F401  it takes a second to load, which no example should wait for
from hypothesis import assume, given
from hypothesis import strategies as st

from maskkit.data.folds import assign_folds, hold_out
from maskkit.errors import DataError, UsageError

People = list[tuple[int, int]]  # gender, age group

people = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=2, max_size=60)
ratios = st.floats(0.01, 0.99)
seeds = st.integers(-5, 2**40)


def split(crowd: People, val_ratio: float, seed: int, order: list[int] | None = None) -> dict[str, int]:
    """Return the fold by id; the ids are given in `order`."""
    order = order if order is not None else list(range(len(crowd)))
    gender = np.array([crowd[one][0] for one in order], dtype=np.int64)
    age = np.array([crowd[one][1] for one in order], dtype=np.int64)
    ids = [f"{one:06d}" for one in order]
    folds = hold_out(ids, (gender * 3 + age, gender), val_ratio=val_ratio, seed=seed)
    assert folds.dtype == np.int64
    return dict(zip(ids, folds.tolist(), strict=True))


def held_out(crowd: People, val_ratio: float, seed: int) -> list[int]:
    return [int(name) for name, fold in split(crowd, val_ratio, seed).items() if fold == 0]


@given(people, ratios, seeds)
def test_exactly_the_rounded_share_is_held_out_and_never_nobody_or_everybody(
    crowd: People, val_ratio: float, seed: int
) -> None:
    expected = min(max(round(val_ratio * len(crowd)), 1), len(crowd) - 1)
    assert len(held_out(crowd, val_ratio, seed)) == expected


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=24, max_size=80), st.floats(0.3, 0.7), seeds)
def test_each_stratum_gives_its_share_to_within_one_person(crowd: People, val_ratio: float, seed: int) -> None:
    sizes = Counter(crowd)
    shared = [one for one in crowd if sizes[one] > 1]
    held = held_out(crowd, val_ratio, seed)
    assume(len(set(shared)) <= len(held) <= len(shared) - len(set(shared)))  # or coarser strata count
    given_away = Counter(crowd[one] for one in held)
    for stratum, size in sizes.items():
        share = len(held) * size / len(shared) if size > 1 else 0
        assert abs(given_away[stratum] - share) < 1


@given(people, ratios, seeds, st.randoms(use_true_random=False))
def test_the_order_of_listing_changes_nothing(crowd: People, val_ratio: float, seed: int, random: Random) -> None:
    order = list(range(len(crowd)))
    random.shuffle(order)
    assert split(crowd, val_ratio, seed, order) == split(crowd, val_ratio, seed)


@given(people, st.integers(1, 7), ratios, seeds)
def test_no_id_stands_in_two_folds(crowd: People, num_images: int, val_ratio: float, seed: int) -> None:
    ids = [f"{one:06d}" for one in range(len(crowd))] * num_images
    strata = np.array([gender * 3 + age for gender, age in crowd] * num_images, dtype=np.int64)
    folds = hold_out(ids, (strata, strata // 3), val_ratio=val_ratio, seed=seed)
    assert dict(zip(ids, folds.tolist(), strict=True)) == split(crowd, val_ratio, seed)
    assert len(set(zip(ids, folds.tolist(), strict=True))) == len(crowd)


def test_one_seed_holds_out_the_same_people_on_every_machine() -> None:
    crowd = [(number % 2, number % 3) for number in range(30)]
    assert held_out(crowd, 0.2, 42) == [11, 14, 18, 25, 27, 28]
    assert held_out(crowd, 0.2, 43) == [3, 16, 17, 19, 20, 24]


def test_a_person_alone_in_a_stratum_stays_in_training() -> None:
    crowd = [(0, 1)] * 20 + [(1, 1)] * 20 + [(0, 2)]
    assert all(split(crowd, 0.2, seed)["000040"] == 1 for seed in range(50))


def test_with_fewer_held_out_than_strata_genders_are_balanced() -> None:
    crowd = [(gender, age) for gender in (0, 1) for age in (0, 1, 2) for _ in range(2)]
    for seed in range(20):
        genders = Counter(crowd[one][0] for one in held_out(crowd, 0.35, seed))
        assert genders == {0: 2, 1: 2}


def test_with_one_held_out_anybody_may_be() -> None:
    crowd = [(0, 1)] * 2 + [(1, 1)] * 2
    assert {held_out(crowd, 0.25, seed)[0] for seed in range(60)} == {0, 1, 2, 3}


def test_with_everybody_alone_in_a_stratum_the_strata_fall_away() -> None:
    crowd = [(gender, age) for gender in (0, 1) for age in (0, 1, 2)]
    assert len(held_out(crowd, 0.5, 0)) == 3
    assert len(held_out([(0, 0), (1, 1)], 0.2, 0)) == 1


def test_an_id_with_a_suffix_is_a_person_of_its_own() -> None:
    strata = np.zeros(2, dtype=np.int64)
    folds = hold_out(["001498", "001498-1"], (strata,), val_ratio=0.5, seed=0)
    assert sorted(folds.tolist()) == [0, 1]


@pytest.mark.parametrize("val_ratio", [0.0, 1.0, -0.1, 1.5, float("nan"), float("inf")])
def test_refuses_a_share_outside_zero_and_one(val_ratio: float) -> None:
    with pytest.raises(UsageError, match="it must lie between 0 and 1"):
        split([(0, 0)] * 10, val_ratio, 0)


def test_refuses_to_split_fewer_than_two() -> None:
    with pytest.raises(DataError, match="needs two people or images at least, and there is 1"):
        split([(0, 0)], 0.5, 0)


def folds_of(crowd: People, num_folds: int, seed: int, order: list[int] | None = None) -> dict[str, int]:
    """Return the fold by id, of two images a person; the ids are given in `order`."""
    order = [one for one in (order if order is not None else range(len(crowd))) for _ in range(2)]
    gender = np.array([crowd[one][0] for one in order], dtype=np.int64)
    age = np.array([crowd[one][1] for one in order], dtype=np.int64)
    ids = [f"{one:06d}" for one in order]
    folds = assign_folds(ids, (gender * 3 + age, gender), num_folds=num_folds, seed=seed)
    assert folds.tolist()[::2] == folds.tolist()[1::2], "both images of a person are in one fold"
    return dict(zip(ids, folds.tolist(), strict=True))


@given(people, st.integers(2, 12), seeds, st.randoms(use_true_random=False))
def test_folds_are_even_in_all_and_in_each_stratum_and_know_no_order(
    crowd: People, num_folds: int, seed: int, random: Random
) -> None:
    assume(len(crowd) >= num_folds)
    folds = folds_of(crowd, num_folds, seed)
    sizes = Counter(folds.values())
    assert sorted(sizes) == list(range(num_folds))
    assert max(sizes.values()) - min(sizes.values()) <= 1
    largest = max(Counter(crowd).values())
    for stratum in set(crowd) if largest >= num_folds else ():
        counts = Counter(folds[f"{one:06d}"] for one, kind in enumerate(crowd) if kind == stratum)
        assert max(counts.values()) - min(counts[fold] for fold in range(num_folds)) <= 1
    order = list(range(len(crowd)))
    random.shuffle(order)
    assert folds_of(crowd, num_folds, seed, order) == folds


def test_another_seed_gives_other_folds_and_more_folds_than_people_are_refused() -> None:
    crowd = [(number % 2, number % 3) for number in range(30)]
    assert folds_of(crowd, 5, 1) != folds_of(crowd, 5, 2)
    with pytest.raises(DataError, match="31 folds need as many people or images at least, and there are 30"):
        folds_of(crowd, 31, 1)
