"""From the words of a command line to a checked config: each trap that Fire has by itself stays closed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskkit.cli.arguments import Arguments, read_arguments
from maskkit.config import (
    EvaluateConfig,
    ListPluginsConfig,
    PredictConfig,
    TrainConfig,
    VersionConfig,
    VoteConfig,
)
from maskkit.errors import UnknownNameError, UsageError
from maskkit.flags import MISSING, Layer, as_json, build, flag, flags_of, read_config_file

CONFIGS = [TrainConfig, PredictConfig, EvaluateConfig, VoteConfig, ListPluginsConfig, VersionConfig]
SEED_FLAGS = ["seed", "epochs", "classification", "dataset", "augmentation", "resize", "batch_size", "valid_batch_size"]
SEED_FLAGS += ["model", "optimizer", "lr", "val_ratio", "criterion", "lr_decay_step", "log_interval", "name"]
SEED_FLAGS += ["data_dir", "model_dir"]


@dataclass(frozen=True, kw_only=True)
class Flags:
    """Flags of every sort, and no words."""

    lr: float = flag(0.1, "Learning rate.", above=0)
    batch_size: int = flag(8, "Images a step.", minimum=1, maximum=64)
    name: str = flag("exp", "Name.")
    resize: tuple[int, int] = flag((64, 48), "Size.", minimum=16)
    weights: tuple[float, ...] | None = flag(None, "Weights.", minimum=0)
    strict: bool = flag(False, "Strict.")  # noqa: FBT003  a default
    pretrained: bool | Literal["auto"] = flag("auto", "Pretrained.")
    no_cache: bool = flag(False, "No cache.")  # noqa: FBT003  a default
    options: dict[str, Any] = flag({}, "Options.")


@dataclass(frozen=True, kw_only=True)
class OneWord(Flags):
    """A word that is needed."""

    source: Path = flag(MISSING, "What to read.", word=True)


@dataclass(frozen=True, kw_only=True)
class ManyWords(Flags):
    """As many words as one likes."""

    files: tuple[Path, ...] = flag((), "What to read.", word=True)


def read(*tokens: str, config: type = Flags) -> Arguments:
    return read_arguments(tokens, flags_of(config), "bake")


def flags_read(*tokens: str) -> dict[str, str]:
    arguments = read(*tokens)
    assert arguments.words == []
    return arguments.flags


def refusal_of(*tokens: str, config: type = Flags) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read(*tokens, config=config)
    return caught.value


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--lr=0.1", {"lr": "0.1"}),
        ("--lr 0.1", {"lr": "0.1"}),
        ("--batch_size=4", {"batch_size": "4"}),
        ("--batch-size=4", {"batch_size": "4"}),
        ("--batch-size 4", {"batch_size": "4"}),
        ("--name=a=b", {"name": "a=b"}),
        ("--name=", {"name": ""}),
        ("--lr 0.1 --batch-size=4 --name x", {"lr": "0.1", "batch_size": "4", "name": "x"}),
    ],
)
def test_a_flag_is_spelled_with_dash_or_underscore_equals_or_space(line: str, expected: dict[str, str]) -> None:
    assert flags_read(*line.split()) == expected


@given(st.text())
def test_the_exact_text_after_the_equals_sign_arrives(text: str) -> None:
    assert flags_read(f"--name={text}") == {"name": text}


@given(st.text().filter(lambda text: not text.startswith("-")))
def test_the_exact_text_of_the_next_word_arrives(text: str) -> None:
    assert flags_read("--name", text) == {"name": text}
    assert read(text, config=OneWord).words == [text]


@pytest.mark.parametrize("text", ["1_000", "a#b", "None", "7.30", "a,b", "'quoted'", '"', "[1]", "{}", "0x10", "1e3"])
def test_what_looks_like_python_stays_text(text: str) -> None:
    assert flags_read(f"--name={text}", "--options", text) == {"name": text, "options": text}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--resize 224 224", "224,224"),
        ("--resize 224", "224"),
        ("--resize=224,192", "224,192"),
        ("--resize 224x192", "224x192"),
        ("--resize 224 --lr=1", "224"),
    ],
)
def test_a_size_takes_one_or_two_numbers(line: str, text: str) -> None:
    assert flags_read(*line.split())["resize"] == text


@pytest.mark.parametrize("line", ["--resize 224 224 224", "--resize=224 224", "--resize 224x192 3", "--resize 224 x"])
def test_a_size_takes_no_third_number_and_no_other_word(line: str) -> None:
    assert refusal_of(*line.split()).message == f"unexpected word {line.rsplit(maxsplit=1)[-1]!r}"


@pytest.mark.parametrize("text", ["-1", "-0.5", "-.5", "-1e-3", "-2,3"])
def test_a_negative_number_is_a_value_and_no_flag(text: str) -> None:
    assert flags_read("--lr", text, "--name=x") == {"lr": text, "name": "x"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--strict", {"strict": "true"}),
        ("--strict --lr 1", {"strict": "true", "lr": "1"}),
        ("--strict=false", {"strict": "false"}),
        ("--strict no", {"strict": "no"}),
        ("--no-strict", {"strict": "false"}),
        ("--no_strict", {"strict": "false"}),
        ("--pretrained", {"pretrained": "true"}),
        ("--no-pretrained", {"pretrained": "false"}),
        ("--pretrained auto", {"pretrained": "auto"}),
        ("--no-cache", {"no_cache": "true"}),
        ("--no-no-cache", {"no_cache": "false"}),
    ],
)
def test_a_switch_stands_alone_or_takes_a_value_and_has_a_negation(line: str, expected: dict[str, str]) -> None:
    assert flags_read(*line.split()) == expected


def test_a_switch_leaves_the_next_word_alone() -> None:
    assert read("--strict", "face.csv", "--lr=1", config=OneWord) == Arguments(
        ["face.csv"], {"strict": "true", "lr": "1"}
    )
    assert refusal_of("--strict", "maybe").message == "unexpected word 'maybe'"


def test_a_negation_takes_no_value() -> None:
    assert refusal_of("--no-strict=false").message == "--no-strict takes no value; received 'false'"


def test_only_a_switch_has_a_negation() -> None:
    assert refusal_of("--no-lr").message == "unknown flag --no-lr"


@pytest.mark.parametrize(
    "line",
    [
        "--batch_size=1 --batch-size=2",
        "--batch-size 1 --lr=1 --batch_size 2",
    ],
)
def test_a_flag_given_twice_is_refused_whatever_its_spelling(line: str) -> None:
    assert refusal_of(*line.split()).message == "--batch_size is given twice: '1' and '2'"


def test_a_switch_and_its_negation_are_one_flag() -> None:
    assert refusal_of("--strict", "--no-strict").message == "--strict is given twice: 'true' and 'false'"


@pytest.mark.parametrize("token", ["-", "--", "-x", "-lr=3", "--=3", "-=", "-inf"])
@pytest.mark.parametrize("config", [Flags, OneWord, ManyWords])
def test_what_only_begins_like_a_flag_is_refused(token: str, config: type) -> None:
    assert refusal_of(token, config=config).message == f"{token!r} is no flag"
    assert refusal_of("--strict", token, "x", config=config).message == f"{token!r} is no flag"


@pytest.mark.parametrize("config", [Flags, OneWord, ManyWords])
@pytest.mark.parametrize(
    ("token", "near"),
    [
        ("--nmae=x", "--name"),
        ("--batchsize=1", "--batch_size"),
        ("--batch-sise", "--batch_size"),
        ("--RESIZE=9", "--resize"),
        ("---resize=9", "--resize"),
        ("--pretraind", "--pretrained"),
    ],
)
def test_an_unknown_flag_names_the_nearest(token: str, near: str, config: type) -> None:
    refusal = refusal_of(token, config=config)
    assert isinstance(refusal, UnknownNameError)
    assert refusal.message == f"unknown flag {token.partition('=')[0]}"
    assert refusal.hint == f"Did you mean {near}?"


def test_an_unknown_flag_that_is_near_none_points_to_the_help() -> None:
    assert refusal_of("--zzz=1").hint == "All flags: maskkit bake --help"


def test_an_unknown_flag_is_refused_wherever_it_stands() -> None:
    assert refusal_of("a", "--lr=1", "b", "--zzz", config=ManyWords).message == "unknown flag --zzz"


def test_a_word_cannot_be_given_as_a_flag() -> None:
    assert refusal_of("--source=x", config=OneWord).message == "unknown flag --source"


@pytest.mark.parametrize("line", ["--lr", "--lr --strict", "--lr -x", "--strict --lr"])
def test_a_flag_without_its_value_says_what_it_needs(line: str) -> None:
    refusal = refusal_of(*line.split())
    assert refusal.message == "--lr needs a value"
    assert refusal.hint == "Type --lr=FLOAT. Learning rate."


@pytest.mark.parametrize("word", ["lr=3", "lr", "LR"])
def test_a_stray_word_like_a_flag_names_it(word: str) -> None:
    refusal = refusal_of(word)
    assert refusal.message == f"unexpected word {word!r}"
    assert refusal.hint == "Did you mean --lr?"


def test_any_other_stray_word_points_to_the_help() -> None:
    assert refusal_of("zzz").hint == "Flags begin with --; see: maskkit bake --help"


def test_a_second_word_is_refused_where_one_has_a_place() -> None:
    assert refusal_of("a", "--lr=1", "b", config=OneWord).message == "unexpected word 'b'"


def test_a_missing_word_is_named_with_the_line_to_type() -> None:
    refusal = refusal_of("--lr=1", config=OneWord)
    assert refusal.message == "SOURCE is missing: What to read."
    assert refusal.hint == "Type: maskkit bake SOURCE"


@given(st.lists(st.sampled_from(["a.csv", "None", "1_000", "-5", "x=y", "", "lr", "--lr=1", "--strict"]), unique=True))
def test_words_keep_their_order_among_flags(tokens: list[str]) -> None:
    words = [token for token in tokens if not token.startswith("--")]
    assert read(*tokens, config=ManyWords).words == words


@pytest.mark.parametrize("name", SEED_FLAGS)
def test_a_user_of_the_original_finds_each_flag(name: str) -> None:
    flags = flags_of(TrainConfig)
    for spelled in (f"--{name}", f"--{name.replace('_', '-')}"):
        assert read_arguments([spelled, "7"], flags, "train").flags == {name: "7"}


def test_the_command_line_of_the_original_is_understood() -> None:
    line = "--epochs 30 --batch_size 16 --criterion cross_entropy --classification multi --model Efficientnet_b4"
    config, _ = build(TrainConfig, [Layer("flag", read_arguments(line.split(), flags_of(TrainConfig), "train").flags)])
    assert (config.epochs, config.batch_size, config.model) == (30, 16, "Efficientnet_b4")


@pytest.mark.parametrize("config", CONFIGS)
def test_every_flag_has_a_sentence_a_type_and_a_name_without_dashes(config: type) -> None:
    for one in flags_of(config).values():
        assert one.text.endswith("."), one.name
        assert one.type_name != "VALUE", one.name
        assert one.name.isidentifier()


@pytest.mark.parametrize("config", CONFIGS)
def test_every_default_passes_its_own_check_and_survives_json(config: type[Any]) -> None:
    words: dict[str, object] = {one.name: "x" for one in flags_of(config).values() if one.default is MISSING}
    defaults, sources = build(config, [Layer("flag", words)])
    assert {name for name, source in sources.items() if source != "default"} == set(words)
    again, _ = build(config, [Layer("file", json.loads(json.dumps(as_json(defaults))))])
    assert again == defaults


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("lr", "0", "--lr must be above 0; received '0'"),
        ("lr", "abc", "--lr must be a number; received 'abc'"),
        ("batch_size", "0", "--batch_size must be at least 1; received '0'"),
        ("batch_size", "65", "--batch_size must be at most 64; received '65'"),
        ("batch_size", "1_000", "--batch_size must be a whole number; received '1_000'"),
        ("resize", "64x15", "--resize must be at least 16; received '64x15'"),
        ("weights", "1,-1", "--weights must be at least 0; received '1,-1'"),
        ("strict", "maybe", "--strict must be true or false; received 'maybe'"),
        ("options", "gamma", "--options must be key=value,key=value or a JSON object; received 'gamma'"),
    ],
)
def test_a_value_out_of_its_type_or_bounds_names_flag_text_and_rule(name: str, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(Flags, [Layer("flag", {name: text})])
    assert str(caught.value) == message


def test_later_layers_win_and_each_value_knows_where_it_came_from() -> None:
    layers = [Layer("file.json", {"lr": 0.5, "batch_size": 4}), Layer("flag", {"lr": "0.25"})]
    config, sources = build(Flags, layers)
    assert (config.lr, config.batch_size, config.name) == (0.25, 4, "exp")
    assert (sources["lr"], sources["batch_size"], sources["name"]) == ("flag", "file.json", "default")


def test_the_default_options_of_two_configs_are_not_one_object() -> None:
    first, _ = build(Flags, [])
    second, _ = build(Flags, [])
    assert first.options == second.options == {}
    assert first.options is not second.options


def test_a_config_file_may_be_a_runs_or_plain_and_spelled_with_dashes(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for content in ({"batch-size": 4}, {"maskkit": "0.1.0", "values": {"batch_size": 4}, "origins": {}}):
        path.write_text(json.dumps(content), encoding="utf-8")
        layer = read_config_file(path)
        assert (layer.source, layer.values) == (str(path), {"batch_size": 4})


def test_a_wrong_value_in_a_config_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"batch-size": "many"}', encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        build(Flags, [read_config_file(path)])
    assert caught.value.message == f"{path}: --batch_size must be a whole number; received 'many'"


def test_an_unknown_name_in_a_config_file_names_the_file_and_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"bach_size": 4}', encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        build(Flags, [read_config_file(path)])
    assert caught.value.message == f"unknown name 'bach_size' in {path}"
    assert caught.value.hint == "Did you mean batch_size?"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epochs: 3", "is no JSON"),
        (b"", "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b"[1, 2]", "must hold a JSON object"),
        (b'{"values": 3}', "must hold a JSON object"),
    ],
)
def test_a_file_that_holds_no_flags_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="--config") as caught:
        read_config_file(path)
    assert f"{path} {message}" in caught.value.message
