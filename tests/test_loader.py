"""Batches hold every row once, in an order of seed and epoch alone, whoever decodes them, and whatever befalls them."""

import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from conftest import run
from forked import Outcome
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from maskkit.builtin.augmentations import base
from maskkit.data.augmentation import Augmentation
from maskkit.data.kept import KeptImages, fits_in_memory
from maskkit.data.loader import Batch, ImageLoader
from maskkit.data.order import epoch_order, num_steps, split_rows
from maskkit.data.workers import explain_worker_failures
from maskkit.errors import DataError, WorkerError

NUM_IMAGES = 60

seeds = st.integers(0, 2**80)
counts = st.integers(1, NUM_IMAGES)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return images of which each has a grey of its own."""
    folder = tmp_path_factory.mktemp("images")
    names = [str(folder / f"{row}.png") for row in range(NUM_IMAGES)]
    for row, name in enumerate(names):
        Image.new("RGB", (4, 4), (row, row, row)).save(name)
    return names


def loader(paths: list[str], num_workers: int = 0) -> ImageLoader:
    return ImageLoader(paths, base(size=(4, 4)), num_workers=num_workers, pin_memory=False)


def rows_of(batches: list[Batch]) -> list[list[int]]:
    return [batch.rows.tolist() for batch in batches]


@given(seeds, st.integers(0, 1000), st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=50))
def test_an_epoch_holds_every_row_once_and_always_in_the_same_order(seed: int, epoch: int, rows: list[int]) -> None:
    order = epoch_order(torch.tensor(rows), seed=seed, epoch=epoch)
    torch.manual_seed(epoch)  # the state of the global generator is no matter
    assert torch.equal(order, epoch_order(torch.tensor(rows), seed=seed, epoch=epoch))
    assert sorted(order.tolist()) == sorted(rows)


@given(st.integers(0, 10**9), st.integers(0, 500))
def test_another_epoch_or_seed_is_another_order(seed: int, epoch: int) -> None:
    rows = torch.arange(40)
    order = epoch_order(rows, seed=seed, epoch=epoch)
    assert not torch.equal(order, epoch_order(rows, seed=seed, epoch=epoch + 1))
    assert not torch.equal(order, epoch_order(rows, seed=seed + 1, epoch=epoch))


def test_the_order_of_a_seed_never_changes() -> None:
    assert epoch_order(torch.arange(10), seed=42, epoch=3).tolist() == [9, 4, 7, 2, 6, 8, 3, 0, 1, 5]


@given(num_rows=counts, batch_size=st.integers(1, 70))
@settings(max_examples=60, deadline=None)
def test_batches_hold_every_row_once_and_the_steps_are_counted_right(
    paths: list[str], num_rows: int, batch_size: int
) -> None:
    rows = torch.arange(num_rows).flip(0)
    batches = rows_of(list(loader(paths).batches(split_rows(rows, batch_size))))
    assert [row for batch in batches for row in batch] == rows.tolist()
    assert len(batches) == num_steps(num_rows, batch_size)
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}
    assert len(batches[-1]) <= batch_size + 1
    assert min(map(len, batches)) > 1 or batch_size == 1 or num_rows == 1


@pytest.mark.parametrize(
    ("num_rows", "batch_size", "sizes"),
    [(9, 4, [4, 5]), (8, 4, [4, 4]), (10, 4, [4, 4, 2]), (3, 2, [3]), (1, 4, [1]), (3, 1, [1, 1, 1]), (5, 9, [5])],
)
def test_a_last_batch_of_one_joins_the_one_before(
    paths: list[str], num_rows: int, batch_size: int, sizes: list[int]
) -> None:
    batches = loader(paths).batches(split_rows(torch.arange(num_rows), batch_size))
    assert [len(batch.rows) for batch in batches] == sizes


def read_two_epochs(paths: list[str], num_workers: int) -> list[tuple[Tensor, Tensor]]:
    """Read an epoch of training, one of validation and one more with the same loader."""
    source = loader(paths, num_workers)
    orders = [epoch_order(torch.arange(37), seed=1, epoch=0), torch.arange(37, 60), torch.arange(5)]
    return [(batch.images, batch.rows) for order in orders for batch in source.batches(split_rows(order, 6))]


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # more than the cores here
def test_batches_are_the_same_for_any_number_of_workers(paths: list[str]) -> None:
    alone = read_two_epochs(paths, 0)
    assert all((images == rows[:, None, None, None]).all() for images, rows in alone)
    for num_workers in (1, 4):
        among_workers = read_two_epochs(paths, num_workers)
        for (images, rows), (expected_images, expected_rows) in zip(among_workers, alone, strict=True):
            assert torch.equal(images, expected_images)
            assert torch.equal(rows, expected_rows)


def keeping(paths: list[str], num_workers: int = 0) -> ImageLoader:
    kept = KeptImages.in_memory(len(paths), (4, 4))
    return ImageLoader(paths, base(size=(4, 4)), num_workers=num_workers, pin_memory=False, kept=kept)


@given(st.lists(st.lists(st.integers(0, NUM_IMAGES - 1), min_size=1, max_size=20), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_kept_images_make_the_same_batches_whatever_was_read_before(paths: list[str], wanted: list[list[int]]) -> None:
    source = keeping(paths)
    for first in range(0, len(wanted), 3):
        rows = [torch.tensor(part) for part in wanted[first : first + 3]]
        for batch, expected in zip(source.batches(rows), rows, strict=True):
            assert torch.equal(batch.rows, expected)
            assert (batch.images == expected[:, None, None, None]).all()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_kept_image_is_read_once(tmp_path: Path, num_workers: int) -> None:
    names = [str(tmp_path / f"{row}.png") for row in range(9)]
    for row, name in enumerate(names):
        Image.new("RGB", (4, 4), (row, row, row)).save(name)
    source, again = keeping(names, num_workers), loader(names, num_workers)
    orders = [split_rows(torch.arange(9), 4), split_rows(torch.arange(9).flip(0), 2)]
    assert len(list(source.batches(orders[0]))) == len(list(again.batches(orders[0])))
    for name in names:
        Path(name).unlink()
    assert [row for batch in source.batches(orders[1]) for row in batch.images[:, 0, 0, 0].tolist()] == [*range(9)][
        ::-1
    ]
    with pytest.raises(DataError):
        list(again.batches(orders[1]))


def test_only_what_fits_is_kept_by_itself() -> None:
    assert fits_in_memory(1, (4, 4))
    assert not fits_in_memory(2**40, (4, 4))


def test_batches_are_prepared_bytes(paths: list[str]) -> None:
    (batch,) = loader(paths).batches(split_rows(torch.tensor([5, 2]), 8))
    assert batch.images.dtype == torch.uint8
    assert batch.images.shape == (2, 3, 4, 4)
    assert batch.rows.dtype == torch.int64


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_broken_image_is_named_and_a_later_epoch_can_still_be_read(
    paths: list[str], tmp_path: Path, num_workers: int
) -> None:
    broken = tmp_path / "broken.png"
    content = Path(paths[0]).read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    source = loader([*paths[:6], str(broken)], num_workers)
    with pytest.raises(DataError) as caught:
        list(source.batches(split_rows(torch.arange(7), 3)))
    assert f"the image {broken} cannot be read" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "File " not in str(caught.value)
    assert rows_of(list(source.batches(split_rows(torch.arange(6), 3)))) == [[0, 1, 2], [3, 4, 5]]


def test_every_broken_image_of_a_batch_is_named(paths: list[str], tmp_path: Path) -> None:
    missing = [str(tmp_path / name) for name in ("one.png", "two.png")]
    with pytest.raises(DataError) as caught:
        list(loader([*paths[:2], *missing]).batches(split_rows(torch.arange(4), 4)))
    assert all(name in str(caught.value) for name in missing)


def failing(image: Image.Image) -> Tensor:
    raise ValueError(f"no picture of {image.width} pixels will do")


def test_an_augmentation_that_fails_in_a_worker_is_told_without_its_traceback(paths: list[str]) -> None:
    source = ImageLoader(paths, Augmentation(failing, None), num_workers=1, pin_memory=False)
    with pytest.raises(WorkerError) as caught:
        list(source.batches([torch.arange(4)]))
    assert caught.value.message.endswith("failed (ValueError: no picture of 4 pixels will do)")
    assert caught.value.hint == "To see where: --num_workers=0 --debug"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory, so says a DataLoader worker"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OSError(28, "No space left on device"),
        WorkerError("a process died (DataLoader worker (pid 1) is killed by signal: Killed)"),
    ],
)
def test_errors_of_another_kind_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, explain_worker_failures():
        raise error
    assert caught.value is error


# A process of its own: torch raises from a signal handler, wherever the main thread happens to be.
READING = """
import multiprocessing.popen_fork, multiprocessing.queues, multiprocessing.synchronize, os, resource, signal, sys, torch
from maskkit.builtin.augmentations import base
from maskkit.data.loader import ImageLoader
from maskkit.data.order import split_rows
from maskkit.data.workers import explain_worker_failures
from maskkit.errors import WorkerError

