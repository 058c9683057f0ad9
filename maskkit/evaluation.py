"""Scoring a file of predictions against the truth in it, or in another file."""

from dataclasses import dataclass

import numpy as np

from maskkit import metrics
from maskkit.alignment import align
from maskkit.breakdown import Answers, Breakdown, break_down
from maskkit.errors import PredictionError, UsageError
from maskkit.labels import AXES, NUM_CLASSES, VIEWS, View, view_named
from maskkit.people import Known, known_images, numbered
from maskkit.predictions import Floats, Integers, Predictions

__all__ = ["Evaluation", "evaluate"]

_TASKS = tuple(VIEWS[axis.name] for axis in AXES)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a file of predictions scores in a view of K classes.

    `counts` int64 [K, K], rows the truth; `precision`, `recall` and `f1` float64 [K] and `support` int64 [K], one for
    each of `view.classes`; `reading`, a sentence on how the files were understood; `people_known`, whether anything
    tells who is on the images: else each stands for a person of its own.
    """

    view: View
    counts: Integers
    scores: Breakdown
    reading: str
    people_known: bool

    @property
    def precision(self) -> Floats:
        return metrics.precision_per_class(self.counts)

    @property
    def recall(self) -> Floats:
        return metrics.recall_per_class(self.counts)

    @property
    def f1(self) -> Floats:
        return metrics.f1_per_class(self.counts)

    @property
    def support(self) -> Integers:
        return metrics.support_per_class(self.counts)


@dataclass(frozen=True, eq=False)
class _Truth:
    """The true classes int64 [N] of a file, in a view: of the 18 classes where they are known; and what was read."""

    classes: Integers
    view: View
    source: str
    people: list[str] | None = None


def evaluate(file: Predictions, truth: Predictions | None = None, *, classification: str = "auto") -> Evaluation:
    """Score the `ans` of a file against its own column `truth`, or against the classes 0..17 of a truth file.

    The view is the one named by `classification`; `auto` is that of the run the file lies in, or what its columns tell.
    A truth file holds the true class in `truth`, or in `ans` when it has no such column and no probabilities. Who is on
    an image is told by a column `person` of either file, else by the samples.csv of the run that either lies in.

    Raises:
        PredictionError: there is no truth, the ids differ, or a class lies outside the view.
        UsageError: nothing tells whether 3 classes are those of mask or of age.
        UnknownNameError: there is no view called `classification`.
    """
    view, reason = _view(file, classification)
    hint = "If it is of another view, say which: --classification=multi|mask|gender|age"
    file.check_classes(view.num_classes, view.name, hint=hint if classification == "auto" else "")
    known = _known(file, truth)
    found = _own_truth(file, view, known) if truth is None else _truth_of_file(file, truth, view)
    names = found.people or file.people or ([one.person for one in known] if known else None)
    answers = Answers(
        view=view, ans=file.ans, truth_view=found.view, truth=found.classes, people=numbered(names or file.ids)
    )
    return Evaluation(
        view=view,
        counts=metrics.confusion_counts(np.array(answers.reduced)[found.classes], file.ans, view.num_classes),
        scores=break_down(answers),
        reading=f"{file.path} read as {view.name} ({reason}); {found.source}",
        people_known=names is not None,
    )


def _view(file: Predictions, classification: str) -> tuple[View, str]:
    """Return the view of a file and the reason for it."""
    if classification != "auto":
        return _claimed_view(file, view_named(classification)), "as told"
    if file.view:
        return file.view, "the view of its run"
    if file.num_classes == VIEWS["mask"].num_classes:
        message = f"{file.path} has 3 columns of classes, which mask and age both have"
        raise UsageError(message, hint="Say which it is: --classification=mask or --classification=age")
    if file.num_classes == VIEWS["gender"].num_classes:
        return VIEWS["gender"], "2 columns of classes"
    return VIEWS["multi"], "18 columns of classes" if file.num_classes else "answers of no known run"


def _claimed_view(file: Predictions, view: View) -> View:
    if file.num_classes not in (None, view.num_classes):
        message = f"{file.path} has {file.num_classes} columns of classes; {view.name} has {view.num_classes}"
        raise PredictionError(f"{message}: {', '.join(view.classes)}")
    learned = file.view
    if learned and learned != view and {learned, view} <= set(_TASKS):
        message = f"{file.path} is given as {view.name}, but the run it lies in learned {learned.name}"
        raise PredictionError(message, hint=f"Use --classification={learned.name}, or leave it out.")
    return view


def _known(file: Predictions, truth: Predictions | None) -> list[Known] | None:
    """Return what the run that the truth or the file lies in knows of every image, None where there is none."""
    of_truth = known_images(file.ids, truth.path) if truth else None
    return of_truth or known_images(file.ids, file.path)


def _own_truth(file: Predictions, view: View, known: list[Known] | None) -> _Truth:
    if file.truth is None:
        raise PredictionError(f"{file.path} has no column 'truth'", hint="Name a file that has: --truth=FILE")
    source = "truth from its own column"
    every = np.array([one.answer for one in known or ()], dtype=np.int64)
    if view.num_classes < NUM_CLASSES and np.array_equal(np.array(view.of_class)[every], file.truth):
        return _Truth(every, VIEWS["multi"], source)
    return _Truth(file.truth, view, source)


def _truth_of_file(file: Predictions, truth: Predictions, view: View) -> _Truth:
    if truth.num_classes not in (None, NUM_CLASSES):
        message = (
            f"{truth.path} has {truth.num_classes} columns of classes; a truth file is in the {NUM_CLASSES} classes"
        )
        raise PredictionError(message)
    if truth.truth is None and truth.values is not None:
        raise PredictionError(f"{truth.path} has no column 'truth'; its ans are predictions, not the truth")
    aligned = align(file, truth)
    every = aligned.ans if aligned.truth is None else aligned.truth
    source = f"truth from {truth.path} in the {NUM_CLASSES} classes"
    if view.num_classes < NUM_CLASSES:
        source += f", reduced to {view.name}"
    return _Truth(every, VIEWS["multi"], source, aligned.people)
