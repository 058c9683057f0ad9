"""Wrong folders, images, weights, checkpoints and plugins: each is told before anything is trained or written."""

import json
import os
import pickle
import struct
from pathlib import Path

import pytest
from conftest import Runner
from forked import Outcome, run_forked
from refusals import Row, assert_refused, write_files

from maskkit.builtin.drawn_faces import draw_faces

pytestmark = pytest.mark.slow  # each loads torch


def safetensors(metadata: dict[str, str]) -> bytes:
    """Return a file of one tensor `w`, a single zero of float32."""
    header = {"__metadata__": metadata, "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(4)


class Code:
    """What a pickle of which unpickling runs a program holds."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("hacked",)


FILES: dict[str, str | bytes] = {
    "hard.csv": "ImageID,ans\na.jpg,1\n",
    "header_only.csv": "ImageID,ans\n",
    "no_ids.csv": "name,ans\na.jpg,1\n",
    "utf16.csv": "ImageID\na.jpg\n".encode("utf-16"),
    "two_ids.csv": "ImageID,ImageID\na.jpg,b.jpg\n",
    "empty.csv": "",
    "run/config.json": "{}",
    "text.safetensors": "hello, I am no checkpoint",
    "empty.safetensors": "",
    "foreign.safetensors": safetensors({"format": "pt"}),
    "newer.safetensors": safetensors({"maskkit": "999", "description": "{}"}),
    "cut.safetensors": safetensors({"maskkit": "1"})[:-2],
    "text.pth": "hello, I am no file of weights",
    "code.pth": pickle.dumps(Code(), protocol=2),
    "eval/info.csv": "ImageID\na.jpg\nmissing.jpg\n",
    "eval/images/a.jpg": "no image",
    "strangers/someone/normal.jpg": "no image",
    "ages/000001_male_Asian_200/normal.jpg": "no image",
    "masks/000001_male_Asian_20/photo.jpg": "no image",
    "bare/000001_male_Asian_20/notes.txt": "no image",
}

TRAIN = "train --data_dir=faces/train/images --resize=32 --epochs=1 --num_workers=0"
PREDICT = "predict trained.safetensors --out=o"

CASES: list[Row] = [
    # folders of images
    ("train --data_dir=absent", 1, ["the folder of images absent does not exist"]),
    ("train --data_dir=hard.csv", 1, ["the folder of images hard.csv is a file, not a folder"]),
    ("train --data_dir=faces", 1, ["are no profiles", "one folder further in: --data_dir=", "faces/train/images"]),
    ("train --data_dir=strangers", 1, ["are no profiles:", "someone", "<id>_<male|female>_<race>_<age>"]),
    ("train --data_dir=ages", 1, ["have an age outside 1..120", "000001_male_Asian_200"]),
    ("train --data_dir=masks", 1, ["a name that says no mask", "photo.jpg", "mask1..mask5, incorrect_mask and normal"]),
    ("train --data_dir=bare", 1, ["hold no image", "000001_male_Asian_20"]),
    (f"{TRAIN} --dataset=TestDataset", 1, ["there is no image in", "It holds profiles to train on."]),
    (f"{TRAIN} --eval_dir=absent", 1, ["the folder of images absent does not exist"]),
    (f"{TRAIN} --eval_dir=eval", 1, ["1 ImageIDs of", "eval/info.csv have no file in", "missing.jpg"]),
    (f"{TRAIN} --eval_dir=faces/train", 1, ["there is no image in", "It holds profiles to train on."]),
    # devices, weights, options that a factory refuses, places to write to
    (f"{TRAIN} --device=gpu", 2, ["--device=gpu: no such device here", "Here are: cpu"]),
    (f"{TRAIN} --device=cpu --precision=fp16", 2, ["--precision=fp16 needs a GPU"]),
    (f"{TRAIN} --model_args=dropout=2", 2, ["model BaseModel refuses its options dropout=2"]),
    (f"{TRAIN} --criterion=focal --criterion_args=gamma=-1", 2, ["loss focal refuses its options gamma=-1"]),
    (f"{TRAIN} --mix=mixup --mix_args=alpha=0", 2, ["mix mixup refuses its options alpha=0: alpha must be above 0"]),
    (f"{TRAIN} --reporters_args='" + '{"csv": {"x": 1}}' + "'", 2, ["reporter csv has no option 'x'"]),
    (f"{TRAIN} --reporters_args=csv=3", 2, ["--reporters_args must hold an object for csv; received 3"]),
    (f"{TRAIN} --reporters=csv --reporters_args='" + '{"console": {}}' + "'", 2, ["console, which does not report"]),
    (f"{TRAIN} --mix_args=alpha=1", 2, ["--mix_args has options, but nothing is mixed", "Add --mix=NAME"]),
    (f"{TRAIN} --pretrained", 2, ["--pretrained: the model BaseModel has no pretrained weights", "Leave it out."]),
    (f"{TRAIN} --weights=absent.pth", 1, ["there is no file of weights absent.pth"]),
    (f"{TRAIN} --weights=run", 1, ["there is no file of weights run"]),
    (f"{TRAIN} --weights=text.pth", 1, ["text.pth cannot be read as weights", "It must be a .safetensors file"]),
    (f"{TRAIN} --weights=text.safetensors", 1, ["text.safetensors cannot be read as weights"]),
    (f"{TRAIN} --weights=code.pth", 1, ["code.pth cannot be read as weights: it is damaged, or holds other things"]),
    (f"{TRAIN} --weights=foreign.safetensors", 1, ["foreign.safetensors does not fit the model"]),
    (f"{TRAIN} --name=a/b", 2, ["--name='a/b' must be a plain folder name, without slashes"]),
    (f"{TRAIN} --name=..", 2, ["--name='..' must be a plain folder name, without slashes"]),
    (f"{TRAIN} --model_dir=hard.csv", 2, ["--model_dir=hard.csv is a file; it must be a folder"]),
    (f"{TRAIN} --model_dir=/proc/runs", 2, ["cannot make the run folder /proc/runs/exp: No such file or directory"]),
    (f"{TRAIN} --name={'n' * 300}", 2, ["--name is 300 bytes long; 240 fit into a folder name"]),
    # runs to go on with
    ("train --resume=absent", 1, ["--resume=absent: absent/config.json cannot be read", "Name the folder of a run"]),
    ("train --resume=hard.csv", 1, ["--resume=hard.csv: hard.csv/config.json cannot be read", "Not a directory"]),
    ("train --resume=run", 1, ["--resume=run: run/config.json is damaged"]),
    ("train --resume=run --lr=1", 2, ["it cannot take --lr", "It takes --epochs, --patience"]),
    # checkpoints
    ("predict absent", 1, ["there is no run folder or checkpoint absent"]),
    ("predict run", 1, ["run has no best checkpoint", "run/checkpoints/best.safetensors is missing"]),
    ("predict hard.csv", 1, ["the checkpoint hard.csv cannot be read"]),
    ("predict empty.safetensors", 1, ["the checkpoint empty.safetensors cannot be read"]),
    ("predict text.safetensors", 1, ["the checkpoint text.safetensors cannot be read"]),
    ("predict cut.safetensors", 1, ["the checkpoint cut.safetensors cannot be read"]),
    ("predict foreign.safetensors", 1, ["foreign.safetensors is no checkpoint of this maskkit"]),
    ("predict newer.safetensors", 1, ["newer.safetensors is no checkpoint of this maskkit", "999"]),
    # images to predict
    (PREDICT, 2, ["nothing to predict", "Type --images=DIR, or --info=CSV."]),
    (f"{PREDICT} --images=absent", 1, ["the folder of images absent does not exist"]),
    (f"{PREDICT} --images=hard.csv", 1, ["the folder of images hard.csv is a file, not a folder"]),
    (f"{PREDICT} --images=faces/train/images", 1, ["there is no image in", "It holds profiles to train on."]),
    (f"{PREDICT} --images=strangers", 1, ["there is no image in", "It holds folders: someone."]),
    (
        f"{PREDICT} --images=eval/images",
        1,
        ["1 of 1 images cannot be read", "it holds no image; it begins with b'no im"],
    ),
    (f"{PREDICT} --info=absent.csv", 1, ["absent.csv cannot be read: No such file or directory"]),
    (f"{PREDICT} --info=run", 1, ["run cannot be read: Is a directory"]),
    (f"{PREDICT} --info=eval/info.csv", 1, ["have no file in", "missing.jpg"]),
    (f"{PREDICT} --info=utf16.csv", 1, ["utf16.csv cannot be read: it is not text in UTF-8"]),
    (f"{PREDICT} --info=empty.csv", 1, ["empty.csv has no column ImageID; it has nothing"]),
    (f"{PREDICT} --info=no_ids.csv", 1, ["no_ids.csv has no column ImageID; it has name, ans"]),
    (f"{PREDICT} --info=two_ids.csv", 1, ["two_ids.csv has 2 columns ImageID"]),
    (f"{PREDICT} --info=header_only.csv", 1, ["header_only.csv names no image: it has no rows"]),
    ("predict trained.safetensors --images=faces/eval", 2, ["lies in no run folder", "Type --out=FOLDER"]),
    ("predict trained.safetensors --images=faces/eval --out=hard.csv", 2, ["--out=hard.csv is a file; it must be a"]),
]

OFFER = """
from maskkit import Component, hookimpl

@hookimpl
def maskkit_models():
    yield Component(name="{name}", target="{target}", summary="A model")
"""
MODELS = """
def refusing(num_outputs, *, pretrained):
    raise RuntimeError("no licence for this machine")
"""
GUESTS = {
    "lost": OFFER.format(name="Lost", target="guest_lost.absent:model"),
    "refusing": OFFER.format(name="Refusing", target="guest_refusing:refusing") + MODELS,
    "broken": "raise ImportError('no library for faces')",
    "misspelled": OFFER.format(name="Hidden", target="x:y").replace("maskkit_models", "maskkit_modles"),
}
WITH_GUESTS: list[Row] = [
    (f"{TRAIN} --model=Lost", 1, ["model 'Lost' of guest-lost 1.0 cannot be loaded", "MASKKIT_DISABLE_PLUGINS=lost"]),
    (f"{TRAIN} --model=Hidden", 2, ["unknown model 'Hidden'", "misspelled (", "did you mean maskkit_models?"]),
    (f"{TRAIN} --model=Broken", 2, ["unknown model 'Broken'", "broken (ImportError: no library for faces)"]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """Return a folder of everything that the tables name."""
    place = write_files(tmp_path_factory.mktemp("inputs"), FILES)
    draw_faces(place / "faces", people=8, eval_people=2, seed=1)
    elsewhere = tmp_path_factory.mktemp("runs")
    done = run_forked(place, *TRAIN.split(), "--eval_dir=none", f"--model_dir={elsewhere}", env=environment)
    assert done.code == 0, done.err
    (elsewhere / "exp" / "checkpoints" / "best.safetensors").rename(place / "trained.safetensors")
    return place


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment in which some plugins of strangers are installed, none of which works."""
    place = tmp_path_factory.mktemp("guests")
    for name, source in GUESTS.items():
        write_files(
            place,
            {
                f"guest_{name}.py": source,
                f"guest_{name}-1.0.dist-info/METADATA": f"Name: guest-{name}\nVersion: 1.0\n",
                f"guest_{name}-1.0.dist-info/entry_points.txt": f"[maskkit]\n{name} = guest_{name}\n",
            },
        )
    path = os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH")]))
    return {"MASKKIT_DISABLE_PLUGINS": "", "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def shortened(row: Row) -> str:
    return row[0].replace(TRAIN, "train ..").replace(PREDICT, "predict ..")


@pytest.mark.parametrize("row", CASES, ids=shortened)
def test_a_wrong_input_is_told_and_changes_nothing(environment: dict[str, str], folder: Path, row: Row) -> None:
    def quick(*words: str, cwd: Path, env: object) -> Outcome:  # noqa: ARG001  the environment is that of all rows
        return run_forked(cwd, *words, env=environment)

    assert_refused(quick, folder, row)


@pytest.mark.parametrize("row", WITH_GUESTS, ids=shortened)
def test_a_plugin_that_does_not_work_is_told(maskkit: Runner, folder: Path, guests: dict[str, str], row: Row) -> None:
    assert_refused(maskkit, folder, row, env=guests)


def test_a_factory_that_fails_is_named_and_changes_nothing(
    maskkit: Runner, folder: Path, guests: dict[str, str]
) -> None:
    outcome = maskkit(*TRAIN.split(), "--model=Refusing", cwd=folder, env=guests)
    assert (outcome.code, outcome.out) == (1, "")
    assert "model Refusing of guest-refusing 1.0 failed: RuntimeError: no licence for this machine\n" in outcome.err
    assert "MASKKIT_DISABLE_PLUGINS=refusing" in outcome.err
    assert "Traceback" not in outcome.err
    assert not (folder / "runs").exists()


def test_a_misspelled_hook_is_listed_with_the_one_that_was_meant(maskkit: Runner, guests: dict[str, str]) -> None:
    outcome = maskkit("list-plugins", "--strict", env=guests)
    assert (outcome.code, outcome.err) == (1, "")
    assert "unknown hook 'maskkit_modles'" in outcome.out
    assert "did you mean maskkit_models?" in outcome.out
