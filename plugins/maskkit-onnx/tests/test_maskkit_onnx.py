import csv
import json
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import settle
from maskkit_onnx.command import export_onnx
from maskkit_onnx.errors import ExportError
from maskkit_onnx.graph import _adaptive_max_pool, to_onnx
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from maskkit import load_run, open_image
from maskkit.cli.shell import main
from maskkit.errors import CheckpointError, UsageError
from maskkit.labels import AXES, VIEWS
from maskkit.testing import Check

EXAMPLE = Path(__file__).parent.parent / "examples" / "predict_folder.py"
Trainer = Callable[..., Path]


def by_onnxruntime(file: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"images": images})
    return np.asarray(found)


def metadata_of(file: Path) -> dict[str, object]:
    return {part.key: json.loads(part.value) for part in onnx.load(str(file)).metadata_props}


def soft_file(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [row[0] for row in rows], np.array([[float(cell) for cell in row[2:]] for row in rows])


def check_parity(file: Path, run: Path, photos: Path) -> None:
    names, wanted = soft_file(run / "predictions" / "eval_soft.csv")
    assert np.ptp(wanted, axis=0).max() > 0.01, "a run that answers every photo alike proves nothing"
    prepare = load_run(run).prepare
    images = np.stack([prepare(open_image(photos / name)).permute(1, 2, 0) for name in names])
    np.testing.assert_allclose(by_onnxruntime(file, images), wanted, atol=1e-4)
    # A batch of any size: each image by itself gives its row.
    alone = [by_onnxruntime(file, images[row : row + 1])[0] for row in range(len(names))]
    np.testing.assert_allclose(alone, wanted, atol=1e-4)


def test_the_file_gives_the_probabilities_that_the_run_wrote(exported: Path, run: Path, faces: Path) -> None:
    check_parity(exported, run, faces / "eval" / "images")


@pytest.mark.parametrize("view", ["multi", *(pytest.param(axis.name, marks=pytest.mark.slow) for axis in AXES)])
def test_it_does_so_for_every_view(view: str, trained_run: Trainer, faces: Path, tmp_path: Path) -> None:
    run = trained_run(f"--classification={view}", "--resize=64,48")
    export_onnx(run, out=tmp_path / "run.onnx")
    check_parity(tmp_path / "run.onnx", run, faces / "eval" / "images")
    assert metadata_of(tmp_path / "run.onnx")["classes"] == list(VIEWS[view].classes)


@pytest.mark.slow
@pytest.mark.parametrize("view", ["multi", "multihead"])
def test_it_does_so_for_an_efficientnet(view: str, trained_run: Trainer, faces: Path, tmp_path: Path) -> None:
    run = trained_run(f"--classification={view}", "--resize=48,32", "--model=Efficientnet_b0", "--no-pretrained")
    settle(run, sorted((faces / "eval" / "images").iterdir()))
    export_onnx(run, out=tmp_path / "run.onnx")
    check_parity(tmp_path / "run.onnx", run, faces / "eval" / "images")


def test_the_file_tells_what_it_is(exported: Path, run: Path) -> None:
    told = metadata_of(exported)
    with (run / "metrics.csv").open(newline="") as file:
        (metrics,) = csv.DictReader(file)
    assert told["macro_f1"] == pytest.approx(float(metrics["valid_f1_macro"]), abs=1e-6)
    assert (told["run"], told["checkpoint"], told["epoch"]) == ("exp", "best", 1)
    assert (told["classification"], told["size"]) == ("multihead", [48, 32])
    assert told["prepare"] == {"crop": 350, "size": [48, 32], "resample": "bilinear", "antialias": True}
    assert (told["mean"], told["std"]) == ([0.548, 0.504, 0.479], [0.237, 0.247, 0.246])
    part = told["augmentation"]
    assert isinstance(part, dict)
    assert part["name"] == "BaseAugmentation"


def test_the_file_names_its_sides_and_no_folder_of_the_machine(exported: Path) -> None:
    onnx.checker.check_model(str(exported), full_check=True)
    graph = onnx.load(str(exported)).graph
    sides = {
        value.name: [dimension.dim_param or dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert sides == {"images": ["N", 48, 32, 3], "probabilities": ["N", 18]}
    assert str(Path(torch.__file__).parent).encode() not in exported.read_bytes()


def test_it_replaces_an_older_file_and_prints_what_to_type_next(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a b.onnx"
    file.write_text("older")
    assert main(["export-onnx", str(run), f"--out={file}", "--opset=20", "--checkpoint=last"]) == 0
    first, written, *_, compared, _, _, last = capsys.readouterr().out.splitlines()
    assert f"exporting BaseModel of {run / 'checkpoints' / 'last.safetensors'}: epoch 1" in first
    assert written.startswith(f"wrote      {file}, ")
    assert written.endswith("MB, opset 20")
    assert "on 5 random images and 11 photos of the run" in compared
    assert last == f"  python {EXAMPLE} '{file}' FOLDER --out=answers.csv"
    assert [opset.version for opset in onnx.load(str(file)).opset_import] == [20]
    assert list(tmp_path.iterdir()) == [file]


def test_other_probabilities_are_refused_and_leave_an_older_file(
    run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "best.onnx"
    file.write_text("older")

    def another_graph(*_: object, **__: object) -> onnx.ModelProto:
        model = onnx.load(str(exported))
        mean = next(node for node in model.graph.node if node.op_type == "Div").input[1]
        next(one for one in model.graph.initializer if one.name == mean).CopyFrom(
            onnx.numpy_helper.from_array(np.array(200, dtype=np.float32), mean)  # of 0..255, which it divides by 255
        )
        return model

    monkeypatch.setattr("maskkit_onnx.graph.to_onnx", another_graph)
    assert main(["export-onnx", str(run), f"--out={file}"]) == 1
    assert "onnxruntime gives other probabilities than torch: largest difference " in capsys.readouterr().err
    assert file.read_text() == "older"
    assert list(tmp_path.iterdir()) == [file]


class Unexportable(nn.Sequential):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)) * float(images.mean())  # what follows from a number is no graph


def test_a_network_that_cannot_be_exported_is_named(run: Path, tmp_path: Path) -> None:
    trained = load_run(run)
    odd = replace(trained, classifier=replace(trained.classifier, network=Unexportable()))
    with pytest.raises(ExportError, match=r"torch cannot export BaseModel of maskkit 0\.1\.0: "):
        to_onnx(odd, opset=18)
    assert not list(tmp_path.iterdir())


def test_a_plugins_preparation_is_left_to_the_plugin_and_said_so(
    run: Path, exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trained = load_run(run)
    other = {"name": "FaceAligned", "options": {}, "plugin": "align", "distribution": "maskkit-align", "version": "2.0"}
    odd = replace(trained, description={**trained.description, "augmentation": other})
    monkeypatch.setattr("maskkit.load_run", lambda *_, **__: odd)
    # The graph is the same, and is not what this is about.
    monkeypatch.setattr("maskkit_onnx.graph.to_onnx", lambda *_, **__: bare(exported))
    export_onnx(run, out=tmp_path / "odd.onnx")
    printed = capsys.readouterr().out
    assert "the file cannot tell how FaceAligned of maskkit-align 2.0 prepares an image" in printed
    assert "predict_folder" not in printed
    told = metadata_of(tmp_path / "odd.onnx")
    assert (told["prepare"], told["augmentation"]) == (None, other)


def bare(file: Path) -> onnx.ModelProto:
    model = onnx.load(str(file))
    del model.metadata_props[:]
    return model


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("best.bin", "does not end with .onnx"),
        ("folder.onnx", "is a folder"),
        ("file/best.onnx", "is no folder"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_refused(name: str, complaint: str, run: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=complaint):
        export_onnx(run, out=tmp_path / name)


def test_a_checkpoint_that_lies_alone_is_compared_without_photos(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((run / "checkpoints" / "best.safetensors").read_bytes())
    export_onnx(alone)
    assert "on 5 random images alone, as no photo of the run was found" in capsys.readouterr().out
    assert metadata_of(tmp_path / "alone.onnx")["run"] is None


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckpointError, match="there is no run folder or checkpoint"):
        export_onnx(tmp_path / "nothing")
    assert main(["export-onnx", str(tmp_path)]) == 1
    assert "has no best checkpoint" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [0, 17, 24])
def test_an_opset_that_is_not_offered_is_refused(opset: int, run: Path) -> None:
    with pytest.raises(UsageError, match=r"it must be 18\.\.23"):
        export_onnx(run, opset=opset)


@pytest.mark.parametrize(("height", "width"), [(6, 4), (8, 8), (28, 28), (3, 2)])
def test_its_pooling_is_that_of_torch(height: int, width: int) -> None:
    images = torch.randn(2, 5, height, width, generator=torch.Generator().manual_seed(0))
    found, _ = _adaptive_max_pool(images, [4, 3])
    torch.testing.assert_close(found, nn.functional.adaptive_max_pool2d(images, [4, 3]))


@pytest.mark.parametrize("height_and_width", [(512, 384), (350, 350), (351, 353), (20, 700), (1, 1)])
def test_the_example_prepares_the_pixels_that_the_run_prepares(run: Path, height_and_width: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*height_and_width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    found = runpy.run_path(str(EXAMPLE))["prepare"](image, {"crop": 350, "size": [48, 32]})
    np.testing.assert_array_equal(found, load_run(run).prepare(image).permute(1, 2, 0))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "I;16", "1", "RGB"])
def test_the_example_reads_the_pixels_that_maskkit_reads(mode: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(noise[..., 0].astype(np.uint16) * 257 - 100 * (noise[..., 0] > 0).astype(np.uint16))
    else:
        image = Image.fromarray(noise, "RGBA").convert("RGB" if mode in ("P", "1") else "RGBA").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 5
    file = tmp_path / "photo.png"
    image.save(file, exif=exif, transparency=3 if mode == "P" else None)
    found = runpy.run_path(str(EXAMPLE))["read"](file)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(open_image(file)))


def test_it_keeps_the_contracts(maskkit_check: Check) -> None:
    maskkit_check()
