"""Voting over files of predictions: what the files answer, how they vote, and how three tasks become 18 classes.

    read_words(paths) or read_flags(mask, gender, age)  ->  Reading
    vote(reading, rule)                                 ->  Result
    with counting(reading, rule) as count               ->  the same part by part, for files that memory cannot hold

A reading has one group of files that answer the same question, or three groups (mask, gender, age) whose votes are
fused by the product of their probabilities.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import numpy as np

from maskkit.alignment import Aligned, Column, side_by_side
from maskkit.errors import PluginError, PredictionError, UsageError
from maskkit.labels import AXES, NUM_CLASSES, VIEWS, View
from maskkit.plugin.contracts import VoteRule
from maskkit.predictions import Floats, Integers, PredictionFile, Space, open_predictions

__all__ = ["Ballot", "Count", "Group", "Reading", "Result", "counting", "read_flags", "read_words", "vote"]

_TASKS = tuple(VIEWS[axis.name] for axis in AXES)
_PART_BYTES = 8 * 2**20  # of probabilities at a time, small enough for the caches of a processor to help
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


@dataclass(frozen=True, eq=False)
class Ballot:
    """How the M files of one group voted on N images of K classes.

    `spaces` [M]: what each file holds, `prob`, `logit` or `hard`; `agreement` float64 [M, M]: the share of images to
    which two files give the same answer; `unanimous`: to how many all files do.
    """

    paths: tuple[Path, ...]
    spaces: tuple[str, ...]
    agreement: Floats
    unanimous: int


@dataclass(frozen=True, eq=False)
class Result:
    """The outcome of a vote: `ids` [N], `probabilities` float64 [N, K], and one ballot for each group."""

    ids: list[str]
    probabilities: Floats
    ballots: tuple[Ballot, ...]

    @property
    def ans(self) -> Integers:
        """The class with the largest probability, int64 [N]; the lowest of equals."""
        return np.asarray(self.probabilities.argmax(axis=1))


def vote(
    reading: Reading,
    rule: VoteRule,
    *,
    weights: Sequence[float] | None = None,
    space: Space = "auto",
    from_answers: bool = False,
) -> Result:
    """Vote within each group and fuse the groups, as `counting` does, in memory.

    Raises:
        PredictionError: a file is faulty or holds not what the vote needs, or two hold different ids.
        PluginError: the rule returns anything but finite [N, K].
        UsageError: the weights do not fit the files.
    """
    with counting(reading, rule, weights=weights, space=space, from_answers=from_answers) as count:
        probabilities = np.concatenate([rows for _, rows in count.parts()])
        return Result(count.ids, probabilities, count.ballots())


@contextmanager
def counting(
    reading: Reading,
    rule: VoteRule,
    *,
    weights: Sequence[float] | None = None,
    space: Space = "auto",
    from_answers: bool = False,
    rowwise: bool = False,
    on_read: Callable[[int, int], None] | None = None,
) -> Iterator["Count"]:
    """Read and check all files, and yield the vote to count.

    weights: one for each file, in the order mask, gender, age when fused.
    space: what soft files hold.
    from_answers: hard files take part, as rows of one 1.
    rowwise: the rule may be given a part of the images at a time; otherwise all of them are held in memory.
    on_read: is told (bytes read, bytes in all).

    Raises:
        PredictionError: a file is faulty or holds not what the vote needs, or two hold different ids.
        UsageError: the weights do not fit the files.
    """
    shares = _checked_weights(weights, reading.groups)
    columns = [
        Column(file, group.num_classes, group.view.name if group.view else "this vote", takes_answers=from_answers)
        for group in reading.groups
        for file in group.files
    ]
    with side_by_side(columns, space=space, on_read=on_read) as aligned:
        tallies = [_Tally(group, part, rule) for group, part in zip(reading.groups, shares, strict=True)]
        yield Count(aligned, tallies, rowwise=rowwise)


class Count:
    """A vote of which the files are read: `ids` [N] follow the first file, of K classes are the outcomes."""

    def __init__(self, aligned: Aligned, tallies: "Sequence[_Tally]", *, rowwise: bool) -> None:
        self.ids = aligned.ids
        self._aligned, self._tallies, self._rowwise = aligned, tallies, rowwise

    @property
    def num_classes(self) -> int:
        """The number of classes K of the outcome."""
        return NUM_CLASSES if len(self._tallies) > 1 else self._tallies[0].group.num_classes

    @property
    def num_bytes(self) -> int:
        """What the probabilities of all files take together."""
        return sum(len(tally.group.files) * tally.group.num_classes * 8 for tally in self._tallies) * len(self.ids)

    def parts(self) -> Iterator[tuple[list[str], Floats]]:
        """Yield ids [B] and probabilities float64 [B, K] of some images after the other.

        Raises:
            PluginError: the rule returns anything but finite [B, K].
        """
        num_parts = -(-self.num_bytes // _PART_BYTES) if self._rowwise else 1
        step = -(-len(self.ids) // num_parts)
        for start in range(0, len(self.ids), step):
            stop = min(start + step, len(self.ids))
            rows = iter(self._aligned.probabilities(start, stop))
            votes = [tally.cast(np.stack([next(rows) for _ in tally.group.files])) for tally in self._tallies]
            yield self.ids[start:stop], VIEWS["multihead"].compose(votes) if len(votes) > 1 else votes[0]

    def ballots(self) -> tuple[Ballot, ...]:
        """Return how the files of each group voted, once all parts have come."""
        spaces = iter(self._aligned.spaces)
        return tuple(tally.ballot([next(spaces) for _ in tally.group.files], len(self.ids)) for tally in self._tallies)


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


def _checked_weights(weights: Sequence[float] | None, groups: Sequence[Group]) -> list[Floats]:
    """Return the weights of each group, float64 [M]; 1 for every file when none are given."""
    paths = [[str(file.path) for file in group.files] for group in groups]
    total = sum(map(len, paths))
    checked = np.ones(total) if weights is None else np.array(weights, dtype=np.float64)
    if len(checked) != total:
        order = ", ".join(path for part in paths for path in part)
        raise UsageError(
            f"weights: {len(checked)} given for {total} files", hint=f"Give one for each, in this order: {order}"
        )
    if not (np.isfinite(checked) & (checked >= 0)).all():
        raise UsageError(f"the weights are {checked.tolist()}; each must be a finite number, 0 or more")
    parts = np.split(checked, np.cumsum([len(part) for part in paths])[:-1])
    for part, names in zip(parts, paths, strict=True):
        if not part.any():
            raise UsageError(f"all weights of {', '.join(names)} are 0; one at least must be more")
    return parts


class _Tally:
    """The votes of one group, and how often two of its files, and all, gave the same answer so far."""

    def __init__(self, group: Group, weights: Floats, rule: VoteRule) -> None:
        self.group = group
        self._weights, self._rule = weights, rule
        self._equal = np.zeros((len(group.files), len(group.files)), dtype=np.int64)
        self._unanimous = 0

    def cast(self, rows: Floats) -> Floats:
        """Return the scores float64 [B, K] of probabilities [M, B, K]."""
        answers = rows.argmax(axis=2)
        self._equal += (answers[:, None] == answers).sum(axis=2)
        self._unanimous += int((answers == answers[0]).all(axis=0).sum())
        scores = np.asarray(self._rule(rows, self._weights), dtype=np.float64)
        if scores.shape != rows.shape[1:] or not np.isfinite(scores).all():
            received = f"an array {scores.shape}" if scores.shape != rows.shape[1:] else "numbers that are not finite"
            raise PluginError(f"the vote rule returned {received}; it must return finite numbers {rows.shape[1:]}")
        return scores

    def ballot(self, spaces: Sequence[str], num_images: int) -> Ballot:
        paths = tuple(file.path for file in self.group.files)
        return Ballot(paths, tuple(spaces), self._equal / num_images, self._unanimous)
