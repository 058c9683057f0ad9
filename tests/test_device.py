"""Where a run computes: cores that may be used, devices that are there, formats that a device has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import Runner

from maskkit.engine.device import choose_device, choose_precision, choose_workers, usable_cores
from maskkit.errors import UsageError

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process")

PINNED = """
import os, sys
os.sched_setaffinity(0, {int(core) for core in sys.argv[1:]})
import torch
from maskkit.engine.device import choose_workers, usable_cores
cpu, gpu = torch.device("cpu"), torch.device("cuda:0")
print(usable_cores(), choose_workers("auto", cpu), choose_workers("auto", gpu), choose_workers(5, cpu))
"""


@needs_affinity
@pytest.mark.slow
def test_a_process_pinned_to_some_cores_uses_no_more() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    for cores in (allowed[:1], allowed[:2]):
        command = [sys.executable, "-c", PINNED, *map(str, cores)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        usable, on_cpu, on_gpu, asked = map(int, done.stdout.split())
        assert 1 <= usable <= len(cores)
        assert (on_cpu, on_gpu, asked) == (usable // 2, usable - 1, 5)


@needs_affinity
def test_usable_cores_are_those_of_this_process() -> None:
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("cores", "on_cpu", "on_gpu"), [(1, 0, 0), (2, 1, 1), (3, 1, 2), (8, 4, 7), (16, 8, 8), (200, 8, 8)]
)
def test_workers_leave_cores_to_the_training_and_are_not_too_many(
    monkeypatch: pytest.MonkeyPatch, cores: int, on_cpu: int, on_gpu: int
) -> None:
    monkeypatch.setattr("maskkit.engine.device.usable_cores", lambda: cores)
    assert choose_workers("auto", CPU) == on_cpu
    assert choose_workers("auto", CUDA) == on_gpu


@pytest.mark.parametrize("asked", [0, 1, 40])
def test_a_number_of_workers_that_is_asked_for_is_taken(asked: int) -> None:
    assert choose_workers(asked, CPU) == asked


def test_the_cpu_is_always_there() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in {"cpu", "cuda", "mps"}


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "CPU", "", "cuda:-1", "cpu:7"])
def test_an_unknown_device_is_refused_with_those_that_are_here(name: str) -> None:
    with pytest.raises(UsageError, match=f"--device={name}: no such device") as caught:
        choose_device(name)
    assert "Here are: cpu" in caught.value.hint


def test_a_cpu_computes_in_the_format_that_is_asked_for() -> None:
    assert choose_precision("auto", CPU).dtype in {torch.float32, torch.bfloat16}
    assert choose_precision("fp32", CPU).dtype == torch.float32
    assert choose_precision("bf16", CPU).dtype == torch.bfloat16
    assert not choose_precision("bf16", CPU).needs_scaler


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(UsageError, match="fp16 needs a GPU") as caught:
        choose_precision("fp16", CPU)
    assert "bf16" in caught.value.hint


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_ends_a_training_before_anything_is_written(
    maskkit: Runner, train_images: Path, tmp_path: Path
) -> None:
    outcome = maskkit("train", f"--data_dir={train_images}", "--device=cuda")
    assert outcome.code == 2
    assert outcome.err.splitlines() == ["error: --device=cuda: no such device here", "  Here are: cpu."]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
@needs_cuda
def test_cuda_is_taken_where_it_is() -> None:
    assert choose_device("auto") == choose_device("cuda") == CUDA
    assert choose_precision("auto", CUDA).name in {"bf16", "fp16"}


@pytest.mark.gpu
@pytest.mark.slow
@needs_cuda
@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16", "fp16"])
def test_a_short_training_works_in_each_format_and_predicts_on_a_cpu(
    maskkit: Runner, train_images: Path, tmp_path: Path, precision: str
) -> None:
    flags = ("--resize=64", "--epochs=2", "--batch_size=32", "--clip_norm=5", "--scheduler=cosine", "--device=cuda")
    outcome = maskkit("train", f"--data_dir={train_images}", f"--precision={precision}", *flags)
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    soft = tmp_path / "runs" / "exp" / "predictions" / "eval_soft.csv"
    again = maskkit("predict", "runs/exp", "--device=cpu", "--precision=fp32", "--out=on_cpu")
    assert again.code == 0, again.err
    assert len((tmp_path / "on_cpu" / "eval_soft.csv").read_text().splitlines()) == len(soft.read_text().splitlines())
