"""The same space file through NNI and Optuna: what one proposes, the other could have proposed."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from maskkit_optuna.parameters import labels, suggest

nni_formatting = pytest.importorskip("nni.common.hpo_utils", reason="NNI is not installed, so nothing was compared")
nni_random = pytest.importorskip("nni.algorithms.hpo.random_tuner")

Space = Mapping[str, Mapping[str, Any]]

ROUNDING = 1e-12  # NNI draws the logarithm of a number, and its exponential may miss an end by so much


def of(kind: str, *values: object) -> dict[str, Any]:
    return {"_type": kind, "_value": [*values]}


whole = st.integers(-20, 40)
sizes = st.floats(0.01, 50, allow_nan=False)
steps = st.sampled_from([0.1, 0.25, 0.3, 1, 2, 2.5, 7])
ends = st.tuples(st.one_of(whole, sizes), sizes).map(lambda pair: (pair[0], pair[0] + pair[1]))
ends_above_0 = st.tuples(sizes, sizes).map(lambda pair: (pair[0], pair[0] + pair[1]))
numbers = st.one_of(
    st.tuples(whole, st.integers(1, 9)).map(lambda pair: of("randint", pair[0], pair[0] + pair[1])),
    ends.map(lambda pair: of("uniform", *pair)),
    ends_above_0.map(lambda pair: of("loguniform", *pair)),
    st.tuples(ends, steps).map(lambda pair: of("quniform", *pair[0], pair[1])),
    st.tuples(ends_above_0, steps).map(lambda pair: of("qloguniform", *pair[0], pair[1])),
    st.tuples(whole, st.floats(0.01, 3)).map(lambda pair: of("normal", *pair)),
    st.tuples(st.integers(-3, 3), st.floats(0.01, 2)).map(lambda pair: of("lognormal", *pair)),
    st.tuples(whole, st.floats(0.01, 3), steps).map(lambda three: of("qnormal", *three)),
    st.tuples(st.integers(-3, 3), st.floats(0.01, 2), steps).map(lambda three: of("qlognormal", *three)),
)
plain = st.lists(
    st.one_of(
        st.integers(0, 3), st.booleans(), st.floats(0, 3), st.sampled_from(["a", "1", "true"]), st.just([128, 96])
    ),
    min_size=1,
    max_size=4,
).map(lambda values: of("choice", *values))
names = st.sampled_from(["focal", "f1", "cross_entropy"])


def nested(entries: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    options = st.dictionaries(st.sampled_from(["gamma", "smoothing"]), entries, max_size=2)
    values = st.tuples(names, options).map(lambda pair: {"_name": pair[0], **pair[1]})
    return st.lists(values, min_size=1, max_size=3).map(lambda several: of("choice", *several))


# One level deep: NNI itself fails when it does not choose what holds a nested choice.
entries = st.one_of(numbers, plain, nested(st.one_of(numbers, plain)))
spaces = st.dictionaries(st.sampled_from(["lr", "batch_size", "criterion"]), entries, min_size=1, max_size=3)


def nni_proposes(space: Space, seed: int) -> dict[str, Any]:
    formatted = nni_formatting.format_search_space(space)
    proposed: dict[str, Any] = nni_formatting.deformat_parameters(
        nni_random.suggest(np.random.default_rng(seed), formatted), formatted
    )
    return proposed


def optuna_proposes(space: Space, study: optuna.Study) -> dict[str, Any]:
    return suggest(study.ask(), space)


def could_propose(space: Space, proposed: Mapping[str, Any]) -> bool:
    """Return whether parameters are of a space, by what NNI's documentation says of each type."""
    return {*space} == {*proposed} and all(could_be(entry, proposed[name]) for name, entry in space.items())


def could_be(entry: Mapping[str, Any], value: Any) -> bool:
    kind, values = entry["_type"], entry["_value"]
    if kind == "choice":
        return any(is_choice(value, one) for one in values)
    if kind == "randint":
        return type(value) is int and values[0] <= value < values[1]
    if kind.startswith("q"):
        return could_be_stepped(kind, values, value)
    low, high = span(kind, values)
    return bool(low - ROUNDING * abs(low) <= value <= high + ROUNDING * abs(high))


def is_choice(value: Any, one: Any) -> bool:
    if not isinstance(one, Mapping):
        return type(value) is type(one) and value == one
    if not isinstance(value, Mapping) or value["_name"] != one["_name"]:
        return False
    options = [{name: of_value for name, of_value in each.items() if name != "_name"} for each in (one, value)]
    return could_propose(options[0], options[1])


