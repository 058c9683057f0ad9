"""Predicting from a checkpoint alone: which images, in which order, to which files, and what is refused."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Runner
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from maskkit.builtin.base_model import base_model
from maskkit.cli.shell import main
from maskkit.engine.checkpoint import Checkpoint

Table = dict[str, list[float]]
Predict = Callable[..., Table]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Predict in an empty folder, with what is in the box alone."""
    monkeypatch.setenv("MASKKIT_DISABLE_PLUGINS", "*")
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def trained(train_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of an epoch."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASKKIT_DISABLE_PLUGINS", "*")
        flags = (f"--model_dir={folder}", "--resize=48,32", "--epochs=1", "--num_workers=0", "--precision=fp32")
        assert main(["train", f"--data_dir={train_images}", *flags]) == 0
    return folder / "exp"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the run that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "exp"))


@pytest.fixture(scope="module")
def images(drawn_root: Path) -> Path:
    return drawn_root / "eval" / "images"


def read(path: Path) -> Table:
    """Return the numbers of each row by ImageID, in the order of the file."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row[0]: [float(cell) for cell in row[1:]] for row in list(csv.reader(file))[1:]}


@pytest.fixture
def predict(place: Path) -> Predict:
    """Return a function that predicts to a folder and gives the soft file."""

    def start(source: Path, *flags: str) -> Table:
        out = place / f"out{len(list(place.iterdir()))}"
        assert main(["predict", str(source), f"--out={out}", "--num_workers=0", *flags]) == 0
        soft, hard = read(out / "eval_soft.csv"), read(out / "eval_hard.csv")
        assert hard == {name: row[:1] for name, row in soft.items()}
        return soft

    return start


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    """Return the exit code and the message of a prediction that must not succeed."""
    code = main(["predict", *map(str, words), "--num_workers=0"])
    printed = capsys.readouterr().err
    assert code != 0
    assert printed.startswith("error: ")
    assert "Traceback" not in printed
    return code, printed


def write_info(path: Path, names: list[str]) -> Path:
    path.write_text("\n".join(["ImageID,ans", *(f"{name},0" for name in names), ""]), encoding="utf-8")
    return path


def forge(run: Path, **changes: Any) -> None:
    """Change the description in a run's best checkpoint."""
    path = run / "checkpoints" / "best.safetensors"
    found = Checkpoint.load(path)
    Checkpoint(found.state, {**found.description, **changes}).save(path)


def assert_near(found: Table, expected: Table) -> None:
    assert list(found) == list(expected)
    np.testing.assert_allclose(list(found.values()), list(expected.values()), atol=1e-6)


def by_hand(checkpoint: Path, path: Path) -> NDArray[np.float64]:
    """Predict one image with nothing of maskkit but the network itself."""
    with safe_open(checkpoint, framework="pt") as file:
        assert json.loads(file.metadata()["description"])["classification"] == "multi"
    network = base_model(18, pretrained=False).eval()
    network.load_state_dict({name.removeprefix("model."): value for name, value in load_file(checkpoint).items()})
    image = Image.open(path).convert("RGB")
    left, top = (image.width - 350) // 2, (image.height - 350) // 2
    small = image.crop((left, top, left + 350, top + 350)).resize((32, 48), Image.Resampling.BILINEAR)
    pixels = (np.asarray(small, dtype=np.float64) / 255 - [0.548, 0.504, 0.479]) / [0.237, 0.247, 0.246]
    with torch.inference_mode():
        logits = network(torch.from_numpy(pixels).float().permute(2, 0, 1)[None])[0].double().numpy()
    shares = np.exp(logits - logits.max())
    return np.asarray(shares / shares.sum())


def test_a_prediction_is_what_the_network_says_of_the_prepared_photo(trained: Path, images: Path) -> None:
    written = read(trained / "predictions" / "eval_soft.csv")
    for name in list(written)[:4]:
        expected = by_hand(trained / "checkpoints" / "best.safetensors", images / name)
        np.testing.assert_allclose(written[name][1:], expected, atol=1e-5)


