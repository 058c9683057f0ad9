"""A run of a stranger's parts is killed, goes on to the same bits, predicts and votes, as one of the box does."""

import csv
import json
import random
import shutil
import signal
from pathlib import Path

import pytest
from conftest import SHOTS, Overlay, write_faces
from forked import run_forked

pytestmark = pytest.mark.slow

KINDS = ("model", "loss", "dataset", "augmentation", "vote")
WORDS = (
    "--data_dir=faces",
    "--dataset=our_dataset",
    "--model=our_model",
    "--model_args=width=8,dropout=0.2",
    "--criterion=our_loss",
    "--augmentation=our_augmentation",
    "--resize=32",
    "--num_workers=0",
    "--batch_size=16",
    "--reporters=csv",
)
NUM_EPOCHS = 10
TIMINGS = {"seconds", "images_per_second"}


@pytest.fixture(scope="module")
def place(overlay: Overlay, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labelled photos, and photos to predict; the parts of a new plugin of each kind are installed."""
    folder = tmp_path_factory.mktemp("survival")
    for kind in KINDS:
        assert overlay.maskkit("new-plugin", f"maskkit-our-{kind}", f"--kind={kind}", cwd=folder).code == 0
    overlay.install(*(folder / f"maskkit-our-{kind}" for kind in KINDS))
    profiles = write_faces(folder / "faces", people=12)
    rows = ["path,person,mask,gender,age"]
    for profile in sorted(path.name for path in profiles.iterdir()):
        person, gender, _, age = profile.split("_")
        for position, shot in enumerate(SHOTS):
            rows.append(f"{profile}/{shot}.png,{person},{max(0, position - 4)},{int(gender == 'female')},{age}")
            if position == 0:
                (folder / "photos").mkdir(exist_ok=True)
                shutil.copyfile(profiles / profile / f"{shot}.png", folder / "photos" / f"{profile}.png")
    (profiles / "labels.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    return folder


def kill(overlay: Overlay, place: Path, words: list[str], num_writes: int) -> None:
    """Start maskkit, and kill it in one of its writes to disk."""
    done = run_forked(place, *words, env=overlay.environment, python=overlay.python, fatal_write=num_writes)
    assert done.code == -signal.SIGKILL, done.err


def num_epochs(run: Path) -> int:
    path = run / "metrics.csv"
    return len(path.read_text(encoding="utf-8").splitlines()) - 1 if path.exists() else 0


def metrics_of(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [{name: row[name] for name in row if name not in TIMINGS} for row in csv.DictReader(file)]


def test_parts_of_plugins_survive(overlay: Overlay, place: Path) -> None:
    words = (*WORDS, f"--epochs={NUM_EPOCHS}")
    whole, broken = place / "runs" / "whole", place / "runs" / "broken"
    done = overlay.maskkit("train", *words, "--name=whole", cwd=place)
    assert done.code == 0, done.err

    draws = random.Random(4)
    # Two for each file: config.json and samples.csv, then best and last of an epoch.
    kill(overlay, place, ["train", *words, "--name=broken"], 2 * (2 + 2) + draws.randint(1, 8))
    for _ in range(2):
        before = num_epochs(broken)
        kill(overlay, place, ["train", "--resume=runs/broken"], 2 * (2 + 2) + draws.randint(1, 8))
        assert before < num_epochs(broken) < NUM_EPOCHS
    done = overlay.maskkit("train", "--resume=runs/broken", cwd=place)
    assert done.code == 0, done.err
    assert metrics_of(broken) == metrics_of(whole)
    predictions = [run / "predictions" / "valid_soft.csv" for run in (whole, broken)]
    assert predictions[0].read_bytes() == predictions[1].read_bytes()

    for name in ("whole", "broken"):
        done = overlay.maskkit("predict", f"runs/{name}", "--images=photos", f"--out={name}", cwd=place)
        assert done.code == 0, done.err
    assert (place / "whole" / "eval_soft.csv").read_bytes() == (place / "broken" / "eval_soft.csv").read_bytes()

    files = ("whole/eval_soft.csv", "broken/eval_soft.csv")
    done = overlay.maskkit("vote", *files, "--how=our_vote", "--how_args=least=0.001", "--out=vote.csv", cwd=place)
    assert done.code == 0, done.err
    assert (place / "vote.csv").read_bytes() == (place / "whole" / "eval_hard.csv").read_bytes()

    content = json.loads((broken / "config.json").read_text(encoding="utf-8"))
    parts = content["components"] | {"loss": content["losses"][0]}
    for kind in ("model", "loss", "dataset", "augmentation"):
        assert (parts[kind]["name"], parts[kind]["distribution"]) == (f"our_{kind}", f"maskkit-our-{kind}")


def test_without_its_plugin_a_run_says_what_to_install_and_with_another_version_it_warns(
    overlay: Overlay, place: Path
) -> None:
    done = overlay.maskkit("train", *WORDS, "--epochs=1", "--name=left", cwd=place)
    assert done.code == 0, done.err
    predict = ("predict", "runs/left", "--images=photos", "--out=left")
    alone = overlay.maskkit(*predict, cwd=place, env={"MASKKIT_DISABLE_PLUGINS": "our-model"})
    assert alone.code == 1
    assert alone.err.startswith("error: the run needs the model our_model of maskkit-our-model 0.1.0, which is not")
    assert "Install maskkit-our-model 0.1.0" in alone.err
    project = place / "maskkit-our-model" / "pyproject.toml"
    project.write_text(project.read_text(encoding="utf-8").replace('"0.1.0"', '"0.2.0"'), encoding="utf-8")
    overlay.install(place / "maskkit-our-model")
    newer = overlay.maskkit(*predict, cwd=place)
    assert newer.code == 0, newer.err
    assert newer.err == "warning: the run was made with maskkit-our-model 0.1.0; 0.2.0 is installed here\n"
