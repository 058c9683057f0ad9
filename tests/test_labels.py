"""The labels: eighteen classes in their order, and every view of them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from maskkit.errors import UnknownNameError
from maskkit.labels import (
    AGE,
    AXES,
    CLASS_NAMES,
    GENDER,
    MASK,
    NUM_CLASSES,
    VIEWS,
    age_group,
    decode,
    encode,
    view_named,
)

answers = st.tuples(*(st.integers(0, len(axis.classes) - 1) for axis in AXES))


@given(answers)
def test_decode_undoes_encode(one: tuple[int, int, int]) -> None:
    assert decode(encode(*one)) == one


@given(st.integers(0, 17))
def test_encode_undoes_decode(ans: int) -> None:
    assert encode(*decode(ans)) == ans


def test_age_runs_fastest_and_mask_slowest() -> None:
    in_order = itertools.product(range(3), range(2), range(3))
    assert [encode(*one) for one in in_order] == list(range(NUM_CLASSES))
    assert CLASS_NAMES[0] == "wear male young"
    assert CLASS_NAMES[5] == "wear female old"
    assert CLASS_NAMES[17] == "normal female old"


@pytest.mark.parametrize(("wrong", "axis"), [((3, 0, 0), "mask"), ((0, 2, 0), "gender"), ((0, 0, -1), "age")])
def test_an_answer_outside_its_axis_is_refused_by_name(wrong: tuple[int, int, int], axis: str) -> None:
    with pytest.raises(ValueError, match=axis):
        encode(*wrong)


@pytest.mark.parametrize("wrong", [-1, 18])
def test_a_class_outside_the_eighteen_is_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match=rf"{wrong}.*0\.\.17"):
        decode(wrong)


@pytest.mark.parametrize(("years", "group"), [(18, 0), (29, 0), (30, 1), (59, 1), (60, 2), (99, 2)])
def test_the_borders_of_age(years: int, group: int) -> None:
    assert age_group(years) == group


@given(st.integers(0, 17))
def test_every_view_finds_its_own_class_in_the_eighteen(ans: int) -> None:
    mask, gender, age = decode(ans)
    own = {name: view.of_class[ans] for name, view in VIEWS.items()}
    assert own == {"multi": ans, "mask": mask, "gender": gender, "age": age, "multihead": ans}


@given(st.integers(0, 17))
def test_every_head_finds_its_own_class_in_the_eighteen(ans: int) -> None:
    assert tuple(head.of_class[ans] for head in VIEWS["multihead"].heads) == decode(ans)


def test_a_view_answers_its_axes() -> None:
    assert {name: view.axes for name, view in VIEWS.items()} == {
        "multi": AXES,
        "mask": (MASK,),
        "gender": (GENDER,),
        "age": (AGE,),
        "multihead": AXES,
    }
    assert VIEWS["multi"].answer(AGE, 17) == VIEWS["age"].answer(AGE, 2) == 2
    assert VIEWS["multihead"].answer(GENDER, 3) == 1


def test_outputs_and_classes_are_counted() -> None:
    counts = {name: (view.num_outputs, view.num_classes) for name, view in VIEWS.items()}
    assert counts == {"multi": (18, 18), "mask": (3, 3), "gender": (2, 2), "age": (3, 3), "multihead": (8, 18)}


@given(arrays.arrays(np.float64, (4, 8), elements=st.floats(0, 1)))
def test_three_heads_compose_to_the_product_of_their_probabilities(outputs: np.ndarray) -> None:
    view = VIEWS["multihead"]
    composed = view.compose(view.split(outputs))
    for row, ans in itertools.product(range(4), range(NUM_CLASSES)):
        mask, gender, age = decode(ans)
        by_hand = outputs[row, mask] * outputs[row, 3 + gender] * outputs[row, 5 + age]
        assert composed[row, ans] == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("name", ["multi", "mask", "gender", "age"])
def test_one_head_composes_to_itself(name: str) -> None:
    view = VIEWS[name]
    outputs = np.arange(2.0 * view.num_outputs).reshape(2, -1)
    assert (view.compose(view.split(outputs)) == outputs).all()


def test_an_unknown_view_is_refused_with_the_valid_names() -> None:
    assert view_named("mask") is VIEWS["mask"]
    with pytest.raises(UnknownNameError, match="'face'") as caught:
        view_named("face")
    assert "multi, mask, gender, age, multihead" in caught.value.hint
