"""Who is on the images of a file: told by a column `person`, or by the samples.csv of the run that the file lies in."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskkit.labels import age_group, encode

__all__ = ["Known", "known_images", "numbered"]


class Known(NamedTuple):
    """What a run knows of an image: the person, and the true class 0..17."""

    person: str
    answer: int


def known_images(ids: Sequence[str], path: Path) -> list[Known] | None:
    """Return what the run that a file lies in knows of each image, None unless it knows all of them."""
    known = _samples_of_run(path)
    return [known[image] for image in ids] if known.keys() >= set(ids) else None


def numbered(names: Sequence[str]) -> NDArray[np.int64]:
    """Return a number 0..P-1 for each of P different names, int64 [N], which the order of the rows does not change."""
    number_of = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.array([number_of[name] for name in names], dtype=np.int64)


def _samples_of_run(path: Path) -> dict[str, Known]:
    """Return the samples.csv in a file's folder or the one above, by image; nothing where there is none."""
    folder = path.resolve().parent
    for place in (folder, folder.parent):
        try:
            with (place / "samples.csv").open(encoding="utf-8", newline="") as table:
                return {row["sample"]: _known(row) for row in csv.DictReader(table)}
        except (OSError, ValueError, LookupError, TypeError, csv.Error):
            continue  # no samples.csv, or another program's: then nothing is known
    return {}


def _known(row: dict[str, str]) -> Known:
    answer = encode(int(row["mask"]), int(row["gender"]), age_group(int(row["age"])))
    return Known(row["person"], answer)
