"""What a run learns with: each recipe survives a kill to the same bits, and no number of workers changes any."""

import json
import signal
from pathlib import Path

import pytest
import torch
from conftest import Runner, write_faces
from resumed import RECIPES, SMALL, assert_same_run, attempt, done_of, log_of, resume

from maskkit.cli.arguments import read_arguments
from maskkit.config import TrainConfig
from maskkit.engine.checkpoint import Checkpoint
from maskkit.flags import Layer, as_json, as_words, build, flags_of, read_preset

EVERY = tuple(" ".join(RECIPES.values()).split())


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces") / "images", people=18)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_killed_in_its_second_or_third_epoch_ends_with_the_same_bits(
    faces: Path, tmp_path: Path, recipe: str
) -> None:
    words = ("train", f"--data_dir={faces}", *SMALL, "--epochs=4", *RECIPES[recipe].split())
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    assert attempt(whole, words) == 0, log_of(whole)
    assert attempt(broken, words, fatal_write=2 * (2 + 2 * 2) + 1) == -signal.SIGKILL
    assert 1 <= done_of(broken) < 4
    assert resume(broken).startswith("exit code 0"), log_of(broken)
    assert_same_run(broken / "runs" / "exp", whole / "runs" / "exp")


@pytest.mark.slow
def test_every_recipe_together_gives_the_same_bits_for_any_number_of_workers(
    maskkit: Runner, faces: Path, tmp_path: Path
) -> None:
    for workers in (0, 1, 3):
        words = (f"--data_dir={faces}", *SMALL[:1], f"--num_workers={workers}", "--epochs=3", *EVERY)
        outcome = maskkit("train", *words, f"--name=with-{workers}")
        assert outcome.code == 0, outcome.err
    for workers in (1, 3):
        assert_same_run(tmp_path / "runs" / f"with-{workers}", tmp_path / "runs" / "with-0")


@pytest.mark.slow
def test_best_holds_the_average_of_the_weights_and_predicts_alike(maskkit: Runner, faces: Path, tmp_path: Path) -> None:
    outcome = maskkit("train", f"--data_dir={faces}", *SMALL, "--epochs=1", "--ema_decay=0.9", "--eval_dir=none")
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "runs" / "exp" / "checkpoints"
    best, last = (Checkpoint.load(folder / f"{which}.safetensors").state for which in ("best", "last"))
    averages = {name.removeprefix("module."): tensor for name, tensor in last["averages"].items()}
    assert all(torch.equal(tensor, averages[name]) for name, tensor in best["model"].items())
    moved = [not torch.equal(tensor, last["model"][name]) for name, tensor in best["model"].items()]
    assert sum(moved) > len(moved) / 2


@pytest.mark.slow
def test_what_is_frozen_stands_still_until_its_epochs_are_over(maskkit: Runner, faces: Path, tmp_path: Path) -> None:
    first = ("train", f"--data_dir={faces}", *SMALL, "--lr=0.01", "--eval_dir=none")
    for epochs, name in ((1, "frozen"), (2, "thawed")):
        outcome = maskkit(*first, f"--epochs={epochs}", "--freeze_epochs=1", f"--name={name}")
        assert outcome.code == 0, outcome.err
    still = maskkit(*first, "--epochs=1", "--optimizer=SGD", "--freeze_epochs=1")
    assert still.code == 0, still.err
    frozen, thawed, other = (
        Checkpoint.load(tmp_path / "runs" / name / "checkpoints" / "last.safetensors").state["model"]
        for name in ("frozen", "thawed", "exp")
    )
    last = {name for name in frozen if name.startswith(list(frozen)[-1].rpartition(".")[0])}
    for name, tensor in frozen.items():
        assert torch.equal(tensor, other[name]) == (name not in last), name  # whatever the optimizer would have done
        if tensor.is_floating_point():
            assert not torch.equal(tensor, thawed[name]), name


