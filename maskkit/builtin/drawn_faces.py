"""Drawn faces: a data set for people who have none at hand, made on the spot by numpy and PIL.

Each person is a function of (seed, part, index) alone, so any number of processes draws the same bytes.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import cast

import numpy as np

from maskkit.builtin.face_features import draw_photo
from maskkit.builtin.face_traits import Gender, Person, State, draw_person, draw_scene
from maskkit.errors import DataError
from maskkit.labels import AGE, GENDER, MASK, age_group, encode

__all__ = ["EVAL_PEOPLE", "PEOPLE", "SEED", "draw_faces"]

PEOPLE = 300
EVAL_PEOPLE = 60
SEED = 42

_PARTS = ("train", "eval")
_RACE = "Drawn"
_SHOTS: dict[str, State] = {
    **{f"mask{number}": "wear" for number in range(1, 6)},
    "incorrect_mask": "incorrect",
    "normal": "normal",
}
_QUALITY = 88
_MAX_PROCESSES = 8


@dataclass(frozen=True)
class _Plan:
    """What is drawn: how many people for either part, from which seed."""

    people: int
    eval_people: int
    seed: int

    def everyone(self) -> list[tuple[str, int]]:
        """Return (part, index) of each person."""
        counts = zip(_PARTS, (self.people, self.eval_people), strict=True)
        return [(part, index) for part, count in counts for index in range(count)]

    def person(self, part: str, index: int) -> Person:
        """Return the traits of one person; six in a row are one of each gender and age group."""
        num_ages = len(AGE.classes)
        gender = GENDER.classes[index // num_ages % len(GENDER.classes)]
        return draw_person(self.random(part, index, 0), cast("Gender", gender), index % num_ages)

    def random(self, part: str, index: int, photo: int) -> np.random.Generator:
        """Return the random numbers of one photo, counted from 1; photo 0 is the person."""
        return np.random.default_rng([self.seed, _PARTS.index(part), index, photo])


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

    A folder that holds this very data set is left as it is, so of two who draw it at once both end well. `on_progress`
    is told (people drawn, people in all). `processes` is by default the number of CPU cores, eight at most.

    Raises:
        ValueError: a number is out of its range.
        DataError: the folder exists and holds something else, or the drawing failed.
    """
    if min(people, eval_people) < 1 or seed < 0:
        raise ValueError(f"people ({people}), eval_people ({eval_people}) must be 1 or more, seed ({seed}) 0 or more")
    plan = _Plan(people, eval_people, seed)
    tables = _tables(plan)
    if _is_drawn(folder, tables):
        return
    with _appearing(folder, tables) as unfinished:
        for part in _PARTS:
            (unfinished / part / "images").mkdir(parents=True)
        for name, text in tables.items():
            (unfinished / name).write_text(text, encoding="utf-8")
        _draw_everyone(plan, unfinished, processes or min(os.cpu_count() or 1, _MAX_PROCESSES), on_progress)


def _tables(plan: _Plan) -> dict[str, str]:
    """Return the text of each CSV file, by its path in the folder."""
    train, truth = ["id,gender,race,age,path"], {}
    for part, index in plan.everyone():
        person = plan.person(part, index)
        if part == "train":
            train.append(f"{_number(index)},{person.gender},{_RACE},{person.age},{_profile(person, index)}")
        else:
            truth.update({_image_id(plan.seed, index, shot): _answer(person, state) for shot, state in _SHOTS.items()})
    # In the order of their names, which are hashes: neighbours have nothing in common.
    info = ["ImageID,ans", *(f"{name},0" for name in sorted(truth))]
    answers = ["ImageID,ans", *(f"{name},{truth[name]}" for name in sorted(truth))]
    rows = {"train/train.csv": train, "eval/info.csv": info, "eval/answers.csv": answers}
    return {name: "\n".join(lines) + "\n" for name, lines in rows.items()}


def _number(index: int) -> str:
    return f"{index + 1:06d}"


def _profile(person: Person, index: int) -> str:
    return f"{_number(index)}_{person.gender}_{_RACE}_{person.age}"


