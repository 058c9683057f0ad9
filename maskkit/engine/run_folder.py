"""The folder of a run: its name, who may write in it, and the tables that tell what it learned from."""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskkit.data.images import first_few
from maskkit.data.samples import Samples
from maskkit.errors import CheckpointError, UsageError
from maskkit.files import write_text

__all__ = [
    "check_name",
    "check_same_samples",
    "hash_of",
    "locked",
    "make_run_folder",
    "samples_table",
    "write_bad_images",
    "write_relabelled",
    "write_samples",
]

_SAMPLES = "samples.csv"
_LONGEST_NAME = 240  # of 255, so that a number fits behind it


def make_run_folder(model_dir: Path, name: str) -> Path:
    """Create and return model_dir/name, or name-2, name-3 .. when it exists; two runs at once get two folders.

    Raises:
        UsageError: the name is no plain folder name, or the folder cannot be made.
    """
    check_name(name)
    number = 1
    while True:
        folder = model_dir / (name if number == 1 else f"{name}-{number}")
        try:
            model_dir.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            if not model_dir.is_dir():
                raise UsageError(f"--model_dir={model_dir} is a file; it must be a folder") from None
            number += 1
        except OSError as error:
            raise UsageError(f"cannot make the run folder {folder}: {error.strerror}") from None
        else:
            return folder


def check_name(name: str) -> None:
    """Refuse what is no plain folder name.

    Raises:
        UsageError: it is empty, too long, or holds a slash.
    """
    if not name or name in {".", ".."} or set(name) & set("/\\\0"):
        raise UsageError(f"--name={name!r} must be a plain folder name, without slashes")
    if len(name.encode()) > _LONGEST_NAME:
        raise UsageError(f"--name is {len(name.encode())} bytes long; {_LONGEST_NAME} fit into a folder name")


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keep other processes from training in a run folder; the lock ends with the process, however it ends.

    Raises:
        CheckpointError: another one is training in it.
    """
    handle = os.open(run_dir, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckpointError(
                f"another process is training in {run_dir}", hint="Wait for it, or stop it first."
            ) from None
        yield
    finally:
        os.close(handle)


def samples_table(samples: Samples, folds: NDArray[np.int64]) -> str:
    """Return samples.csv: each image with its person, its labels and its fold: 0 held out, -1 left out of training."""
    table = samples.table[["sample", "person", "mask", "gender", "age"]].assign(fold=folds)
    return str(table.to_csv(index=False, lineterminator="\n"))


def hash_of(table: str) -> str:
    """Return the SHA-256 of a table's text."""
    return hashlib.sha256(table.encode()).hexdigest()


def write_samples(run_dir: Path, table: str) -> None:
    """Write samples.csv."""
    write_text(run_dir / _SAMPLES, table)


def write_bad_images(folder: Path, bad_images: Mapping[str, str]) -> None:
    """Write bad_images.csv, the files that were left out with their causes; nothing when there are none."""
    if bad_images:
        table = pd.DataFrame({"path": bad_images.keys(), "cause": bad_images.values()})
        write_text(folder / "bad_images.csv", table.to_csv(index=False, lineterminator="\n"))


def write_relabelled(folder: Path, relabelled: pd.DataFrame) -> None:
    """Write relabelled.csv, the labels that were put right; nothing when there are none."""
    if len(relabelled):
        write_text(folder / "relabelled.csv", relabelled.to_csv(index=False, lineterminator="\n"))


def check_same_samples(run_dir: Path, table: str, recorded_hash: str) -> None:
    """Refuse to go on with other images, labels or folds than the run began with.

    Raises:
        CheckpointError: they differ; the first differences are named.
    """
    if hash_of(table) == recorded_hash:
        return
    path = run_dir / _SAMPLES
    before = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    now = table.splitlines()
    gone, new = sorted({*before} - {*now}), sorted({*now} - {*before})
    raise CheckpointError(
        f"the data are not those that {run_dir} began with: {len(gone)} of its images are gone or changed,"
        f" {len(new)} are new or changed\n  was: {first_few(gone) or 'the same, in another order'}\n"
        f"  is: {first_few(new) or 'the same, in another order'}",
        hint="Put the data back, say where they lie now with --data_dir, or start a new run.",
    )