def span(kind: str, values: Sequence[float]) -> tuple[float, float]:
    if "normal" not in kind:
        return values[0], values[1]
    return (0 if "log" in kind else -math.inf), math.inf


def could_be_stepped(kind: str, values: Sequence[float], value: float) -> bool:
    """A number is rounded to steps, and then one of two ends keeps it within, but for a bell, which has none."""
    low, high = span(kind, values)
    if value in {low, high}:
        return True
    number = round(value / values[2])
    return (value == number * values[2] and low < value < high) or (value == 0 and low == 0)


@settings(deadline=None, max_examples=150)
@given(space=spaces, seed=st.integers(0, 2**31))
def test_each_proposes_only_what_the_other_could_propose(space: Space, seed: int) -> None:
    space = json.loads(json.dumps(space))  # as it comes from a file
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for draw in range(12):
        for proposed in (nni_proposes(space, seed + draw), optuna_proposes(space, study)):
            assert could_propose(space, proposed), proposed


@settings(deadline=None, max_examples=40)
@given(
    entry=st.one_of(
        st.tuples(st.integers(0, 3), st.integers(1, 4)).map(lambda pair: of("randint", pair[0], pair[0] + pair[1])),
        st.tuples(st.sampled_from([0.5, 1, 1.2]), st.sampled_from([2, 2.3, 3.5]), st.sampled_from([0.5, 0.7, 1])).map(
            lambda three: of("quniform", *three)
        ),
        st.tuples(st.sampled_from([0.5, 1.2]), st.sampled_from([2.3, 3.6]), st.sampled_from([0.7, 1])).map(
            lambda three: of("qloguniform", *three)
        ),
        st.lists(st.sampled_from([1, True, 1.0, "1", "a", None]), min_size=1, max_size=4).map(
            lambda values: of("choice", *values)
        ),
    )
)
def test_where_values_have_an_end_both_propose_the_very_same_set(entry: dict[str, Any]) -> None:
    space = {"one": entry}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    ours = {repr(optuna_proposes(space, study)["one"]) for _ in range(200)}
    theirs = {repr(nni_proposes(space, seed)["one"]) for seed in range(200)}
    assert ours == theirs


@pytest.mark.parametrize(
    ("sampler", "space"),
    [
        (optuna.samplers.TPESampler(seed=3), {"a": of("qloguniform", 1, 9, 2), "b": of("normal", 0, 1)}),
        (optuna.samplers.GPSampler(seed=3), {"a": of("quniform", 1, 9, 2), "b": of("choice", "x", "y")}),
        (optuna.samplers.CmaEsSampler(seed=3), {"a": of("uniform", 1, 9), "b": of("loguniform", 1e-4, 1)}),
    ],
    ids=["TPE", "GP", "CMA-ES"],
)
def test_a_sampler_that_has_learned_stays_within_the_space(sampler: Any, space: Space) -> None:
    study = optuna.create_study(sampler=sampler)
    for _ in range(25):
        trial = study.ask()
        proposed = suggest(trial, space)
        assert could_propose(space, proposed), proposed
        study.tell(trial, float(proposed["a"]))


def test_an_option_of_a_choice_is_asked_for_when_it_is_chosen_by_a_name_that_tells_its_place() -> None:
    focal = {"_name": "focal", "gamma": of("choice", {"_name": "fixed", "value": of("uniform", 1, 3)})}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(20):
        trial = study.ask()
        proposed = suggest(trial, {"criterion": of("choice", focal, {"_name": "f1"})})
        seen.add(tuple(trial.params))
        if proposed["criterion"]["_name"] == "f1":
            assert proposed == {"criterion": {"_name": "f1"}}
    assert seen == {
        ("criterion",),
        ("criterion", "criterion/focal/gamma", "criterion/focal/gamma/fixed/value"),
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([8, 16], [8, 16]),
        (["a", None, True], ["a", None, True]),
        ([8, 8, 16], ["8 #0", "8 #1", "16"]),
        ([1, True], ["1", "true"]),
        ([[128, 96], [64, 48]], ["[128, 96]", "[64, 48]"]),
        ([{"_name": "focal"}, {"_name": "f1"}], ["focal", "f1"]),
        ([{"_name": "focal"}, {"_name": "focal", "gamma": of("uniform", 1, 3)}], ["focal #0", "focal #1"]),
    ],
)
def test_each_value_of_a_choice_has_a_label_of_its_own(values: list[Any], expected: list[Any]) -> None:
    assert labels(values) == expected
