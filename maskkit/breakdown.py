"""The scores of a file as a whole, by axis and by group of people, each with its interval."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from maskkit.bootstrap import Estimate, resampled_counts
from maskkit.labels import AGE, GENDER, MASK, NUM_CLASSES, Axis, View
from maskkit.metrics import f1_per_class

__all__ = ["Answers", "Breakdown", "Part", "break_down"]

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]

_GROUPINGS = ((GENDER,), (AGE,), (GENDER, AGE), (MASK,))


@dataclass(frozen=True, eq=False)
class Answers:
    """N answers to score: `ans` in the classes of `view`, `truth` in those of `truth_view`, both int64 [N].

    `truth_view` is one of the 18 classes where they are known, else `view`. `people` int64 [N], 0..P-1 without a gap.
    """

    view: View
    ans: _Integers
    truth_view: View
    truth: _Integers
    people: _Integers

    @property
    def reduced(self) -> Sequence[int]:
        """The class of `view` that each class of `truth_view` stands for."""
        return self.view.of_class if self.truth_view.num_classes == NUM_CLASSES else range(self.view.num_classes)

    def num_people(self, inside: NDArray[np.bool_] | None = None) -> int:
        """Return how many people there are, or how many with an image whose true class is `inside`, bool [T]."""
        return len(np.unique(self.people if inside is None else self.people[inside[self.truth]]))


@dataclass(frozen=True)
class Part:
    """What a part of the images scores, or all of them on one axis; how many they are, and of how many people."""

    name: str
    people: int
    images: int
    accuracy: Estimate
    macro_f1: Estimate


@dataclass(frozen=True)
class Breakdown:
    """The scores of a file: macro F1 of the whole and of an axis is over all its classes, an absent one counting 0.

    `groups`: by grouping, such as "gender x age", its groups that occur; macro F1 is over the classes that occur in the
    truth of the group. `unknown`: the groupings that the truth does not tell.
    """

    whole: Part
    axes: tuple[Part, ...]
    groups: dict[str, tuple[Part, ...]]
    unknown: tuple[str, ...]


def break_down(answers: Answers) -> Breakdown:
    """Score the answers as a whole, by axis and by group."""
    num_true, num_classes = answers.truth_view.num_classes, answers.view.num_classes
    cells = answers.truth * num_classes + answers.ans
    tally = resampled_counts(cells, answers.people, num_true * num_classes).reshape(-1, num_true, num_classes)
    known = [axes for axes in _GROUPINGS if set(axes) <= set(answers.truth_view.axes)]
    return Breakdown(
        whole=_part("all", answers.num_people(), _one_hot(answers.reduced, num_classes).T @ tally),
        axes=tuple(_axis_part(axis, answers, tally) for axis in answers.view.axes),
        groups={_name(axes): tuple(_group_parts(axes, answers, tally)) for axes in known},
        unknown=tuple(_name(axes) for axes in _GROUPINGS if axes not in known),
    )


def _axis_part(axis: Axis, answers: Answers, tally: _Floats) -> Part:
    """Score one axis alone; `tally` float64 [1 + R, T, K] counts images by true class and answer."""
    true, given = (
        _one_hot([view.answer(axis, number) for number in range(view.num_classes)], len(axis.classes))
        for view in (answers.truth_view, answers.view)
    )
    return _part(axis.name, answers.num_people(), true.T @ tally @ given)


def _group_parts(axes: tuple[Axis, ...], answers: Answers, tally: _Floats) -> Iterator[Part]:
    """Yield the score of each group that occurs; a group is a set of true classes, and so of rows of the tally."""
    reduced = _one_hot(answers.reduced, answers.view.num_classes)
    view = answers.truth_view
    group_of = [tuple(view.answer(axis, number) for axis in axes) for number in range(view.num_classes)]
    for group in product(*(range(len(axis.classes)) for axis in axes)):
        inside = np.array([one == group for one in group_of])
        if num_people := answers.num_people(inside):
            name = " ".join(axis.classes[number] for axis, number in zip(axes, group, strict=True))
            yield _part(name, num_people, (reduced * inside[:, None]).T @ tally, absent_count=False)


def _part(name: str, num_people: int, counts: _Floats, *, absent_count: bool = True) -> Part:
    """Score counts float64 [1 + R, K, K]; `absent_count`: a class that does not occur in the file counts 0.

    A class that occurs, but not in some resample, is left out there: the resample tells nothing about it, and a 0 for
    it would pull the interval below the score.
    """
    counts = counts[counts.sum(axis=(1, 2)) > 0]  # a resample may lack a small group altogether
    images = counts.sum(axis=(1, 2))
    occurs = counts.sum(axis=2) > 0
    macro_f1 = f1_per_class(counts).sum(axis=1) / occurs.sum(axis=1)
    return Part(
        name=name,
        people=num_people,
        images=int(images[0]),
        accuracy=Estimate.of(np.trace(counts, axis1=1, axis2=2) / images),
        macro_f1=Estimate.of(macro_f1 * occurs[0].mean() if absent_count else macro_f1),
    )


def _one_hot(numbers: Sequence[int], num_classes: int) -> _Floats:
    return np.eye(num_classes)[list(numbers)]


def _name(axes: tuple[Axis, ...]) -> str:
    return " x ".join(axis.name for axis in axes)
