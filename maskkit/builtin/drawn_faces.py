"""Drawn faces: a data set for people who have none at hand, made on the spot by numpy and PIL.

Each person is a function of (seed, part, index) alone, so any number of processes draws the same bytes.
"""

import hashlib
import multiprocessing
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from maskkit.builtin.face_features import draw_photo
from maskkit.builtin.face_traits import Person, draw_person, draw_scene
from maskkit.errors import DataError
from maskkit.labels import GENDER, MASK, age_group, encode

__all__ = ["EVAL_PEOPLE", "PEOPLE", "SEED", "draw_faces"]

PEOPLE = 240
EVAL_PEOPLE = 60
SEED = 42

Part = Literal["train", "eval"]

_PARTS: tuple[Part, ...] = ("train", "eval")
_SHOTS = {**{f"mask{number}": "wear" for number in range(1, 6)}, "incorrect_mask": "incorrect", "normal": "normal"}
_QUALITY = 88


@dataclass(frozen=True)
class _Task:
    """One person to draw, and the folder of images that takes the seven photos."""

    seed: int
    part: Part
    index: int
    images: Path


def draw_faces(
    folder: Path,
    *,
    people: int = PEOPLE,
    eval_people: int = EVAL_PEOPLE,
    seed: int = SEED,
    on_progress: Callable[[int, int], None] | None = None,
    processes: int | None = None,
) -> None:
    """Draw the data set into `folder`, which appears whole or not at all; the same arguments give the same bytes.

    A folder that already holds this very data set is left as it is. `on_progress` is told (people drawn, people in
    all). `processes` is by default the number of CPU cores that this process may use.

    Raises:
        ValueError: a number is out of its range.
        DataError: the folder exists and holds something else.
    """
    if people < 1 or eval_people < 1 or seed < 0:
        raise ValueError(f"people ({people}) and eval_people ({eval_people}) must be 1 or more, seed ({seed}) 0 or more")
    tables = _tables(people, eval_people, seed)
    if _is_drawn(folder, tables):
        return
    with _appearing(folder) as unfinished:
        for name, text in tables.items():
            (unfinished / name).parent.mkdir(exist_ok=True)
            (unfinished / name).write_text(text, encoding="utf-8", newline="\n")
        counts = zip(_PARTS, (people, eval_people), strict=True)
        tasks = [_Task(seed, part, index, unfinished / part / "images") for part, count in counts for index in range(count)]
        for part in _PARTS:
            (unfinished / part / "images").mkdir()
        _draw_all(tasks, processes or _num_cores(), on_progress or (lambda *_: None))
