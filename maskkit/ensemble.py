"""Voting over files of predictions, and how three tasks become 18 classes.

    vote(reading, rule)                     a result in memory
    with counting(reading, rule) as count   the same part by part, for files that memory cannot hold

Where a reading has three groups (mask, gender, age), their votes are fused by the product of their probabilities.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskkit.alignment import Aligned, Column, side_by_side
from maskkit.errors import PluginError, UsageError
from maskkit.labels import NUM_CLASSES, VIEWS
from maskkit.plugin.contracts import VoteRule
from maskkit.predictions import Floats, Integers, Space
from maskkit.readings import Group, Reading

__all__ = ["Ballot", "Count", "Result", "counting", "vote"]

_PART_BYTES = 8 * 2**20  # of probabilities at a time, small enough for the caches of a processor to help


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
        ((ids, probabilities),) = count.parts()
        return Result(ids, probabilities, count.ballots())


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
    """A vote on N images of which the files are read: they follow the first file, and of K classes are the outcomes."""

    def __init__(self, aligned: Aligned, tallies: "Sequence[_Tally]", *, rowwise: bool) -> None:
        self._aligned, self._tallies, self._rowwise = aligned, tallies, rowwise

    @property
    def num_images(self) -> int:
        """The number of images N."""
        return len(self._aligned)

    @property
    def num_classes(self) -> int:
        """The number of classes K of the outcome."""
        return NUM_CLASSES if len(self._tallies) > 1 else self._tallies[0].group.num_classes

    @property
    def num_bytes(self) -> int:
        """What the probabilities of all files take together."""
        return sum(len(tally.group.files) * tally.group.num_classes * 8 for tally in self._tallies) * self.num_images

    def parts(self) -> Iterator[tuple[list[str], Floats]]:
        """Yield ids [B] and probabilities float64 [B, K] of some images after the other.

        Raises:
            PluginError: the rule returns anything but finite [B, K].
        """
        num_parts = -(-self.num_bytes // _PART_BYTES) if self._rowwise else 1
        step = -(-self.num_images // num_parts)
        for start in range(0, self.num_images, step):
            stop = min(start + step, self.num_images)
            rows = iter(self._aligned.probabilities(start, stop))
            votes = [tally.cast(np.stack([next(rows) for _ in tally.group.files])) for tally in self._tallies]
            yield self._aligned.ids(start, stop), VIEWS["multihead"].compose(votes) if len(votes) > 1 else votes[0]

    def ballots(self) -> tuple[Ballot, ...]:
        """Return how the files of each group voted, once all parts have come."""
        spaces = iter(self._aligned.spaces)
        return tuple(
            tally.ballot([next(spaces) for _ in tally.group.files], self.num_images) for tally in self._tallies
        )


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
