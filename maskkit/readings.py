"""What files of predictions answer together: one question, or those of mask, gender and age, and which is which.

A reading has one group of files that answer the same question, or three groups (mask, gender, age) whose votes are
fused by the product of their probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from maskkit.errors import PredictionError, UsageError
from maskkit.labels import AXES, NUM_CLASSES, VIEWS, View
from maskkit.predictions import PredictionFile, open_predictions

__all__ = ["Group", "Reading", "read_flags", "read_words"]

_TASKS = tuple(VIEWS[axis.name] for axis in AXES)
_FUSE_FIRST = "Fuse the single tasks first (--mask, --gender, --age, --soft_out); then vote on the 18 classes."


@dataclass(frozen=True, eq=False)
class Group:
    """Files that answer one question of `num_classes` classes; `view` is None where nothing tells which."""

    files: tuple[PredictionFile, ...]
    num_classes: int
    view: View | None


@dataclass(frozen=True, eq=False)
class Reading:
    """What the files of a vote answer: one group, or one for each of mask, gender and age."""

    groups: tuple[Group, ...]

    def describe(self, how: str) -> str:
        """Return one sentence on the reading chosen; `how` is the name of the vote rule."""
        counted = [f"{len(group.files)} file{'s' * (len(group.files) > 1)}" for group in self.groups]
        if len(self.groups) == 1:
            group = self.groups[0]
            task = f"{group.view.name}, " if group.view in _TASKS else ""
            return f"{counted[0]} of {task}{group.num_classes} classes; {how} vote"
        if all(len(group.files) == 1 for group in self.groups):
            return "read as mask, gender and age; fused by the product"
        mask, gender, age = counted
        return f"{mask} of mask, {gender} of gender and {age} of age; {how} vote in each, fused by the product"


def read_words(paths: Sequence[Path | str]) -> Reading:
    """Read files given as plain words: one view by all, or one file each of mask, gender and age in that order.

    Three files of 3, 2 and 3 classes are the latter; the runs they lie in, where known, must not contradict it.

    Raises:
        PredictionError: a file is faulty, or the files do not fit together.
        UsageError: no file is given, or one twice.
    """
    files = _read(paths)
    if [_classes(file) for file in files] != [task.num_classes for task in _TASKS]:
        return Reading((_plain_group(files),))
    if any(file.view not in (None, task) for file, task in zip(files, _TASKS, strict=True)):
        seen = ", ".join(f"{file.path} is {_name(file)}" for file in files)
        message = f"the files are not in the order mask, gender, age: by the runs they lie in, {seen}"
        raise PredictionError(message, hint=_spelled_out(files))
    return Reading(tuple(_task_group([file], task) for file, task in zip(files, _TASKS, strict=True)))


def read_flags(mask: Sequence[Path | str], gender: Sequence[Path | str], age: Sequence[Path | str]) -> Reading:
    """Read files whose task is named by the flags `--mask=F --gender=F --age=F`, one or several each.

    Raises:
        PredictionError: a file is faulty, has the wrong number of classes, or lies in a run of another task.
        UsageError: a task has no file, or a file is given twice.
    """
    given = dict(zip(_TASKS, (mask, gender, age), strict=True))
    for task, paths in given.items():
        if not paths:
            raise UsageError(f"--{task.name} is missing; a fusion needs all of --mask, --gender and --age")
    files = iter(_read([path for paths in given.values() for path in paths]))
    return Reading(tuple(_task_group([next(files) for _ in paths], task) for task, paths in given.items()))


def _read(paths: Sequence[Path | str]) -> list[PredictionFile]:
    if not paths:
        raise UsageError("no file of predictions is given; at least one is needed")
    seen: set[Path] = set()
    for path in paths:
        if Path(path).resolve() in seen:
            raise UsageError(f"{path} is given twice", hint="Give each file once; --weights lets one count more.")
        seen.add(Path(path).resolve())
    return [open_predictions(path) for path in paths]


def _classes(file: PredictionFile) -> int | None:
    """Return the number of classes by the columns or, for a hard file, by its run; None when neither tells."""
    return file.num_classes or (file.view.num_classes if file.view else None)


def _task_group(files: Sequence[PredictionFile], task: View) -> Group:
    for file in files:
        if file.num_classes not in (None, task.num_classes):
            needed = f"{task.name} needs {task.num_classes}: {', '.join(task.classes)}"
            raise PredictionError(f"{file.path} has {file.num_classes} columns of classes; {needed}")
        if file.view not in (None, task):
            message = f"{file.path} is given as {task.name}, but the run it lies in learned {_name(file)}"
            raise PredictionError(message, hint=_spelled_out([file]))
    return Group(tuple(files), task.num_classes, task)


def _plain_group(files: Sequence[PredictionFile]) -> Group:
    num_classes = _agreed_classes(files)
    told = [file for file in files if file.view in _TASKS]
    for file in told:
        if file.view != told[0].view:
            message = f"{told[0].path} is {_name(told[0])} and {file.path} is {_name(file)}"
            raise PredictionError(f"{message}; a vote needs one question", hint=_spelled_out(files))
    view = told[0].view if told else {NUM_CLASSES: VIEWS["multi"], 2: VIEWS["gender"]}.get(num_classes)
    return Group(tuple(files), num_classes, view)


def _agreed_classes(files: Sequence[PredictionFile]) -> int:
    """Return the K of all files; a hard file without a run has that of the first soft one, or else 18."""
    assumed = next((file.num_classes for file in files if file.num_classes), NUM_CLASSES)
    counts = [_classes(file) or assumed for file in files]
    for file, count in zip(files, counts, strict=True):
        if count != counts[0]:
            message = f"{files[0].path} is of {counts[0]} classes and {file.path} of {count}"
            valid = "plain words are files of one view, or one file each of mask, gender and age in that order"
            hint = _FUSE_FIRST if NUM_CLASSES in counts else _spelled_out(files)
            raise PredictionError(f"{message}; {valid}", hint=hint)
    return counts[0]


def _spelled_out(files: Sequence[PredictionFile]) -> str:
    """Return what to type instead: every file in the place that is known, F where nothing tells."""
    places = {task: [str(file.path) for file in files if _task(file) == task] for task in _TASKS}
    untold = [file for file in files if _task(file) is None]
    empty = [task for task, paths in places.items() if not paths]
    if len(untold) == len(empty) == 1 and _classes(untold[0]) == empty[0].num_classes:
        places[empty[0]] = [str(untold[0].path)]
    flags = " ".join(f"--{task.name}={quote(','.join(paths) or 'F')}" for task, paths in places.items())
    if all(len(paths) == 1 for paths in places.values()):
        order = " ".join(quote(path) for paths in places.values() for path in paths)
        return f"Give them as {order}, or spell it out: {flags}"
    return f"Spell it out: {flags}"


def _task(file: PredictionFile) -> View | None:
    if file.view in _TASKS:
        return file.view
    return VIEWS["gender"] if _classes(file) == VIEWS["gender"].num_classes else None


def _name(file: PredictionFile) -> str:
    return file.view.name if file.view else "unknown"