def _image_id(seed: int, index: int, shot: str) -> str:
    return hashlib.blake2b(f"{seed} {index} {shot}".encode(), digest_size=20).hexdigest() + ".jpg"


def _answer(person: Person, state: str) -> int:
    return encode(MASK.classes.index(state), GENDER.classes.index(person.gender), age_group(person.age))


def _is_drawn(folder: Path, tables: dict[str, str]) -> bool:
    """Return whether the folder holds this data set; a missing or empty one holds nothing.

    Raises:
        DataError: it holds something else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    for name, text in tables.items():
        table = folder / name
        if not table.is_file() or table.read_text(encoding="utf-8") != text:
            raise DataError(
                f"{folder} exists already and is not the data set to draw", hint="Name another folder, or remove it."
            )
    return True


@contextmanager
def _appearing(folder: Path, tables: dict[str, str]) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`; on success it takes that name, else it is removed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        # One level down, because mkdtemp shuts its own folder to everyone else.
        unfinished = temporary / folder.name
        unfinished.mkdir()
        yield unfinished
        try:
            unfinished.replace(folder)
        except OSError:
            # Somebody else may have drawn it meanwhile.
            if not _is_drawn(folder, tables):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _draw_everyone(plan: _Plan, folder: Path, processes: int, on_progress: Callable[[int, int], None] | None) -> None:
    num_people, num_drawn = len(plan.everyone()), 0

    def count() -> None:
        nonlocal num_drawn
        num_drawn += 1
        if on_progress:
            on_progress(num_drawn, num_people)

    if processes == 1:
        _draw_share(plan, folder, 0, 1, count)
    else:
        _draw_apart(plan, folder, min(processes, num_people), count)


def _draw_apart(plan: _Plan, folder: Path, processes: int, count: Callable[[], None]) -> None:
    """Draw in processes of this module's own, since those of `multiprocessing` would run the caller's script again.

    Raises:
        DataError: one of them failed.
    """
    reader, writer = os.pipe()
    words = [sys.executable, "-m", __name__, str(folder), str(processes), *map(str, astuple(plan))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with ExitStack() as stack:
        stack.callback(os.close, reader)
        workers = []
        for first in range(processes):
            command = [*words, str(first)]
            worker = subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, env=environment, text=True)  # noqa: S603  our own words
            workers.append(stack.enter_context(worker))
            stack.callback(worker.kill)
        os.close(writer)
        # Each process writes a byte for each person; the end comes when all of them have closed the pipe.
        while os.read(reader, 1):
            count()
        for worker in workers:
            _, complaint = worker.communicate()
            if worker.returncode:
                last_line = (complaint.strip().splitlines() or [f"exit code {worker.returncode}"])[-1]
                raise DataError(f"the faces could not be drawn: {last_line}")


def _draw_share(plan: _Plan, folder: Path, first: int, step: int, count: Callable[[], None]) -> None:
    """Draw every step-th person from the first on."""
    for part, index in plan.everyone()[first::step]:
        person, images = plan.person(part, index), folder / part / "images"
        if part == "train":
            images /= _profile(person, index)
            images.mkdir()
        for number, (shot, state) in enumerate(_SHOTS.items(), start=1):
            random = plan.random(part, index, number)
            photo = draw_photo(person, draw_scene(random, state), random)
            name = f"{shot}.jpg" if part == "train" else _image_id(plan.seed, index, shot)
            photo.save(images / name, "JPEG", quality=_QUALITY)
        count()


def _work(folder: str, *numbers: str) -> None:
    """Draw one process's share; when the parent is gone, writing to its pipe fails, and this process ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C
    step, people, eval_people, seed, first = map(int, numbers)
    _draw_share(_Plan(people, eval_people, seed), Path(folder), first, step, lambda: _tell(b"."))


def _tell(byte: bytes) -> None:
    os.write(sys.stdout.fileno(), byte)


if __name__ == "__main__":
    _work(*sys.argv[1:])
