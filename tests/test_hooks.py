"""What the hooks' docstrings show works as it stands there, and plugins/HOOKS.md is what the code says."""

import math
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, run, write_faces
from PIL import Image

from maskkit import Augmentation, Draws, EpochEnd, EpochStart, RunEnd, RunStart, Samples, Schedule, Search, StepEnd
from maskkit.cli.guests import guest_command
from maskkit.cli.help import command_help
from maskkit.cli.reference import COMMAND, example, reference
from maskkit.config import TrainConfig, TuneConfig, VoteConfig
from maskkit.engine.objective import Objective
from maskkit.ensemble import vote
from maskkit.errors import UsageError
from maskkit.flags import Layer, build, flags_of
from maskkit.labels import VIEWS
from maskkit.plugin.discovery import State, discover
from maskkit.plugin.hookspecs import KINDS
from maskkit.plugin.part import Part
from maskkit.plugin.registry import Registry
from maskkit.readings import read_words
from maskkit.reporting.events import METRIC_COLUMNS
from maskkit.reporting.reporter import Reporters

Find = Callable[..., Part]


def write_plugin(kind: str, folder: Path) -> Path:
    """Write what the hook of a kind shows into a file of a folder of its own."""
    folder.mkdir()
    (folder / "my_plugin.py").write_text(example(kind), encoding="utf-8")
    return folder


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Find]:
    """Find the component that the hook of a kind shows, as a run does: `shown("model", width="8")`."""

    def find(kind: str, **options: object) -> Part:
        monkeypatch.syspath_prepend(write_plugin(kind, tmp_path / "site"))
        (plugin,) = discover({}, [EntryPoint("mine", "my_plugin", "maskkit")])
        assert (plugin.state, plugin.cause) == (State.OK, "")
        ((offered, (component,)),) = plugin.components.items()
        assert offered == kind
        return Part.find(Registry([plugin]), kind, component.name, options)

    yield find
    sys.modules.pop("my_plugin", None)


def test_the_committed_reference_is_the_one_that_the_code_makes() -> None:
    committed = (ROOT / "plugins" / "HOOKS.md").read_text(encoding="utf-8")
    assert committed == reference(), f"plugins/HOOKS.md is not what the code says; type: {COMMAND}"


def test_the_command_prints_the_reference_and_loads_nothing_heavy(environment: dict[str, str]) -> None:
    code = "import runpy, sys\nrunpy.run_module('maskkit.cli.reference', run_name='__main__')\n"
    code += "print(*{'torch', 'numpy', 'pandas'} & set(sys.modules), file=sys.stderr)"
    done = run(sys.executable, "-c", code, env=environment, cwd=ROOT)
    assert (done.code, done.out, done.err.strip()) == (0, reference(), "")


def test_the_reference_has_every_hook_and_what_it_is_about() -> None:
    text = reference()
    for kind, hook in KINDS.items():
        assert f"| [{kind}](#{kind}) | `{hook.__name__}` |" in text
        assert f"```python\n{example(kind)}\n```" in text


@pytest.mark.parametrize("kind", KINDS)
def test_the_docstring_of_a_hook_names_the_flag_that_chooses_one(kind: str) -> None:
    flags = [flag for config in (TrainConfig, VoteConfig, TuneConfig) for flag in flags_of(config).values()]
    spelled = [f"--{flag.name}=NAME" for flag in flags if flag.kind == kind] or ["maskkit NAME"]
    for spelling in spelled:
        assert spelling in (KINDS[kind].__doc__ or "")


@pytest.mark.parametrize("kind", KINDS)
def test_every_hook_shows_an_example_that_is_tested_here(kind: str) -> None:
    assert f"def {KINDS[kind].__name__}()" in example(kind)
    assert any(name.startswith(f"test_the_{kind}_shown_") for name in globals()), f"write test_the_{kind}_shown_.."


def test_what_is_shown_is_listed_without_loading_anything_heavy(environment: dict[str, str], tmp_path: Path) -> None:
    code = """
import sys
from importlib.metadata import EntryPoint
from maskkit.plugin.discovery import discover

for folder in sys.argv[1:]:
    sys.path.insert(0, folder)
    (plugin,) = discover({}, [EntryPoint("mine", "my_plugin", "maskkit")])
    print(plugin.state, *plugin.components, *{"torch", "numpy", "pandas", "PIL"} & set(sys.modules))
    sys.path.remove(folder)
    del sys.modules["my_plugin"]
"""
    folders = [write_plugin(kind, tmp_path / kind) for kind in KINDS]
    done = run(sys.executable, "-c", code, *folders, env=environment, cwd=ROOT)
    assert done.out.splitlines() == [f"OK {kind}" for kind in KINDS], done.err


