"""The one converter of flags and options: what was typed arrives exactly, or is refused and says what is valid."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskkit.conversion import convert, describe

Size = tuple[int, int]
Options = dict[str, Any]
Choice = Literal["auto", "prob", "logit"]

finite = st.floats(allow_nan=False, allow_infinity=False)
identifiers = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
plain_text = st.text("abcdefghij-./ ", min_size=1).map(str.strip).filter(bool)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def refusal_of(value: object, annotation: Any) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        convert(value, annotation)
    return str(caught.value)


@given(st.text())
def test_text_arrives_exactly(text: str) -> None:
    assert convert(text, str) == text


@pytest.mark.parametrize("value", [5, 7.3, True, None, ["a"]])
def test_a_number_from_json_is_no_text(value: object) -> None:
    assert refusal_of(value, str) == "must be text"


@given(st.integers())
def test_whole_numbers_round_trip(number: int) -> None:
    assert convert(str(number), int) == convert(f" {number} ", int) == convert(number, int) == number


@pytest.mark.parametrize(
    "value", ["1_000", "1.0", "1e3", "0x10", "", " ", "- 3", "1,000", "nan", "None", True, None, 3.5, [3]]
)
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    assert refusal_of(value, int) == "must be a whole number"


@given(st.integers(-(2**53), 2**53))
def test_a_whole_number_may_come_as_a_float_from_json(number: int) -> None:
    assert repr(convert(float(number), int)) == repr(number)


@given(finite)
def test_numbers_round_trip(number: float) -> None:
    assert repr(convert(repr(number), float)) == repr(convert(number, float)) == repr(number)


@pytest.mark.parametrize(("text", "number"), [("3", 3.0), (".5", 0.5), ("5.", 5.0), ("+1E-3", 0.001), ("-2", -2.0)])
def test_the_usual_spellings_of_a_number_work(text: str, number: float) -> None:
    assert convert(text, float) == number


@pytest.mark.parametrize(
    "value", ["1_000.0", "nan", "inf", "-inf", "infinity", "", ".", "1e", "1,5", "0x1p3", "1 2", True, None, [1.0]]
)
def test_what_is_no_number_is_refused(value: object) -> None:
    assert refusal_of(value, float) == "must be a number"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_numbers_that_are_not_finite_are_refused(value: float) -> None:
    assert "must be a" in refusal_of(value, float)


def test_a_number_beyond_floating_point_is_refused() -> None:
    assert refusal_of("1e999", float) == "must be a finite number"


@pytest.mark.parametrize(
    ("word", "truth"),
    [(word, True) for word in ("true", "yes", "on", "1")] + [(word, False) for word in ("false", "no", "off", "0")],
)
def test_switches_know_the_usual_words_in_any_case(word: str, truth: object) -> None:
    assert convert(word, bool) is convert(word.upper(), bool) is convert(f" {word} ", bool) is truth


@pytest.mark.parametrize("flag", [True, False])
def test_switches_round_trip(flag: object) -> None:
    assert convert(str(flag), bool) is convert(json.dumps(flag), bool) is convert(flag, bool) is flag


@pytest.mark.parametrize("value", ["", "2", "maybe", "tru", "none", 1.0, 2, None, []])
def test_any_other_word_is_no_switch(value: object) -> None:
    assert refusal_of(value, bool) == "must be true or false"


@given(plain_text)
def test_paths_arrive_exactly(text: str) -> None:
    assert convert(text, Path) == convert(Path(text), Path) == Path(text)


def test_a_path_may_begin_at_home() -> None:
    assert convert("~/runs", Path) == Path.home() / "runs"


@pytest.mark.parametrize(("value", "message"), [("", "is empty"), ("  ", "is empty"), (5, "must be text")])
def test_what_is_no_path_is_refused(value: object, message: str) -> None:
    assert message in refusal_of(value, Path)


@pytest.mark.parametrize("text", ["prob", "PROB", " Prob "])
def test_a_choice_is_found_in_any_case(text: str) -> None:
    assert convert(text, Choice) == "prob"


def test_a_choice_of_numbers_takes_the_number_and_its_text() -> None:
    assert convert("2", Literal[1, 2]) == convert(2, Literal[1, 2]) == 2


@pytest.mark.parametrize("value", ["probs", "", None, 1, True])
def test_another_word_is_refused_with_all_choices(value: object) -> None:
    assert refusal_of(value, Choice) == "must be one of: auto, prob, logit"


@pytest.mark.parametrize("value", [True, 1.0, "1.0", 3])
def test_a_choice_of_numbers_takes_nothing_like_them(value: object) -> None:
    assert refusal_of(value, Literal[1, 2]) == "must be one of: 1, 2"


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        ("auto", int | Literal["auto"], "auto"),
        ("4", int | Literal["auto"], 4),
        ("AUTO", bool | Literal["auto"], "auto"),
        ("no", bool | Literal["auto"], False),
        ("none", Path | Literal["auto", "none"], "none"),
        ("none.csv", Path | Literal["auto", "none"], Path("none.csv")),
        (None, int | None, None),
        ("3", int | None, 3),
        ("x", str | None, "x"),
        ("1,2", tuple[float, ...] | None, (1.0, 2.0)),
    ],
)
def test_a_union_takes_each_of_its_types_and_fixed_words_first(
    value: object, annotation: Any, expected: object
) -> None:
    converted = convert(value, annotation)
    assert converted == expected
    assert type(converted) is type(expected)


def test_a_union_refuses_with_all_that_is_valid() -> None:
    assert refusal_of("many", int | Literal["auto"]) == "must be auto|INT"


def test_what_may_be_left_out_is_refused_as_its_own_type() -> None:
    assert refusal_of("many", int | None) == "must be a whole number"
    assert refusal_of("", Path | None) == "must be a path, but is empty"


@given(st.lists(finite, min_size=1))
def test_tuples_round_trip_from_commas_and_from_json(numbers: list[float]) -> None:
    expected = tuple(numbers)
    assert convert(",".join(map(repr, numbers)), tuple[float, ...]) == expected
    assert convert(json.loads(json.dumps(numbers)), tuple[float, ...]) == expected


def test_the_parts_of_a_tuple_lose_the_spaces_around_them() -> None:
    assert convert("console , csv", tuple[str, ...]) == ("console", "csv")


def test_an_empty_list_from_json_is_an_empty_tuple() -> None:
    assert convert([], tuple[str, ...]) == ()


@pytest.mark.parametrize("text", ["", ",", "a,", ",a", "a,,b", "a, ,b"])
def test_an_empty_part_of_a_tuple_is_refused(text: str) -> None:
    assert refusal_of(text, tuple[str, ...]) == "has an empty part between its commas"


@pytest.mark.parametrize(("value", "message"), [("1,x", "must be a number"), (5, "must be FLOAT"), ([True], "number")])
def test_a_tuple_is_refused_by_its_parts(value: object, message: str) -> None:
    assert message in refusal_of(value, tuple[float, ...])


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([",", "x", "X", "×", " ", ", ", " x "]))
def test_sizes_take_every_usual_spelling(height: int, width: int, separator: str) -> None:
    assert convert(f"{height}{separator}{width}", Size) == convert([height, width], Size) == (height, width)


@given(st.integers(0, 10**6))
def test_one_number_is_a_square(side: int) -> None:
    assert convert(str(side), Size) == convert(side, Size) == (side, side)


@pytest.mark.parametrize(
    "value", ["", "a", "1,2,3", "12.5", "-3", "128x", "x96", "1_0", True, None, [1.5, 2], [1, 2, 3], []]
)
def test_what_is_no_size_is_refused(value: object) -> None:
    assert "height and width: 128,96 or 128x96" in refusal_of(value, Size)


@given(st.dictionaries(st.text(), json_values))
def test_options_round_trip_as_json(options: Options) -> None:
    assert convert(json.dumps(options), Options) == convert(options, Options) == options


@given(st.dictionaries(identifiers, st.integers() | finite | st.booleans() | st.none()))
def test_options_round_trip_as_pairs(options: Options) -> None:
    typed = ",".join(f"{name}={json.dumps(value)}" for name, value in options.items())
    assert convert(typed, Options) == convert(typed.replace(",", " , "), dict) == options


@pytest.mark.parametrize("text", ["mean", "x=y", "007", "1_000", "None", "it's", "a#b", ""])
def test_an_option_that_is_no_json_stays_the_text_it_was(text: str) -> None:
    assert convert(f"name={text}", Options) == {"name": text}


def test_no_options_at_all_are_none() -> None:
    assert convert("", Options) == convert("{}", Options) == convert({}, Options) == {}


@pytest.mark.parametrize("value", ["gamma", "=1", "a b=1", "1a=1", "[1]", "5", 5, [1], None])
def test_what_are_no_options_is_refused(value: object) -> None:
    assert refusal_of(value, Options) == "must be key=value,key=value or a JSON object"


def test_an_option_given_twice_is_refused() -> None:
    assert refusal_of("gamma=1,gamma=2", Options) == "gives gamma twice"


def test_broken_json_is_refused_with_its_place() -> None:
    assert refusal_of('{"gamma": }', Options) == "is no JSON (Expecting value at character 11)"


@given(json_values)
def test_a_type_that_is_not_known_lets_the_value_pass(value: object) -> None:
    assert convert(value, Any) is value
    assert convert(value, list[int]) is value


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "INT"),
        (bool, "true|false"),
        (Path | None, "PATH"),
        (int | Literal["auto"], "auto|INT"),
        (Literal["a", "b"], "a|b"),
        (tuple[int, int], "HxW"),
        (tuple[float, ...] | None, "FLOAT,.."),
        (dict[str, Any], "OPTIONS"),
        (list[int], "VALUE"),
    ],
)
def test_help_and_errors_name_a_type(annotation: Any, words: str) -> None:
    assert describe(annotation) == words