def test_the_preset_baseline_is_the_defaults_and_strong_names_the_same_flags() -> None:
    baseline, strong = (read_preset(name).values for name in ("baseline", "strong"))
    defaults = as_json(TrainConfig())
    assert dict(baseline) == {name: defaults[name] for name in baseline}
    assert list(strong) == list(baseline)
    assert strong != baseline
    assert not {"drop_ages", "old_from", "relabel", "seed", "data_dir", "model"} & set(strong)


@pytest.mark.parametrize("name", ["baseline", "strong"])
def test_a_preset_can_be_typed_as_flags(name: str) -> None:
    """As a search does, which starts its trials by words."""
    expected, _ = build(TrainConfig, [read_preset(name)])
    values = {flag: getattr(expected, flag) for flag in read_preset(name).values}
    typed = read_arguments(as_words(values), flags_of(TrainConfig), "train")
    assert build(TrainConfig, [Layer("flag", dict(typed.flags))])[0] == expected


@pytest.mark.slow
def test_a_preset_gives_way_to_a_file_and_a_file_to_a_flag(maskkit: Runner, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(json.dumps({"lr": 0.002, "weight_decay": 0.5}), encoding="utf-8")
    words = ("--preset=strong", "--config=own.json", "--weight_decay=0.25", "--epochs=1", "--resize=32")
    outcome = maskkit("train", f"--data_dir={faces}", *words, "--eval_dir=none")
    assert outcome.code == 0, outcome.err
    content = json.loads((tmp_path / "runs" / "exp" / "config.json").read_text(encoding="utf-8"))
    strong = read_preset("strong").values
    values, origins = content["values"], content["origins"]
    assert (values["weight_decay"], origins["weight_decay"]) == (0.25, "flag")
    assert (values["lr"], origins["lr"]) == (0.002, "own.json")
    assert (values["optimizer"], origins["optimizer"]) == (strong["optimizer"], "preset strong")
    assert values["ema_decay"] == strong["ema_decay"]
    refused = maskkit("train", "--resume=runs/exp", "--preset=baseline")
    assert refused.code == 2
    assert "--resume=runs/exp and --preset=baseline exclude each other" in refused.err


REFUSED = {
    "--criterion=focal+": "a loss is missing beside a +",
    "--criterion=focal+focal": "names focal twice",
    "--criterion=0*focal": "'0' is no weight above 0",
    "--criterion=two*focal": "'two' is no weight above 0",
    "--criterion=focal+cros_entropy": "unknown loss 'cros_entropy'\n  Did you mean cross_entropy?",
    "--criterion=focal+f1 --criterion_args=gamma=1": "--criterion_args must hold an object for gamma",
    '--criterion=focal+f1 --criterion_args={"label_smoothing":{}}': "which --criterion=focal+f1 has not",
    '--criterion=focal+f1 --criterion_args={"focal":{"gama":1}}': "loss focal has no option 'gama'",
    "--criterion=f1 --class_weights=balanced": "the loss f1 takes no class weights",
    "--criterion=label_smoothing --label_smoothing=0.1": "both smooth the labels",
    "--label_smoothing=1": "--label_smoothing must be at most 0.9",
    "--mix_probability=0.5": "--mix_probability=0.5 is given, but nothing is mixed",
    "--mix=cutmix --mix_probability=0": "--mix_probability must be above 0",
    "--resize_from=256": "--resize_from=256x256 is larger than --resize=128x96",
    "--ema_decay=1": "--ema_decay must be at most 0.99999",
    "--first_layer_lr=0": "--first_layer_lr must be above 0",
    "--scheduler=cosine --scheduler_args=warmup_epochs=9 --epochs=9": "warmup_epochs must be 0 or more and less than",
    "--balance=age": "--balance must be one of: none, class, person_age",
    "--preset=best": "--preset must be one of: baseline, strong",
    "--test_flip=yes": "--test_flip must be one of: no, predictions, always",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_makes_no_sense_is_refused_before_there_is_a_folder(
    maskkit: Runner, faces: Path, tmp_path: Path, words: str
) -> None:
    outcome = maskkit("train", f"--data_dir={faces}", *words.split())
    assert outcome.code == 2, outcome.err
    assert REFUSED[words] in outcome.err
    assert not (tmp_path / "runs").exists()