def test_the_model_shown_gives_logits_and_learns(shown: Find) -> None:
    network = shown("model", width="5").build(18, pretrained=False)
    logits = network(torch.rand(2, 3, 32, 24))
    assert (logits.shape, logits.dtype) == ((2, 18), torch.float32)
    assert next(network.parameters()).shape[0] == 5
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("view", ["multi", "multihead"])
def test_the_loss_shown_gives_a_scalar_with_a_gradient_for_classes_and_for_soft_targets(shown: Find, view: str) -> None:
    part = shown("loss", temperature="2")
    objective = Objective(VIEWS[view], part.build, np.arange(18))
    logits = torch.randn(18, VIEWS[view].num_outputs, requires_grad=True)
    loss = objective(logits, torch.arange(18))
    loss.backward()
    assert loss.shape == ()
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0
    assert part.component.soft_targets
    torch.testing.assert_close(objective(logits, torch.eye(18)), loss)


def test_the_loss_shown_knows_nothing_at_a_great_heat(shown: Find) -> None:
    loss = shown("loss", temperature="1e9").build(num_classes=3, class_counts=np.ones(3, dtype=np.int64))
    assert loss(torch.randn(4, 3), torch.tensor([0, 1, 2, 0])).item() == pytest.approx(math.log(3))


def test_the_augmentation_shown_prepares_and_varies(shown: Find) -> None:
    augmentation = shown("augmentation").build(size=(40, 32))
    assert isinstance(augmentation, Augmentation)
    noise = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    prepared = augmentation.prepare(Image.fromarray(noise))
    assert (prepared.shape, prepared.dtype) == ((3, 40, 32), torch.uint8)
    in_a_worker = pickle.loads(pickle.dumps(augmentation.prepare))  # noqa: S301  our own bytes
    assert torch.equal(in_a_worker(Image.fromarray(noise)), prepared)

    assert augmentation.augment is not None
    images = (prepared / 255).repeat(64, 1, 1, 1)
    varied, again = (augmentation.augment(images.clone(), Draws(1, 0, torch.arange(64))) for _ in range(2))
    assert (varied.shape, varied.dtype) == (images.shape, torch.float32)
    assert torch.equal(varied, again)
    mirrored = int((varied != images).flatten(1).any(dim=1).sum())
    assert 16 < mirrored < 48
    assert not torch.equal(varied, augmentation.augment(images.clone(), Draws(1, 1, torch.arange(64))))


def test_the_mix_shown_mixes_targets_in_the_shares_of_the_images(shown: Find) -> None:
    mix = shown("mix", most="0.4").build(num_classes=18)
    answers = torch.tensor([0, 5, 17, 9])
    images = (answers / 17)[:, None, None, None].expand(4, 3, 8, 6)
    targets = torch.eye(18)[answers]
    mixed, shares = mix(images, targets, Draws(1, 0, torch.arange(4)))
    assert (mixed.shape, shares.shape) == (images.shape, targets.shape)
    assert not torch.equal(mixed, images)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), shares @ (torch.arange(18) / 17))


def test_the_dataset_shown_reads_a_folder(shown: Find, tmp_path: Path) -> None:
    rows = [("a.png", "007", 0, 0, 25), ("b.png", "007", 2, 0, 25), ("c.png", "x", 1, 1, 60), ("d.png", "x", 2, 1, 60)]
    table = pd.DataFrame(rows, columns=["sample", "person", "mask", "gender", "age"])
    table.to_csv(tmp_path / "people.csv", index=False)
    for name in table["sample"]:
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    part = shown("dataset", file="people.csv")
    samples = part.build(tmp_path)
    assert isinstance(samples, Samples)
    assert samples.answers.tolist() == [0, 12, 11, 17]
    assert samples.paths == [str(tmp_path / name) for name in table["sample"]]
    folds = samples.split(val_ratio=0.5, seed=0).tolist()
    assert folds in ([0, 0, 1, 1], [1, 1, 0, 0])
    with pytest.raises(UsageError, match="needs a folder"):
        part.build(None)


def test_the_optimizer_shown_goes_downhill(shown: Find) -> None:
    parameter = torch.nn.Parameter(torch.full((3,), 4.0))
    optimizer = shown("optimizer", momentum="0.5").build(iter([parameter]), lr=0.01, weight_decay=0.02)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"], group["momentum"]) == (0.01, 0.02, 0.5)
    for _ in range(20):
        parameter.grad = 2 * parameter.detach()  # that of its square
        optimizer.step()
    assert parameter.abs().max() < 4


