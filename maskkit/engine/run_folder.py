"""The folder of a run: its name, its config.json, and who was in which fold."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskkit.data.samples import Samples
from maskkit.errors import UsageError
from maskkit.files import replacing, write_text

__all__ = ["make_run_folder", "write_config", "write_samples"]


def make_run_folder(model_dir: Path, name: str) -> Path:
    """Create and return model_dir/name, or name-2, name-3 .. when it exists; two runs at once get two folders.

    Raises:
        UsageError: the name is no plain folder name, or the folder cannot be made.
    """
    if not name or name in {".", ".."} or set(name) & set("/\\\0"):
        raise UsageError(f"--name={name!r} must be a plain folder name, without slashes")
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


def write_config(run_dir: Path, content: Mapping[str, Any]) -> None:
    """Write config.json."""
    write_text(run_dir / "config.json", json.dumps(content, indent=2) + "\n")


def write_samples(run_dir: Path, samples: Samples, folds: NDArray[np.int64]) -> None:
    """Write samples.csv: each image with its person, its labels and its fold, 0 held out."""
    table = samples.table[["sample", "person", "mask", "gender", "age"]].assign(fold=folds)
    with replacing(run_dir / "samples.csv") as temporary:
        table.to_csv(temporary, index=False)