def limit_processes():
    if os.getuid() == 0:
        os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))

def kill_one():
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

source = ImageLoader([sys.argv[1]] * 400, base(size=(64, 64)), num_workers=2, pin_memory=False)
try:
    with explain_worker_failures():
        {before}
        for step, batch in enumerate(source.batches(split_rows(torch.arange(400), 4))):
            print(*(child.pid for child in multiprocessing.active_children()), flush=True)
            if step == 3:
                {during}
except WorkerError as error:
    sys.exit(str(error))
"""


def read_in_trouble(path: str, before: str = "pass", during: str = "pass") -> Outcome:
    return run(sys.executable, "-c", READING.format(before=before, during=during), path, timeout=60)


def test_a_killed_worker_is_told_and_leaves_none_behind(paths: list[str]) -> None:
    outcome = read_in_trouble(paths[0], during="kill_one()")
    meaning, hint = outcome.err.splitlines()
    assert outcome.code == 1
    assert meaning.startswith("a process that decodes images died, most often because the memory ran out (DataLoader")
    assert hint.startswith("Use fewer: --num_workers=1, or 0 to decode in this process")
    workers = {int(pid) for pid in outcome.out.split()}
    assert len(workers) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's own")
def test_a_worker_that_the_system_refuses_is_told(paths: list[str]) -> None:
    outcome = read_in_trouble(paths[0], before="limit_processes()")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines() == [
        "the system has no room for so many processes that decode images ([Errno 11] Resource temporarily unavailable)",
        "Use fewer: --num_workers=1, or 0 to decode in this process.",
    ]


TINY = "mount -t tmpfs -o size=1m tmpfs /dev/shm"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "workers", "told"),
    [
        (TINY, 1, ["there is too little shared memory (/dev/shm) for the", "as docker run --shm-size=8g does."]),
        ("ulimit -n 64", 60, ["too many files are open for the", "raise the limit, as ulimit -n 4096 does."]),
    ],
    ids=["little shared memory", "few open files"],
)
def test_a_training_in_trouble_ends_with_a_way_on(
    environment: dict[str, str], tmp_path: Path, train_images: Path, *, trouble: str, workers: int, told: list[str]
) -> None:
    private = ("unshare", "--mount") if trouble == TINY else ()  # a /dev/shm that nobody else sees
    if run(*private, "sh", "-c", trouble).code != 0:
        pytest.skip(f"this user may not: {' '.join(private)} {trouble}")
    command = Path(sysconfig.get_path("scripts")) / "maskkit"
    words = f"train --data_dir={train_images} --eval_dir=none --epochs=1 --resize=128 --num_workers={workers}"
    outcome = run(*private, "sh", "-c", f"{trouble} && exec {command} {words}", cwd=tmp_path, env=environment)
    assert outcome.code == 1
    assert f"error: {told[0]} processes that decode images (" in outcome.err
    assert told[1] in outcome.err
    assert "Traceback" not in outcome.err