def test_without_flags_the_eval_folder_of_the_run_is_predicted_again(run: Path) -> None:
    files = [run / "predictions" / name for name in ("eval_hard.csv", "eval_soft.csv")]
    written = [path.read_bytes() for path in files]
    for path in files:
        path.unlink()
    assert main(["predict", str(run), "--num_workers=0"]) == 0
    assert [path.read_bytes() for path in files] == written


def test_a_folder_of_images_is_predicted_in_the_order_of_names(predict: Predict, run: Path, images: Path) -> None:
    written = read(run / "predictions" / "eval_soft.csv")
    found = predict(run, f"--images={images}")
    assert list(found) == sorted(written)
    assert_near(found, {name: written[name] for name in sorted(written)})


def test_a_table_says_which_images_and_in_which_order(
    predict: Predict, run: Path, images: Path, tmp_path: Path
) -> None:
    written = read(run / "predictions" / "eval_soft.csv")
    names = sorted(written, reverse=True)[:9]
    info = write_info(tmp_path / "some.csv", names)
    expected = {name: written[name] for name in names}
    assert_near(predict(run, f"--info={info}", f"--images={images}"), expected)
    shutil.copytree(images, tmp_path / "images")
    assert_near(predict(run, f"--info={info}"), expected)


def test_a_checkpoint_alone_is_enough(predict: Predict, run: Path, images: Path, tmp_path: Path) -> None:
    written = read(run / "predictions" / "eval_soft.csv")
    alone = shutil.move(run / "checkpoints" / "best.safetensors", tmp_path / "mine.safetensors")
    shutil.rmtree(run)
    assert_near(predict(Path(alone), f"--images={images}"), {name: written[name] for name in sorted(written)})


@pytest.mark.parametrize("flags", [("--batch_size=1",), ("--batch_size=5", "--precision=fp32"), ("--device=cpu",)])
def test_the_batches_do_not_matter(predict: Predict, run: Path, flags: tuple[str, ...]) -> None:
    assert_near(predict(run, *flags), read(run / "predictions" / "eval_soft.csv"))


def test_workers_change_no_byte(run: Path, place: Path) -> None:
    assert main(["predict", str(run), "--out=two", "--num_workers=2"]) == 0
    assert (place / "two" / "eval_soft.csv").read_bytes() == (run / "predictions" / "eval_soft.csv").read_bytes()


def test_a_shorter_format_answers_nearly_the_same(predict: Predict, run: Path) -> None:
    found, written = predict(run, "--precision=bf16"), read(run / "predictions" / "eval_soft.csv")
    shares, expected = (np.array([row[1:] for row in rows.values()]) for rows in (found, written))
    np.testing.assert_allclose(shares, expected, atol=0.05)
    assert (shares != expected).any()


def test_a_format_that_the_device_lacks_falls_back_for_a_run_that_was_trained_in_it(
    predict: Predict, run: Path
) -> None:
    forge(run, precision="fp16")
    assert_near(predict(run), read(run / "predictions" / "eval_soft.csv"))


def test_the_last_checkpoint_can_be_asked_for(predict: Predict, run: Path) -> None:
    (run / "checkpoints" / "best.safetensors").unlink()
    assert_near(predict(run, "--checkpoint=last"), read(run / "predictions" / "eval_soft.csv"))


def test_what_was_done_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(run), "--out=answers", "--num_workers=0"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"42 images predicted by epoch 1 of {run / 'checkpoints' / 'best.safetensors'}",
        "wrote answers/eval_hard.csv",
        "wrote answers/eval_soft.csv",
    ]


def test_a_run_that_is_not_there_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = refused(capsys, "runs/none")
    assert code == 1
    assert "there is no run folder or checkpoint runs/none" in printed
    assert list(place.iterdir()) == []


