"""Training from the command line: what a run folder holds, how it is repeated, and what stops it before it begins."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Runner
from PIL import Image
from sklearn.metrics import f1_score
from test_trainer import write_profiles

import maskkit
from maskkit.cli.shell import main
from maskkit.config import TrainConfig
from maskkit.engine.checkpoint import Checkpoint
from maskkit.engine.run_folder import make_run_folder
from maskkit.errors import UsageError
from maskkit.flags import flags_of
from maskkit.labels import VIEWS, decode
from maskkit.reporting.events import METRIC_COLUMNS

Table = list[dict[str, str]]
Train = Callable[..., Path]

SMALL = ("--resize=32", "--num_workers=0")
OWN_CLASSES: dict[str, Callable[[int], int]] = {  # of each of the 18, by view
    "multi": lambda ans: ans,
    "multihead": lambda ans: ans,
    "mask": lambda ans: decode(ans)[0],
    "gender": lambda ans: decode(ans)[1],
    "age": lambda ans: decode(ans)[2],
}


def table(path: Path) -> Table:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def columns(rows: Table, *names: str) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


def probabilities(rows: Table, num_classes: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([[float(row[str(number)]) for number in range(num_classes)] for row in rows])


def config_of(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "config.json").read_text(encoding="utf-8"))
    return content


def figures(run: Path) -> list[dict[str, str]]:
    """Return metrics.csv without what depends on the clock."""
    clock = {"seconds", "images_per_second"}
    return [{name: cell for name, cell in row.items() if name not in clock} for row in table(run / "metrics.csv")]


def weights_of(run: Path, which: str = "last") -> dict[str, torch.Tensor]:
    return dict(Checkpoint.load(run / "checkpoints" / f"{which}.safetensors").weights)


def assert_same_bits(first: Path, second: Path) -> None:
    """Prove that two runs learned and predicted the same, to the last bit."""
    assert figures(first) == figures(second)
    ours, theirs = weights_of(first), weights_of(second)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    for name in ("valid_soft.csv", "eval_soft.csv", "eval_hard.csv"):
        assert (first / "predictions" / name).read_bytes() == (second / "predictions" / name).read_bytes()


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder, with what is in the box alone."""
    for name in os.environ:
        if name.startswith(("MASKKIT_", "SM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MASKKIT_DISABLE_PLUGINS", "*")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return six people in small photos of noise."""
    return write_profiles(tmp_path_factory.mktemp("profiles"))


@pytest.fixture
def train(place: Path) -> Train:
    """Return a function that trains in this process, for an epoch unless told otherwise, and gives the run folder."""

    def start(data_dir: Path, *flags: str, num_workers: int = 0) -> Path:
        before = set((place / "runs").glob("*"))
        epochs = [] if any(flag.startswith(("--epochs", "--config")) for flag in flags) else ["--epochs=1"]
        assert (
            main(["train", f"--data_dir={data_dir}", *epochs, "--resize=32", f"--num_workers={num_workers}", *flags])
            == 0
        )
        (made,) = set((place / "runs").glob("*")) - before
        return made

    return start


@dataclass(frozen=True)
class Trained:
    """A finished run of one view on drawn faces."""

    view: str
    folder: Path

    @property
    def num_classes(self) -> int:
        return VIEWS[self.view].num_classes

    def predictions(self, name: str) -> Table:
        return table(self.folder / "predictions" / f"{name}.csv")


@pytest.fixture(scope="module", params=VIEWS)
def trained(request: pytest.FixtureRequest, train_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Train each view once, two epochs, in half the cases with a worker."""
    folder = tmp_path_factory.mktemp(request.param)
    workers = f"--num_workers={int(request.param in {'multi', 'age'})}"
    flags = (f"--classification={request.param}", f"--model_dir={folder}", "--resize=32", "--epochs=2", workers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASKKIT_DISABLE_PLUGINS", "*")
        assert main(["train", f"--data_dir={train_images}", *flags]) == 0
    return Trained(request.param, folder / "exp")


@pytest.mark.slow
def test_a_run_folder_holds_what_it_must(trained: Trained) -> None:
    files = {str(path.relative_to(trained.folder)) for path in trained.folder.rglob("*") if path.is_file()}
    events = {name for name in files if name.startswith("tensorboard/events.out.tfevents.")}
    assert len(events) == 1
    assert files - events == {
        "config.json",
        "samples.csv",
        "metrics.csv",
        "checkpoints/best.safetensors",
        "checkpoints/last.safetensors",
        "predictions/valid_soft.csv",
        "predictions/eval_hard.csv",
        "predictions/eval_soft.csv",
    }


@pytest.mark.slow
def test_the_metrics_have_a_row_an_epoch_and_the_axes_of_the_view(trained: Trained) -> None:
    rows = table(trained.folder / "metrics.csv")
    assert [tuple(row) for row in rows] == [METRIC_COLUMNS] * 2
    assert [row["epoch"] for row in rows] == ["0", "1"]
    answered = {"mask", "gender", "age"} if trained.num_classes == 18 else {trained.view}
    for row in rows:
        assert {axis for axis in ("mask", "gender", "age") if row[f"valid_{axis}_accuracy"]} == answered
        assert all(0 <= float(row[name]) <= 1 for name in row if name.endswith(("accuracy", "f1_macro")) and row[name])


@pytest.mark.slow
def test_no_person_is_in_both_folds(trained: Trained, train_images: Path) -> None:
    rows = table(trained.folder / "samples.csv")
    assert list(rows[0]) == ["sample", "person", "mask", "gender", "age", "fold"]
    assert sorted(row["sample"] for row in rows) == sorted(
        f"{path.parent.name}/{path.name}" for path in train_images.glob("*/*")
    )
    people = {fold: {row["person"] for row in rows if row["fold"] == fold} for fold in ("0", "1")}
    assert not people["0"] & people["1"]
    assert (len(people["0"]), len(people["1"])) == (6, 24)


@pytest.mark.slow
def test_validation_predictions_hold_the_held_out_images_and_their_truth(trained: Trained) -> None:
    rows = trained.predictions("valid_soft")
    assert list(rows[0]) == ["ImageID", "ans", "truth", *map(str, range(trained.num_classes))]
    held_out = [row for row in table(trained.folder / "samples.csv") if row["fold"] == "0"]
    expected = []
    for row in held_out:
        age = 0 if int(row["age"]) < 30 else 1 if int(row["age"]) < 60 else 2
        ans = int(row["mask"]) * 6 + int(row["gender"]) * 3 + age
        expected.append((row["sample"], str(OWN_CLASSES[trained.view](ans))))
    assert columns(rows, "ImageID", "truth") == expected


@pytest.mark.slow
def test_the_score_of_the_best_epoch_is_that_of_the_validation_file(trained: Trained) -> None:
    rows = trained.predictions("valid_soft")
    truth, answers = ([int(row[name]) for row in rows] for name in ("truth", "ans"))
    score = f1_score(truth, answers, labels=range(trained.num_classes), average="macro", zero_division=0)
    assert max(float(row["valid_f1_macro"]) for row in table(trained.folder / "metrics.csv")) == pytest.approx(score)


@pytest.mark.slow
def test_eval_files_are_in_the_order_of_info_csv(trained: Trained, drawn_root: Path) -> None:
    order = [row["ImageID"] for row in table(drawn_root / "eval" / "info.csv")]
    hard, soft = trained.predictions("eval_hard"), trained.predictions("eval_soft")
    assert list(hard[0]) == ["ImageID", "ans"]
    assert list(soft[0]) == ["ImageID", "ans", *map(str, range(trained.num_classes))]
    assert [row["ImageID"] for row in hard] == [row["ImageID"] for row in soft] == order
    assert columns(hard, "ans") == columns(soft, "ans")


@pytest.mark.slow
def test_soft_predictions_are_probabilities_and_the_largest_is_the_answer(trained: Trained) -> None:
    for name in ("valid_soft", "eval_soft"):
        rows = trained.predictions(name)
        shares = probabilities(rows, trained.num_classes)
        assert (shares >= 0).all()
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
        assert shares.argmax(axis=1).tolist() == [int(row["ans"]) for row in rows]


@pytest.mark.slow
def test_predicting_from_the_checkpoint_gives_the_same_bytes(trained: Trained, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert main(["predict", str(trained.folder), f"--out={again}", "--num_workers=0"]) == 0
    for name in ("eval_hard.csv", "eval_soft.csv"):
        assert (again / name).read_bytes() == (trained.folder / "predictions" / name).read_bytes()


@pytest.mark.slow
def test_the_checkpoint_holds_what_prediction_needs(trained: Trained) -> None:
    for which in ("best", "last"):
        description = Checkpoint.load(trained.folder / "checkpoints" / f"{which}.safetensors").description
        assert description["classification"] == trained.view
        assert description["classes"] == list(VIEWS[trained.view].classes)
        assert description["size"] == [32, 32]
        assert description["mean"] == [0.548, 0.504, 0.479]
        assert description["std"] == [0.237, 0.247, 0.246]
        assert (description["model"]["name"], description["model"]["distribution"]) == ("BaseModel", "maskkit")
        assert description["augmentation"]["name"] == "BaseAugmentation"
        assert description["precision"] == config_of(trained.folder)["decisions"]["precision"]
        row = table(trained.folder / "metrics.csv")[description["epoch"]]
        assert float(row["valid_f1_macro"]) == pytest.approx(description["metrics"]["valid_f1_macro"])


def test_config_json_holds_values_origins_decisions_and_components(train: Train, profiles: Path) -> None:
    run = train(profiles, "--criterion=focal", "--criterion_args=gamma=1.5", "--lr", "0.01", "--batch_size=20")
    content = config_of(run)
    assert content["maskkit"] == maskkit.__version__
    assert set(content["values"]) == set(content["origins"]) == set(flags_of(TrainConfig))
    expected = {"criterion": "focal", "criterion_args": {"gamma": 1.5}, "lr": 0.01, "batch_size": 20, "epochs": 1}
    expected |= {"resize": [32, 32], "num_workers": 0, "data_dir": str(profiles), "seed": 42, "optimizer": "Adam"}
    assert {name: content["values"][name] for name in expected} == expected
    given = {name for name, origin in content["origins"].items() if origin == "flag"}
    assert given == set(expected) - {"seed", "optimizer"}
    assert set(content["origins"].values()) == {"flag", "default", "decided"}
    decisions = content["decisions"]
    assert decisions["dataset"] == "MaskSplitByProfileDataset"
    assert decisions["data_dir"] == str(profiles)
    assert (decisions["num_workers"], decisions["pretrained"], decisions["eval_dir"]) == (0, False, None)
    assert {"device", "precision", "precision_reason", "notice"} <= set(decisions)
    parts = {kind: part["name"] for kind, part in content["components"].items()}
    assert parts == {
        "dataset": "MaskSplitByProfileDataset",
        "model": "BaseModel",
        "augmentation": "BaseAugmentation",
        "optimizer": "Adam",
        "scheduler": "step10",
    }
    assert [(part["name"], part["options"]) for part in content["losses"]] == [("focal", {"gamma": 1.5})]
    records = [*content["components"].values(), *content["losses"], *content["reporters"]]
    assert [part["name"] for part in content["reporters"]] == content["values"]["reporters"]
    assert all((part["distribution"], part["version"]) == ("maskkit", maskkit.__version__) for part in records)


@pytest.mark.slow
def test_a_config_file_repeats_a_run_in_a_folder_of_its_own(train: Train, train_images: Path) -> None:
    first = train(train_images, "--augmentation=AffineAugmentation", "--classification=mask", "--epochs=2")
    second = train(train_images, f"--config={first / 'config.json'}")
    assert (first.name, second.name) == ("exp", "exp-2")
    assert_same_bits(first, second)
    assert config_of(second)["origins"]["epochs"] == str(first / "config.json")
    third = train(train_images, f"--config={first / 'config.json'}", "--epochs=1", "--name=short")
    assert config_of(third)["origins"]["epochs"] == "flag"
    assert figures(third) == figures(first)[:1]


@pytest.mark.slow
def test_a_seed_gives_the_same_bits_with_any_number_of_workers_and_with_images_kept_or_not(
    train: Train, train_images: Path
) -> None:
    flags = ("--augmentation=GaussianAugmentation", "--batch_size=32", "--seed=7", "--epochs=3")
    alone = train(train_images, *flags, "--cache=none", num_workers=0)
    two = train(train_images, *flags, num_workers=2)
    decisions = [config_of(run)["decisions"] for run in (alone, two)]
    assert [(one["num_workers"], one["cache"]) for one in decisions] == [(0, "none"), (2, "ram")]
    assert_same_bits(alone, two)


def test_the_best_epoch_predicts_and_not_the_last(train: Train, train_images: Path, tmp_path: Path) -> None:
    """After three good epochs the learning rate explodes, and the last epoch is worse than a good one."""
    explosion = ("--scheduler=StepLR", "--scheduler_args=step_size=3,gamma=100000")
    run = train(train_images, "--classification=mask", "--epochs=4", "--batch_size=16", *explosion)
    scores = [float(row["valid_f1_macro"]) for row in table(run / "metrics.csv")]
    best = scores.index(max(scores))
    assert best < 3
    epochs = {
        which: Checkpoint.load(run / "checkpoints" / f"{which}.safetensors").description["epoch"]
        for which in ("best", "last")
    }
    assert epochs == {"best": best, "last": 3}
    written = {}
    for which in epochs:
        out = tmp_path / which
        assert main(["predict", str(run), f"--checkpoint={which}", f"--out={out}", "--num_workers=0"]) == 0
        written[which] = (out / "eval_soft.csv").read_bytes()
    assert (run / "predictions" / "eval_soft.csv").read_bytes() == written["best"] != written["last"]


def test_many_runs_that_begin_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    made: list[Path] = []
    threads = [
        threading.Thread(target=lambda: made.append(make_run_folder(tmp_path / "runs", "exp"))) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in made) == sorted(["exp", *(f"exp-{number}" for number in range(2, 13))])


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b"])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="plain folder name"):
        make_run_folder(tmp_path / "runs", name)
    assert list(tmp_path.iterdir()) == [tmp_path / "place"]


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW"])
def test_each_optimizer_trains(train: Train, profiles: Path, optimizer: str) -> None:
    run = train(profiles, f"--optimizer={optimizer}", "--clip_norm=5", "--batch_size=16", "--epochs=3")
    assert config_of(run)["components"]["optimizer"]["name"] == optimizer
    losses = [float(row["train_loss"]) for row in table(run / "metrics.csv")]
    assert losses[2] < losses[0]


SCHEDULES = {
    "step10": ("", [1e-3, 1e-3, 1e-3, 1e-3]),
    "StepLR": ("step_size=2", [1e-3, 1e-3, 1e-4, 1e-4]),
    "cosine": ("", [1e-3, 8.5355e-4, 5e-4, 1.4645e-4]),
    "warm_restarts": ("first_cycle=2,factor=1", [1e-3, 5e-4, 1e-3, 5e-4]),
    "plateau": ("", [1e-3, 1e-3, 1e-3, 1e-3]),
}


@pytest.mark.parametrize("scheduler", SCHEDULES)
def test_each_scheduler_moves_the_learning_rate(train: Train, profiles: Path, scheduler: str) -> None:
    options, rates = SCHEDULES[scheduler]
    flags = [f"--scheduler={scheduler}", *([f"--scheduler_args={options}"] if options else [])]
    run = train(profiles, "--epochs=4", *flags)
    assert [float(row["lr"]) for row in table(run / "metrics.csv")] == pytest.approx(rates, rel=1e-3)


def test_lr_decay_step_selects_steplr(train: Train, profiles: Path) -> None:
    run = train(profiles, "--epochs=3", "--lr_decay_step=1")
    assert [float(row["lr"]) for row in table(run / "metrics.csv")] == pytest.approx([1e-3, 1e-4, 1e-5])
    scheduler = config_of(run)["components"]["scheduler"]
    assert (scheduler["name"], scheduler["options"]) == ("StepLR", {"step_size": 1})


def test_patience_ends_a_run_early(train: Train, profiles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(profiles, "--epochs=40", "--patience=2", "--lr=1e-30")
    rows = table(run / "metrics.csv")
    scores = [float(row["valid_f1_macro"]) for row in rows]
    assert len(rows) == scores.index(max(scores)) + 3 < 40
    assert "stopped early" in capsys.readouterr().out


@pytest.mark.slow
def test_without_eval_folder_there_are_no_eval_files(train: Train, train_images: Path) -> None:
    run = train(train_images, "--eval_dir=none")
    assert [path.name for path in (run / "predictions").iterdir()] == ["valid_soft.csv"]
    assert config_of(run)["decisions"]["eval_dir"] is None


def test_an_eval_folder_elsewhere_is_predicted(train: Train, profiles: Path, drawn_root: Path) -> None:
    run = train(profiles, f"--eval_dir={drawn_root / 'eval'}")
    assert len(table(run / "predictions" / "eval_hard.csv")) == 42


def test_an_image_split_says_that_it_leaks_everywhere(
    train: Train, profiles: Path, drawn_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(profiles, "--dataset=MaskBaseDataset")
    notice = config_of(run)["decisions"]["notice"]
    assert "photos of one person fall on both sides" in notice
    assert f"Note: {notice}" in capsys.readouterr().out
    assert main(["predict", str(run), f"--images={drawn_root / 'eval' / 'images'}", "--num_workers=0"]) == 0
    assert f"Note: {notice}" in capsys.readouterr().out
    rows = table(run / "samples.csv")
    torn = {row["person"] for row in rows if row["fold"] == "0"} & {row["person"] for row in rows if row["fold"] == "1"}
    assert torn


def test_the_environment_names_the_folders_as_it_did(
    profiles: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SM_CHANNEL_TRAIN", str(profiles))
    monkeypatch.setenv("SM_MODEL_DIR", str(place / "models"))
    assert main(["train", "--epochs", "1", *SMALL]) == 0
    content = config_of(place / "models" / "exp")
    assert content["values"]["data_dir"] == str(profiles)  # a replay needs no environment
    assert content["origins"]["data_dir"] == "decided"
    assert content["decisions"]["data_dir"] == str(profiles)


@pytest.mark.filterwarnings("default")
def test_the_warning_of_the_f1_loss_reaches_the_user_once(
    train: Train, profiles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(profiles, "--criterion=f1", "--epochs=2", "--batch_size=16")
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" images")[0] for line in lines] == ["warning: the f1 loss sees 16"]


def test_any_seed_is_taken(train: Train, profiles: Path) -> None:
    assert config_of(train(profiles, f"--seed={10**20}"))["values"]["seed"] == 10**20


REFUSED = {
    "a model": (["--model=Efficientnet_b9"], "unknown model 'Efficientnet_b9'", "Efficientnet_b"),
    "a loss": (["--criterion=focall"], "unknown loss 'focall'", "Did you mean focal?"),
    "an optimizer": (["--optimizer=Adamm"], "unknown optimizer", "Did you mean Adam"),
    "a scheduler": (["--scheduler=step11"], "unknown scheduler", "Did you mean step10?"),
    "an augmentation": (["--augmentation=None"], "unknown augmentation", "BaseAugmentation"),
    "a reporter": (["--reporters=console,cvs"], "unknown reporter 'cvs'", "Did you mean csv?"),
    "a dataset": (["--dataset=MaskDataset"], "unknown dataset", "MaskBaseDataset"),
    "an option": (["--model_args=drop=0.1"], "BaseModel has no option 'drop'", "Did you mean dropout?"),
    "an option's type": (["--criterion=focal", "--criterion_args=gamma=x"], "option gamma of loss focal", "number"),
    "gamma": (["--criterion=focal", "--criterion_args=gamma=-1"], "loss focal refuses its options gamma=-1", ""),
    "smoothing": (
        ["--criterion=label_smoothing", "--criterion_args=smoothing=2"],
        "loss label_smoothing refuses its options smoothing=2: smoothing must lie in 0..0.944444",
        "",
    ),
    "beta": (["--optimizer_args=beta1=2"], "optimizer Adam refuses its options beta1=2", "Invalid beta"),
    "a step size": (["--scheduler=StepLR", "--scheduler_args=step_size=0"], "refuses its options step_size=0", "1 or"),
    "a factor": (["--scheduler=plateau", "--scheduler_args=factor=2"], "refuses its options factor=2", ""),
    "a dropout": (["--model_args=dropout=3"], "model BaseModel refuses its options dropout=3", "between 0 and 1"),
    "a crop": (["--augmentation_args=crop=0"], "crop", "1.."),
    "class weights": (["--criterion=f1", "--class_weights=balanced"], "the loss f1 takes no class weights", "focal"),
    "two schedules": (["--scheduler=cosine", "--lr_decay_step=3"], "--lr_decay_step selects StepLR", "Leave one out"),
    "two starts": (["--pretrained", "--weights=x.pth"], "--pretrained and --weights", "Leave one out"),
    "no pretraining": (["--pretrained"], "the model BaseModel has no pretrained weights", "Leave it out"),
    "a device": (["--device=tpu"], "--device=tpu: no such device here", "cpu"),
    "a run name": (["--name=a/b"], "must be a plain folder name", ""),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_meant_ends_with_2_before_anything_is_written(
    profiles: Path, place: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    flags, message, advice = REFUSED[what]
    assert main(["train", f"--data_dir={profiles}", *SMALL, *flags]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert message in printed.splitlines()[0]
    assert advice in printed
    assert list(place.iterdir()) == []


def test_a_dataset_without_labels_is_refused(drawn_root: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", f"--data_dir={drawn_root / 'eval'}", "--dataset=TestDataset"]) == 2
    assert "--dataset=TestDataset has no labels to learn from" in capsys.readouterr().err
    assert list(place.iterdir()) == []


def break_header(folder: Path) -> None:
    min(folder.glob("*/normal.png")).write_bytes(b"no image")


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def add_stranger(folder: Path) -> None:
    (folder / "holiday").mkdir()


def rename_photo(folder: Path) -> None:
    photo = min(folder.glob("*/normal.png"))
    photo.rename(photo.with_name("selfie.png"))


def leave_one_person(folder: Path) -> None:
    for person in sorted(folder.iterdir())[1:]:
        shutil.rmtree(person)


def break_eval_header(folder: Path) -> None:
    images = folder.parent.parent / "eval" / "images"
    images.mkdir(parents=True)
    (images / "one.jpg").write_bytes(b"")


BROKEN_DATA: dict[Callable[[Path], None], tuple[str, str]] = {
    break_header: ("1 of 42 images cannot be read", "normal.png"),
    break_eval_header: ("1 of 43 images cannot be read", "one.jpg"),
    empty: ("there is no profile in", ""),
    remove: ("does not exist", ""),
    add_stranger: ("no profiles", "holiday"),
    rename_photo: ("name that says no mask", "selfie.png"),
    leave_one_person: ("a split needs two people or images at least", ""),
}


@pytest.mark.parametrize("fault", BROKEN_DATA)
def test_data_that_cannot_be_used_ends_with_1_before_anything_is_written(
    profiles: Path, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: Callable[[Path], None]
) -> None:
    message, detail = BROKEN_DATA[fault]
    folder = tmp_path / "data" / "train" / "images"
    shutil.copytree(profiles, folder)
    fault(folder)
    assert main(["train", f"--data_dir={folder}", *SMALL]) == 1
    printed = capsys.readouterr().err
    assert message in printed.splitlines()[0]
    assert detail in printed
    assert "Traceback" not in printed
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("flag", ["--weights=none.pth", "--eval_dir=nowhere"])
def test_a_missing_file_ends_with_1_before_anything_is_written(
    profiles: Path, place: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert main(["train", f"--data_dir={profiles}", *SMALL, flag]) == 1
    assert flag.partition("=")[2] in capsys.readouterr().err
    assert list(place.iterdir()) == []


def test_an_image_that_breaks_while_training_is_named(
    profiles: Path, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its header and its end are well, so only decoding can tell."""
    folder = tmp_path / "data" / "train" / "images"
    shutil.copytree(profiles, folder)
    photo = sorted(folder.glob("*/mask1.png"))[2]
    content = bytearray(photo.read_bytes())
    content[600] ^= 255
    photo.write_bytes(content)
    assert main(["train", f"--data_dir={folder}", "--resize=32", "--num_workers=1", "--epochs=1"]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: the image {photo} cannot be read")
    assert "Traceback" not in printed.err
    assert f"failed: the image {photo} cannot be read" in printed.out
    assert (place / "runs" / "exp" / "config.json").is_file()


def test_odd_images_train_like_any_other(train: Train, profiles: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "train" / "images"
    shutil.copytree(profiles, folder)
    photos = sorted(folder.glob("*/*.png"))
    for photo, mode in zip(photos, ("L", "RGBA", "CMYK", "P", "1", "I;16"), strict=False):
        photo.unlink()
        ending = ".JPG" if mode == "CMYK" else ".PNG"
        Image.new(mode, (13, 7)).save(photo.with_suffix(ending))
    (folder / ".hidden").mkdir()
    (photos[0].parent / "._normal.jpg").write_bytes(b"")
    assert len(table(train(folder) / "samples.csv")) == 42


@pytest.mark.slow
def test_the_command_of_the_original_project_trains(maskkit: Runner, train_images: Path, tmp_path: Path) -> None:
    """The network is exchanged for one that a CPU trains in a moment; everything else is the original's own line."""
    line = (
        f"train --data_dir {train_images} --epochs 1 --batch_size 16 --criterion cross_entropy --classification multi"
    )
    outcome = maskkit(*line.split(), "--model", "BaseModel", "--resize", "48", "32", "--name", "first")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert "BaseModel, 0.07 M parameters, from scratch" in outcome.out
    assert re.search(r"^epoch +1/1 ", outcome.out, re.MULTILINE)
    values = config_of(tmp_path / "runs" / "first")["values"]
    assert (values["resize"], values["batch_size"]) == ([48, 32], 16)
    assert outcome.out.endswith(
        "wrote runs/first/predictions/valid_soft.csv\n"
        "wrote runs/first/predictions/eval_hard.csv\n"
        "wrote runs/first/predictions/eval_soft.csv\n"
    )


@pytest.mark.slow
def test_ctrl_c_ends_a_run_with_130_and_its_files_whole(
    environment: dict[str, str], train_images: Path, tmp_path: Path
) -> None:
    """The signal goes to the workers too, as from a keyboard."""
    command: list[str | Path] = [Path(sysconfig.get_path("scripts"), "maskkit"), "train", f"--data_dir={train_images}"]
    flags = ["--resize=32", "--epochs=500", "--num_workers=1"]
    with subprocess.Popen(
        [*command, *flags],
        cwd=tmp_path,
        env=environment | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        shown = ""
        while "epoch   2/" not in shown:
            shown += process.stdout.readline()
            assert process.poll() is None
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "interrupted\n  to go on: maskkit train --resume=runs/exp\n"
    assert "interrupted" in out
    run = tmp_path / "runs" / "exp"
    rows = table(run / "metrics.csv")
    last = Checkpoint.load(run / "checkpoints" / "last.safetensors").description["epoch"]
    assert last in {len(rows) - 2, len(rows) - 1}  # counted from 0; the row is written before the checkpoint