def test_the_scheduler_shown_raises_the_rate_step_by_step(shown: Find) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = shown("scheduler", over="2").build(optimizer, epochs=3, steps_per_epoch=5)
    assert isinstance(schedule, Schedule)
    assert schedule.interval == "step"
    rates = []
    for _ in range(15):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.scheduler.step()
    assert rates[0] == pytest.approx(0.05)
    assert rates[:11] == sorted(set(rates))
    assert rates[10:] == pytest.approx([0.5] * 5)


def test_the_reporter_shown_hears_of_a_run(shown: Find, tmp_path: Path) -> None:
    reporters = Reporters([("best", shown("reporter").build())], required=True)
    reporters.on_run_start(RunStart(tmp_path, {}, ("a", "b"), 2, 1, {}))
    for epoch, score in enumerate((0.75, 0.5)):
        reporters.on_epoch_start(EpochStart(epoch, 2, 1))
        reporters.on_step_end(StepEnd(epoch, 1, epoch + 1, 0.1, 0.01))
        metrics = dict.fromkeys(METRIC_COLUMNS, 0.0) | {"epoch": epoch, "valid_f1_macro": score}
        reporters.on_epoch_end(EpochEnd(metrics, np.eye(2, dtype=np.int64), is_best=epoch == 0))
    reporters.on_run_end(RunEnd("completed", None))
    assert (tmp_path / "best.txt").read_text(encoding="utf-8") == "epoch 0: macro F1 0.7500\n"


def test_the_vote_shown_votes(shown: Find, tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    first, second = draws.dirichlet(np.ones(18), 5), draws.dirichlet(np.ones(18), 5)
    for name, probabilities in (("a", first), ("b", second)):
        table = pd.DataFrame(probabilities, index=pd.Index(list("vwxyz"), name="ImageID"), columns=range(18))
        table.insert(0, "ans", probabilities.argmax(axis=1))
        table.to_csv(tmp_path / f"{name}.csv")
    reading = read_words([tmp_path / "a.csv", tmp_path / "b.csv"])
    rule = shown("vote").build()
    mixed = vote(reading, rule).probabilities
    np.testing.assert_allclose(mixed.sum(axis=1), 1)
    # The geometric mean keeps the middle of the odds of any two classes, on the scale of their logarithms.
    odds = [np.log(one[:, 3] / one[:, 4]) for one in (first, second, mixed)]
    np.testing.assert_allclose(odds[2], (odds[0] + odds[1]) / 2, rtol=1e-4)
    np.testing.assert_allclose(rule(np.stack([first, second]), np.array([1.0, 0.0])), first, atol=1e-8)


@pytest.mark.slow
def test_the_tuner_shown_searches_and_goes_on(shown: Find, tmp_path: Path) -> None:
    part = shown("tuner", seed="3")
    tuner = part.build(algorithm=part.component.algorithms[0])
    choices = {"lr": {"_type": "choice", "_value": [0.001, 0.003, 0.01]}}
    assert tuner.objection("lr", choices["lr"]) == ""
    assert tuner.objection("lr", {"_type": "uniform", "_value": [0, 1]}).startswith("is no plain choice")
    images = write_faces(tmp_path / "images", 12)
    place: dict[str, Any] = {"data_dir": images, "model_dir": tmp_path / "runs"}
    fixed = {**place, "epochs": 1, "resize": (16, 16), "num_workers": 0}
    found: list[Any] = []
    for trials in (2, 3):
        search = Search(TuneConfig(trials=trials, **fixed), tuple(fixed), choices, "Random")
        experiment = tuner.resume(search, found[0].id, {}) if found else tuner.start(search)
        while experiment.advance():
            time.sleep(0.2)
        experiment.stop()
        found.append(experiment)
    first, second = (experiment.trials() for experiment in found)
    assert [trial.status for trial in second] == ["SUCCEEDED"] * 3
    assert second[:2] == first
    assert all(trial.flags["lr"] in {0.001, 0.003, 0.01} and trial.final == trial.scores[0] for trial in second)


def test_the_command_shown_runs(shown: Find, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.jpg", "c.txt"):
        (tmp_path / name).touch()
    offer = shown("command").offer
    command = guest_command(offer, "count")
    for least, code in (("2", 0), ("3", 1)):
        config: Any = build(command.config, [Layer("flag", {"folder": str(tmp_path), "least": least})])[0]
        assert command.run(config, {}) == code
        assert capsys.readouterr().out == "2 images\n"
    text = command_help(command, Registry([offer.plugin]))
    assert text.startswith("Count the images of a folder.\n\nUsage: maskkit count FOLDER [--flag=value ..]\n")
    assert "\nExample:\n  maskkit count photos --least=100\n" in text