def test_a_run_without_checkpoint_or_with_a_broken_one_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "checkpoints" / "best.safetensors"
    path.write_bytes(b"broken")
    code, printed = refused(capsys, run)
    assert (code, f"the checkpoint {path} cannot be read" in printed) == (1, True)
    path.unlink()
    code, printed = refused(capsys, run)
    assert code == 1
    assert "has no best checkpoint" in printed


def test_a_run_without_eval_folder_asks_for_images(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config["decisions"]["eval_dir"] = None
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    code, printed = refused(capsys, run)
    assert code == 2
    assert "nothing to predict" in printed
    assert "--images=DIR, or --info=CSV" in printed


def test_a_checkpoint_in_no_run_asks_where_to_write(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = shutil.copy(run / "checkpoints" / "best.safetensors", tmp_path / "mine.safetensors")
    code, printed = refused(capsys, alone, f"--images={images}")
    assert code == 2
    assert "--out=FOLDER" in printed


def test_a_file_in_the_place_of_the_output_folder_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken.csv").write_text("mine", encoding="utf-8")
    code, printed = refused(capsys, run, f"--out={tmp_path / 'taken.csv'}")
    assert code == 2
    assert "is a file" in printed
    assert (tmp_path / "taken.csv").read_text(encoding="utf-8") == "mine"


def test_images_that_are_missing_or_broken_stop_before_anything_is_written(
    run: Path, images: Path, tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(images, tmp_path / "photos"))
    info = write_info(tmp_path / "info.csv", ["nobody.jpg"])
    code, printed = refused(capsys, run, f"--images={folder}", f"--info={info}", "--out=answers")
    assert (code, "nobody.jpg" in printed) == (1, True)
    photo = min(folder.iterdir())
    content = photo.read_bytes()
    for part in (content[:3], content[: len(content) // 2]):
        photo.write_bytes(part)
        code, printed = refused(capsys, run, f"--images={folder}", "--out=answers")
        assert (code, str(photo) in printed) == (1, True)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("flag", ["--images=nowhere", "--info=nowhere.csv"])
def test_a_place_that_is_not_there_is_named(run: Path, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    code, printed = refused(capsys, run, flag)
    assert code == 1
    assert "nowhere" in printed


def test_a_plugin_that_is_missing_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = {"name": "Net", "options": {}, "plugin": "stranger", "distribution": "maskkit-stranger", "version": "1"}
    forge(run, model=record)
    code, printed = refused(capsys, run)
    assert code == 1
    assert "needs the model Net of maskkit-stranger 1, which is not there" in printed


@pytest.mark.filterwarnings("default")
def test_weights_that_do_not_fit_name_the_version_that_they_were_trained_with(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {
        "name": "Efficientnet_b0",
        "options": {},
        "plugin": "builtin",
        "distribution": "maskkit",
        "version": "0.0.9",
    }
    forge(run, model=record)
    code = main(["predict", str(run)])
    printed = capsys.readouterr().err
    assert code == 1
    assert "the weights do not fit Efficientnet_b0" in printed
    assert printed.count("warning: the run was made with maskkit 0.0.9; ") == 1
    assert "They were trained with maskkit 0.0.9." in printed


@pytest.mark.slow
def test_the_installed_command_predicts_photos_of_any_kind(maskkit: Runner, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for mode in ("RGB", "L", "CMYK"):
        Image.new(mode, (60, 80)).save(folder / f"{mode}.JPG")
    Image.new("RGBA", (500, 400)).save(folder / "alpha.png")
    (folder / ".hidden.jpg").write_bytes(b"")
    outcome = maskkit("predict", trained, f"--images={folder}", "--out=answers")
    assert (outcome.code, outcome.err) == (0, "")
    assert list(read(tmp_path / "answers" / "eval_hard.csv")) == ["CMYK.JPG", "L.JPG", "RGB.JPG", "alpha.png"]
