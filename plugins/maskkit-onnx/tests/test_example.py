"""The example as its users have it: a Python of onnxruntime, numpy and Pillow, without torch and without maskkit."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "predict_folder.py"
Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Python without its site-packages; it sees onnxruntime, numpy and Pillow, and the needs of onnxruntime."""
    packages = tmp_path_factory.mktemp("packages")
    for name in ("numpy", "PIL", "onnxruntime", "flatbuffers", "google", "packaging"):
        spec = find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            continue
        source = Path(next(iter(spec.submodule_search_locations)))
        (packages / name).symlink_to(source)
        libraries = source.parent / f"{'pillow' if name == 'PIL' else name}.libs"  # what a wheel brings beside itself
        if libraries.is_dir() and not (packages / libraries.name).exists():
            (packages / libraries.name).symlink_to(libraries)

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(packages), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-S", "-s", "-B", *map(str, words)]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False, cwd=packages
        )

    return run


@pytest.mark.parametrize("module", ["torch", "maskkit", "onnx"])
def test_there_is_no_torch_and_no_maskkit(module: str, python: Python) -> None:
    assert f"No module named '{module}'" in python("-c", f"import {module}").stderr


def test_it_writes_the_files_that_the_run_wrote(
    python: Python, run: Path, exported: Path, faces: Path, tmp_path: Path
) -> None:
    hard, soft = tmp_path / "hard.csv", tmp_path / "soft.csv"
    words = [f"--out={hard}", f"--soft_out={soft}", f"--info={faces / 'eval' / 'info.csv'}", "--batch_size=3"]
    done = python(EXAMPLE, exported, faces / "eval" / "images", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 photos predicted by epoch 1 of exp" in done.stdout
    assert hard.read_bytes() == (run / "predictions" / "eval_hard.csv").read_bytes()
    found, wanted = (
        [line.split(",") for line in file.read_text().splitlines()]
        for file in (soft, run / "predictions" / "eval_soft.csv")
    )
    assert [row[:2] for row in found] == [row[:2] for row in wanted]
    numbers = [np.array([row[2:] for row in rows[1:]], dtype=np.float64) for rows in (found, wanted)]
    np.testing.assert_allclose(numbers[0], numbers[1], atol=1e-4)


def test_without_a_list_it_takes_all_by_name(python: Python, exported: Path, faces: Path, tmp_path: Path) -> None:
    hard = tmp_path / "hard.csv"
    assert python(EXAMPLE, exported, faces / "eval" / "images", f"--out={hard}").returncode == 0
    names = [line.split(",")[0] for line in hard.read_text().splitlines()]
    assert names == ["ImageID", "a.jpg", "b.jpg", "c.png", "d.PNG"]


def test_it_refuses_a_file_that_does_not_tell_how_to_prepare(
    python: Python, exported: Path, faces: Path, tmp_path: Path
) -> None:
    model = onnx.load(str(exported))
    next(part for part in model.metadata_props if part.key == "prepare").value = "null"
    onnx.save(model, str(tmp_path / "other.onnx"))
    done = python(EXAMPLE, tmp_path / "other.onnx", faces / "eval" / "images", f"--out={tmp_path / 'hard.csv'}")
    assert done.returncode == 1
    assert "does not tell how to prepare a photo" in done.stderr
    assert "BaseAugmentation" in done.stderr
    assert not (tmp_path / "hard.csv").exists()
