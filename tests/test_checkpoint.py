"""A checkpoint is one file that comes back as it was, is written whole or not at all, and refuses what is none."""

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from maskkit.builtin.base_model import base_model
from maskkit.engine.checkpoint import Checkpoint, find_checkpoint
from maskkit.errors import CheckpointError

DESCRIPTION = {"model": {"name": "BaseModel", "options": {"dropout": 0.5}}, "size": [128, 96], "notice": "가 \" ' \n"}


def checkpoint(seed: int = 0, description: dict[str, Any] = DESCRIPTION) -> Checkpoint:
    torch.manual_seed(seed)
    return Checkpoint({"model": base_model(18, pretrained=False).state_dict()}, description)


def assert_same(found: Checkpoint, expected: Checkpoint) -> None:
    assert found.description == expected.description
    assert set(found.weights) == set(expected.weights)
    for name, value in expected.weights.items():
        assert found.weights[name].dtype == value.dtype
        assert torch.equal(found.weights[name], value)


def refused(path: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.load(path)
    assert str(path) in caught.value.message
    return caught.value


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@given(description=st.dictionaries(st.text(), plain, max_size=4))
@settings(max_examples=40, deadline=None)
def test_weights_and_description_come_back(folder: Path, description: dict[str, Any]) -> None:
    path = folder / "last.safetensors"
    weights = {"a": torch.randn(2, 3), "b.c": torch.arange(4), "d": torch.tensor(1.5, dtype=torch.bfloat16)}
    Checkpoint({"model": weights}, description).save(path)
    assert_same(Checkpoint.load(path), Checkpoint({"model": weights}, description))


def test_a_network_comes_back_whatever_its_memory_order_or_shared_tensors(tmp_path: Path) -> None:
    network = base_model(18, pretrained=False).to(memory_format=torch.channels_last)
    tied = torch.randn(4, 4)
    weights = network.state_dict() | {"tied.one": tied, "tied.two": tied, "turned": tied.t()}
    Checkpoint({"model": weights}, {}).save(tmp_path / "last.safetensors")
    assert_same(Checkpoint.load(tmp_path / "last.safetensors"), Checkpoint({"model": weights}, {}))


def test_it_is_one_safetensors_file_that_any_program_can_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "best.safetensors"
    checkpoint().save(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["best.safetensors"]
    with safe_open(path, framework="np") as file:
        assert all(name.startswith("model.") for name in file.keys())  # noqa: SIM118  it is no dict
        assert set(file.metadata()) == {"maskkit", "state", "description"}


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let the system refuse to write more, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, kept)


def test_a_write_that_fails_half_way_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    checkpoint(seed=1).save(path)
    size = path.stat().st_size
    with no_file_larger_than(size // 2), pytest.raises(CheckpointError, match=r"cannot be written.*too large"):
        checkpoint(seed=2).save(path)
    assert_same(Checkpoint.load(path), checkpoint(seed=1))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


WRITE_FOREVER = """
import itertools, sys, torch
from pathlib import Path
from maskkit.engine.checkpoint import Checkpoint
for number in itertools.count():
    Checkpoint({"model": {"a": torch.full((2_000_000,), float(number))}}, {"number": number}).save(Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_kill_while_writing_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    with subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, path]) as writer:
        while not path.exists():
            assert writer.poll() is None
            time.sleep(0.01)
        time.sleep(0.1)
        writer.kill()
    found = Checkpoint.load(path)
    assert (found.weights["a"] == found.description["number"]).all()


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    torch.save(checkpoint().weights, tmp_path / "pickled.pth")
    contents = {"empty": b"", "text": b"hello", "zeros": bytes(64), "pickled": (tmp_path / "pickled.pth").read_bytes()}
    for name, content in contents.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        assert "cannot be read" in refused(path).message


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
def test_a_file_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "best.safetensors"
    checkpoint().save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(path)


METADATA: list[dict[str, str] | None] = [
    None,
    {},
    {"format": "pt"},
    {"maskkit": "999", "description": "{}"},
    {"maskkit": "1"},
    {"maskkit": "1", "description": "{"},
]


@pytest.mark.parametrize("metadata", METADATA, ids=str)
def test_the_safetensors_of_another_program_or_form_are_refused(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"model.a": torch.zeros(2)}, path, metadata)
    refused(path)


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.safetensors")
    refused(tmp_path)


def test_the_checkpoint_of_a_run_is_found_by_folder_or_by_file(tmp_path: Path) -> None:
    for which in ("best", "last"):
        path = tmp_path / "exp" / "checkpoints" / f"{which}.safetensors"
        checkpoint().save(path)
        assert find_checkpoint(tmp_path / "exp", which) == path
        assert find_checkpoint(path, "best") == path


def test_a_run_that_is_not_there_or_has_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run folder or checkpoint"):
        find_checkpoint(tmp_path / "none", "best")
    with pytest.raises(CheckpointError, match="no best checkpoint") as caught:
        find_checkpoint(tmp_path, "best")
    assert "first epoch" in caught.value.hint
