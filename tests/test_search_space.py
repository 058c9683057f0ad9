"""Search spaces: what is accepted gives only values that a training takes, and what does not fit is refused at once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nni.algorithms.hpo.random_tuner import suggest
from nni.common.hpo_utils import deformat_parameters, format_search_space

from maskkit.config import RunFlags
from maskkit.errors import MaskkitError
from maskkit.flags import flags_of
from maskkit.plugin.discovery import discover
from maskkit.plugin.registry import Registry
from maskkit.tuning.nni.tuner import NniTuner
from maskkit.tuning.space import Space, examples, search_space
from maskkit.tuning.trainings import as_flags

FLAGS = flags_of(RunFlags)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(discover({"MASKKIT_DISABLE_PLUGINS": "*"}))


def read(space: object, folder: Path, registry: Registry, *, given: tuple[str, ...] = (), tuner: str = "TPE") -> Space:
    path = folder / "space.json"
    path.write_text(space if isinstance(space, str) else json.dumps(space), encoding="utf-8")
    return search_space(path, given, registry, NniTuner(algorithm=tuner).objection)


def nothing(*_: object) -> str:
    """Object to no parameter."""
    return ""


def choice(*values: object) -> dict[str, Any]:
    return {"_type": "choice", "_value": [*values]}


def of(kind: str, *numbers: object) -> dict[str, Any]:
    return {"_type": kind, "_value": [*numbers]}


small = st.integers(1, 40)
fractions = st.floats(0.001, 50, allow_nan=False)
numbers = st.one_of(
    st.tuples(st.sampled_from(["uniform", "loguniform", "normal", "lognormal"]), fractions, fractions),
    st.tuples(st.sampled_from(["quniform", "qloguniform", "qnormal", "qlognormal"]), fractions, fractions, fractions),
    st.tuples(st.sampled_from(["quniform", "qloguniform"]), small, small, small),
    st.tuples(st.just("randint"), small, small),
    st.lists(st.one_of(small, fractions), min_size=1, max_size=3).map(lambda values: ("choice", *values)),
).map(lambda made: of(*made))
losses = st.sampled_from(
    [choice("focal", "f1"), choice({"_name": "focal", "gamma": of("uniform", 1, 3)}, {"_name": "f1"})]
)
spaces = st.fixed_dictionaries(
    {}, optional={"lr": numbers, "batch_size": numbers, "epochs": numbers, "patience": numbers, "criterion": losses}
).filter(bool)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(space=spaces, seed=st.integers(0, 1000))
def test_whatever_nni_proposes_from_a_space_that_is_accepted_is_taken_by_a_training(
    space: dict[str, Any], seed: int, tmp_path: Path, registry: Registry
) -> None:
    try:
        accepted = read(space, tmp_path, registry)
    except MaskkitError:
        return  # what is refused, and rightly, stands in the table below
    formatted, draws = format_search_space(accepted), np.random.default_rng(seed)
    has_bell = any("normal" in one["_type"] for one in space.values())  # which has no ends that one could try
    for _ in range(20):
        proposed = deformat_parameters(suggest(draws, formatted), formatted)
        for name, value in as_flags(proposed).items():
            if not has_bell:
                FLAGS[name].convert(value)


def test_examples_have_each_choice_and_option_and_the_ends_of_numbers(tmp_path: Path, registry: Registry) -> None:
    space = {
        "criterion": choice({"_name": "focal", "gamma": choice(1, 2)}, {"_name": "f1"}),
        "lr": of("loguniform", 0.001, 0.1),
        "epochs": of("randint", 2, 9),
    }
    found = examples(read(space, tmp_path, registry))
    assert found[0] == {"criterion": "focal", "criterion_args": {"gamma": 1}, "lr": 0.001, "epochs": 2}
    losses = [(one["criterion"], one["criterion_args"]) for one in found]
    assert [loss for number, loss in enumerate(losses) if loss not in losses[:number]] == [
        ("focal", {"gamma": 1}),
        ("focal", {"gamma": 2}),
        ("f1", {}),
    ]
    assert {0.001, 0.1} <= {one["lr"] for one in found}
    assert {one["epochs"] for one in found} == {2, 8}


@pytest.mark.parametrize("path", [ROOT / "search_space.json", ROOT / "examples" / "nni" / "search_space.json"], ids=str)
def test_a_shipped_space_is_accepted(path: Path, registry: Registry) -> None:
    assert search_space(path, (), registry, nothing) == json.loads(path.read_text(encoding="utf-8"))


def test_the_space_of_the_top_level_is_that_of_the_original(registry: Registry) -> None:
    assert search_space(ROOT / "search_space.json", (), registry, nothing) == {
        "batch_size": choice(8, 16, 32, 64, 128),
        "lr": choice(0.001, 0.01, 0.1),
        "model": choice("Efficientnet_b6", "Efficientnet_b0", "Efficientnet_b3"),
        "criterion": choice("focal", "label_smoothing", "cross_entropy", "f1"),
        "augmentation": choice("BaseAugmentation", "AffineAugmentation", "GaussianAugmentation"),
    }


def test_the_usual_space_leaves_out_what_is_given_and_for_gp_what_is_no_number(registry: Registry) -> None:
    assert {*search_space(None, (), registry, nothing)} == {"lr", "batch_size", "criterion", "augmentation"}
    assert {*search_space(None, ("lr", "seed"), registry, nothing)} == {"batch_size", "criterion", "augmentation"}
    assert {*search_space(None, (), registry, NniTuner(algorithm="GP").objection)} == {"lr", "batch_size"}


REFUSED: list[tuple[object, str]] = [
    ("{", "is no JSON (Expecting property name enclosed in double quotes at character 2)"),
    ("[1]", "must hold a JSON object of flags"),
    ("{}", "must hold a JSON object of flags"),
    ({"batchsize": choice(8)}, "'batchsize' cannot be searched\nDid you mean batch_size?"),
    ({"name": choice("a")}, "'name' cannot be searched"),
    ({"lr": [0.1]}, "lr must have a _type of choice, randint, uniform"),
    ({"lr": of("choose", 0.1)}, "lr must have a _type of choice, randint, uniform"),
    ({"lr": choice()}, "lr must have a _type"),
    ({"lr": of("uniform", 0.1)}, "lr of _type uniform takes 2 numbers; received [0.1]"),
    ({"lr": of("quniform", 0.1, 0.2)}, "lr of _type quniform takes 3 numbers; received [0.1, 0.2]"),
    ({"lr": of("uniform", "0.1", "0.2")}, "lr of _type uniform takes 2 numbers; received ['0.1', '0.2']"),
    ('{"lr": {"_type": "uniform", "_value": [0.1, Infinity]}}', "takes 2 numbers; received [0.1, inf]"),
    ({"lr": of("uniform", 0.2, 0.1)}, "lr must go from a smaller to a larger number; received [0.2, 0.1]"),
    ({"lr": of("loguniform", 0, 0.1)}, "lr of _type loguniform must begin above 0; received [0, 0.1]"),
    ({"lr": of("quniform", 0.1, 0.5, 0)}, "lr of _type quniform must have a step above 0"),
    ({"lr": of("uniform", -1, 0.1)}, "--lr must be above 0; received -1"),
    ({"epochs": of("randint", 1.5, 3)}, "epochs of _type randint takes 2 whole numbers; received [1.5, 3]"),
    ({"epochs": of("randint", 0, 3)}, "--epochs must be at least 1; received 0"),
    ({"epochs": of("uniform", 1, 3)}, "--epochs must be a whole number; received 2.23"),
    ({"epochs": of("quniform", 5, 10, 2.5)}, "--epochs must be a whole number; received 7.5"),
    ({"batch_size": of("normal", 32, 8)}, "--batch_size must be auto|INT; received 36.944"),
    ({"model": choice("Efficientnet_b9")}, "unknown model 'Efficientnet_b9'\nDid you mean Efficientnet_b"),
    ({"criterion": choice({"_name": "focal"}, "f1")}, "criterion has choices with a _name and without one"),
    ({"criterion": choice({"_name": "focal", "gamma": 2})}, "criterion: focal: gamma must have a _type"),
    ({"criterion": choice({"_name": "foca"})}, "unknown loss 'foca'\nDid you mean focal?"),
    ({"weights": choice({"_name": "a.pth"})}, "weights has no options, but its choices have"),
]


@pytest.mark.parametrize(("space", "told"), REFUSED, ids=lambda value: str(value)[:50])
def test_a_space_that_does_not_fit_is_refused(space: object, told: str, tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(MaskkitError) as caught:
        read(space, tmp_path, registry)
    assert told in str(caught.value)


def test_numbers_too_large_for_their_exponential_are_no_crash(tmp_path: Path, registry: Registry) -> None:
    assert examples(read({"lr": of("lognormal", 1e9, 1)}, tmp_path, registry))


@pytest.mark.parametrize(
    ("space", "words", "told"),
    [
        ({"lr": choice(0.1)}, {"given": ("lr",)}, "--lr is given, and searched in"),
        ({"criterion": choice("f1")}, {"tuner": "GP"}, "choices that are no numbers, which --tuner=GP cannot take"),
        ({"epochs": choice(3)}, {"tuner": "Hyperband"}, "epochs is what --tuner=Hyperband chooses itself"),
    ],
)
def test_a_space_that_does_not_fit_the_other_flags_is_refused(
    space: object, words: dict[str, Any], told: str, tmp_path: Path, registry: Registry
) -> None:
    with pytest.raises(MaskkitError) as caught:
        read(space, tmp_path, registry, **words)
    assert told in str(caught.value)
