"""`builtin:Name` and `maskkit:Name` mean what Name means, in every flag that takes a name, in files and on resuming."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_trainer import write_profiles

from maskkit.cli.shell import main
from maskkit.config import (
    EvaluateConfig,
    ListPluginsConfig,
    PredictConfig,
    SearchFlags,
    TrainConfig,
    VersionConfig,
    VoteConfig,
)
from maskkit.flags import flags_of

Run = Callable[..., dict[str, Any]]

# A name other than the default for each flag of a training that takes one.
NAMES = {
    "dataset": "MaskBaseDataset",
    "augmentation": "AffineAugmentation",
    "mix": "half_face",
    "model": "Efficientnet_b0",
    "criterion": "focal",
    "optimizer": "SGD",
    "scheduler": "StepLR",
    "reporters": "console,csv",
}
PREFIXES = ("builtin:", "maskkit:")


def with_prefix(prefix: str, names: str) -> str:
    return ",".join(prefix + name for name in names.split(","))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder, with what is in the box alone."""
    for name in os.environ:
        if name.startswith(("MASKKIT_", "SM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MASKKIT_DISABLE_PLUGINS", "*")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_profiles(tmp_path_factory.mktemp("profiles"))


@pytest.fixture
def train(profiles: Path) -> Run:
    """Return a function that trains for an epoch, unless told otherwise, and gives what its folder tells of it."""

    def start(folder: str, *flags: str) -> dict[str, Any]:
        given = {flag.partition("=")[0] for flag in flags}
        small = {"--data_dir": profiles, "--epochs": 1, "--resize": 32, "--num_workers": 0, "--model_dir": folder}
        words = [f"{name}={value}" for name, value in small.items() if name not in given]
        assert main(["train", *words, *flags]) == 0
        return told_by(Path(folder, "exp"))

    return start


def told_by(run: Path) -> dict[str, Any]:
    """Return what a run folder tells of a run, apart from where it lies and when it was."""
    content: dict[str, Any] = json.loads((run / "config.json").read_text(encoding="utf-8"))
    del content["values"]["model_dir"]
    metrics = [line.split(",") for line in (run / "metrics.csv").read_text(encoding="utf-8").splitlines()]
    clock = {metrics[0].index("seconds"), metrics[0].index("images_per_second")}
    content["metrics"] = [[cell for place, cell in enumerate(row) if place not in clock] for row in metrics]
    content["predictions"] = {path.name: path.read_bytes() for path in (run / "predictions").iterdir()}
    return content


def test_every_flag_that_takes_a_name_is_tried_here() -> None:
    assert set(NAMES) == {name for name, flag in flags_of(TrainConfig).items() if flag.kind}
    others = (EvaluateConfig, ListPluginsConfig, PredictConfig, SearchFlags, VersionConfig, VoteConfig)
    assert [name for config in others for name, flag in flags_of(config).items() if flag.kind] == ["engine", "how"]


@pytest.mark.slow
def test_a_training_with_prefixes_is_the_training_without_and_so_are_its_replay_and_its_going_on(train: Run) -> None:
    fixed = ("--no-pretrained", "--lr_decay_step=1")
    plain = train("plain", *fixed, *(f"--{flag}={names}" for flag, names in NAMES.items()))
    for prefix in PREFIXES:
        flags = [f"--{flag}={with_prefix(prefix, names)}" for flag, names in NAMES.items()]
        assert train(prefix[:-1], *fixed, *flags) == plain
    replayed = train("replayed", "--config=builtin/exp/config.json")
    assert {**replayed, "origins": {}} == {**plain, "origins": {}}
    for folder in ("plain", "builtin"):
        assert main(["train", f"--resume={folder}/exp", "--epochs=2"]) == 0
    assert told_by(Path("builtin", "exp")) == told_by(Path("plain", "exp"))


def test_a_file_of_flags_takes_prefixes_too(train: Run) -> None:
    names = {"scheduler": "builtin:step10", "model": "maskkit:BaseModel", "reporters": ["builtin:csv"]}
    Path("flags.json").write_text(json.dumps(names), encoding="utf-8")
    found = train("runs", "--config=flags.json", "--lr_decay_step=5")
    assert found["components"]["scheduler"]["name"] == "StepLR"
    assert found["components"]["scheduler"]["options"] == {"step_size": 5}
    assert found["components"]["model"]["distribution"] == "maskkit"
    assert [one["name"] for one in found["reporters"]] == ["csv"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_step_beside_another_schedule_is_refused_with_and_without_a_prefix(
    prefix: str, capsys: pytest.CaptureFixture[str], profiles: Path
) -> None:
    errors = []
    for name in ("cosine", f"{prefix}cosine"):
        assert main(["train", f"--data_dir={profiles}", f"--scheduler={name}", "--lr_decay_step=5"]) == 2
        errors.append(capsys.readouterr().err)
    assert errors == ["error: --lr_decay_step selects StepLR, but --scheduler=cosine is given\n  Leave one out.\n"] * 2


def test_a_reporter_that_is_named_twice_reports_once(train: Run) -> None:
    found = train("runs", "--reporters=csv,builtin:csv,maskkit:csv,csv")
    assert len(found["metrics"]) == 2  # the names of the columns, and an epoch
    assert [one["name"] for one in found["reporters"]] == ["csv"]


@pytest.mark.parametrize("named", [("csv", "builtin:csv"), ("builtin:csv", "csv"), ("maskkit:csv", "builtin:csv")])
def test_the_options_of_a_reporter_are_found_by_any_of_its_names(
    named: tuple[str, str], capsys: pytest.CaptureFixture[str], profiles: Path
) -> None:
    reporters, options = named
    flags = (f"--reporters={reporters}", "--reporters_args=" + json.dumps({options: {"absent": 1}}))
    assert main(["train", f"--data_dir={profiles}", *flags]) == 2
    assert capsys.readouterr().err.startswith("error: reporter csv has no option 'absent'\n")


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", *PREFIXES])
def test_drawn_faces_bring_their_own_folder(
    prefix: str, monkeypatch: pytest.MonkeyPatch, place: Path, profiles: Path
) -> None:
    monkeypatch.setenv("SM_CHANNEL_TRAIN", str(profiles))
    flags = (f"--dataset={prefix}DrawnFaces", "--dataset_args=people=12,eval_people=1", "--reporters=csv")
    assert main(["train", *flags, "--epochs=1", "--resize=32", "--num_workers=0"]) == 0
    found = told_by(place / "runs" / "exp")
    assert (found["values"]["dataset"], found["values"]["data_dir"]) == ("DrawnFaces", None)
    assert (place / "cache" / "maskkit").is_dir()


@pytest.mark.parametrize("how", ["soft", "hard"])
def test_a_vote_with_a_prefix_is_the_vote_without(how: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, shares in (("a", "0.6,0.4"), ("b", "0.1,0.9")):
        (place / f"{name}.csv").write_text(f"ImageID,ans,0,1\nx,{int(name == 'b')},{shares}\n", encoding="utf-8")
    written = set()
    for prefix in ("", *PREFIXES):
        assert main(["vote", "a.csv", "b.csv", f"--how={prefix}{how}", "--out=v.csv", "--soft_out=s.csv"]) == 0
        files = [(place / name).read_text(encoding="utf-8") for name in ("v.csv", "s.csv")]
        written.add((*files, capsys.readouterr().out.replace(f"{prefix}{how} vote", f"{how} vote")))
    assert len(written) == 1


@pytest.mark.parametrize("flag", [*NAMES, "how"])
def test_a_name_that_the_owner_does_not_offer_is_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["vote", "a.csv", "--out=v.csv"] if flag == "how" else ["train"]
    for name in ("builtin:Absent", "absent:BaseModel"):
        assert main([*words, f"--{flag}={name}"]) == 2
        assert f"{name!r}" in capsys.readouterr().err
