"""What the README shows is run: its commands, and their output but for the numbers and the times."""

import re
import shlex
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, Overlay
from experiments import home_of
from numpy.typing import NDArray
from PIL import Image
from shown import assert_happens, blocks, shown_commands
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from maskkit.cli.arguments import read_arguments
from maskkit.cli.catalogue import COMMANDS
from maskkit.cli.shell import flags_with_files
from maskkit.config import TrainConfig
from maskkit.flags import Layer, build, flags_of, read_preset
from maskkit.labels import age_group, encode

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_installs_in_two_commands() -> None:
    installs = [shown.command for shown in shown_commands(README) if "pip install" in shown.command]
    assert installs[0].startswith("pip install . && maskkit train")
    assert installs[-1] == "pip install '.[test]' && pytest"


@pytest.mark.parametrize(
    "line", [line for block in blocks("sh", README) for line in block.splitlines()], ids=lambda line: str(line)[:60]
)
def test_commands_for_bigger_machines_are_understood(line: str) -> None:
    program, name, *tokens = shlex.split(line)
    assert program == "maskkit"
    command = COMMANDS[name]
    flags = flags_with_files(command)
    arguments = read_arguments(tokens, flags, name)
    words = zip((one.name for one in flags.values() if one.word), arguments.words, strict=False)
    values = dict(words) | arguments.flags
    layers = [read_preset(values.pop("preset"))] if "preset" in values else []
    build(command.config, [*layers, Layer("flag", values)])


def test_the_plugin_shown_is_the_one_in_the_examples() -> None:
    package = ROOT / "examples" / "maskkit-hello"
    files = [package / "maskkit_hello" / "__init__.py", package / "maskkit_hello" / "losses.py"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in [*files, package / "pyproject.toml"])
    for block in blocks("python", README) + blocks("toml", README):
        assert block in code


def test_the_commands_of_the_example_are_those_run_here() -> None:
    example = (ROOT / "examples" / "maskkit-hello" / "README.md").read_text(encoding="utf-8")
    run_here = {shown.command for shown in shown_commands(README)}
    assert {shown.command for shown in shown_commands(example)} <= run_here


def test_the_flags_of_the_original_are_all_there() -> None:
    names = "seed epochs classification dataset augmentation resize batch_size valid_batch_size model optimizer lr"
    names += " val_ratio criterion lr_decay_step log_interval name data_dir model_dir"
    assert set(names.split()) <= set(flags_of(TrainConfig))


def test_every_package_of_plugins_is_named_and_there() -> None:
    packages = {path.parent.name for path in (ROOT / "plugins").glob("*/pyproject.toml")}
    assert set(re.findall(r"\]\(plugins/(maskkit-[\w-]+)\)", README)) == packages


@pytest.mark.slow
def test_everything_shown_happens_as_shown(overlay: Overlay, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    overlay.cache = tmp_path / "cache"  # with no faces in it
    home = home_of(tmp_path / "home", overlay.environment)  # where NNI keeps its experiments
    overlay.environment = home | {"XDG_CACHE_HOME": str(overlay.cache)}
    for shown in shown_commands(README):
        if "pytest" not in shown.command:
            assert_happens(shown, overlay, tmp_path)
    check_the_first_result(tmp_path / "runs" / "exp", overlay.cache)
    check_that_pixels_alone_fall_short(tmp_path / "runs" / "exp", overlay.cache)


def check_the_first_result(run: Path, cache: Path) -> None:
    """The main job reaches what the README promises, on held-out people and on people drawn apart."""
    held_out = pd.read_csv(run / "predictions" / "valid_soft.csv")
    valid = f1_score(held_out["truth"], held_out["ans"], average="macro")
    assert valid >= 0.85
    answers = next(cache.glob("maskkit/drawn-faces-*/eval/answers.csv"))
    both = pd.read_csv(answers).merge(pd.read_csv(run / "predictions" / "eval_hard.csv"), on="ImageID")
    assert abs(f1_score(both["ans_x"], both["ans_y"], average="macro") - valid) <= 0.05


def check_that_pixels_alone_fall_short(run: Path, cache: Path) -> None:
    """Logistic regression on small pictures of the same people stays far below the network."""
    images = next(cache.glob("maskkit/drawn-faces-*/train/images"))
    table = pd.read_csv(run / "samples.csv")
    pixels = np.stack([small_pixels(images / sample) for sample in table["sample"]])
    groups = [age_group(age) for age in table["age"]]
    labels = zip(table["mask"], table["gender"], groups, strict=True)
    answers = np.array([encode(mask, gender, group) for mask, gender, group in labels])
    held_out = (table["fold"] == 0).to_numpy()
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it has long overfitted by then
        regression.fit(pixels[~held_out], answers[~held_out])
    assert f1_score(answers[held_out], regression.predict(pixels[held_out]), average="macro") < 0.6


def small_pixels(path: Path) -> NDArray[np.float64]:
    with Image.open(path) as image:
        return np.asarray(image.resize((32, 32)), dtype=np.float64).ravel() / 255
