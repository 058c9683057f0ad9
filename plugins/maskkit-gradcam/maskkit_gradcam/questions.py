"""What a run can be asked to explain: the heads of its view and, of a softmax over 18, each axis as well."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maskkit.errors import UnknownNameError, nearest
from maskkit.labels import Head, View, view_named

__all__ = ["PREDICTED", "Question", "choose_questions"]

PREDICTED = "predicted"


@dataclass(frozen=True)
class Question:
    """A question with its possible answers, and by answer the columns of the logits that speak for it.

    target: the answer to explain, None for the one that is predicted.
    """

    head: Head
    columns: tuple[tuple[int, ...], ...]
    target: int | None = None

    @property
    def name(self) -> str:
        return self.head.name

    @property
    def classes(self) -> tuple[str, ...]:
        return self.head.classes

    def scores(self, logits: Any) -> Any:
        """Return a score for each answer, [B, num_classes], of the logits [B, num_outputs].

        It is the logit, or the log of the summed exponentials where several columns share an answer; the softmax of
        the scores is then the sum of these columns' probabilities.
        """
        import torch

        return torch.stack([logits[:, list(columns)].logsumexp(dim=1) for columns in self.columns], dim=1)


def choose_questions(view: View, names: Sequence[str], target: str) -> list[Question]:
    """Return the named questions of a run, by default its heads, with the answer to explain.

    `target` is "predicted", an answer of a question ("old"), which leaves out the questions that do not have it, or
    one of the run's own classes by name or number, of which each question gets its part.

    Raises:
        UnknownNameError: the run has no such question, or none of the questions has such an answer.
    """
    every = _questions_of(view)
    unknown = [name for name in names if name not in every]
    if unknown:
        raise UnknownNameError(
            f"--head={unknown[0]}: a run of the view {view.name} has no such head{_near(unknown[0], list(every))}",
            hint=f"It is one of: {', '.join(every)}.",
        )
    own = [every[head.name] for head in view.heads]
    asked = [every[name] for name in dict.fromkeys(names)] or own
    if target == PREDICTED:
        return asked
    is_number = target.isascii() and target.isdecimal() and int(target) < view.num_classes
    wanted = view.classes[int(target)] if is_number else target
    # An axis that nobody named is found by its answer: --target=old asks a softmax over 18 for the age.
    for questions in [asked] if names else [asked, list(every.values())]:
        found = [Question(one.head, one.columns, index) for one in questions for index in _places(one, wanted, view)]
        if found:
            return found
    known = dict.fromkeys(name for one in (asked if names else every.values()) for name in one.classes)
    known |= dict.fromkeys(view.classes)
    raise UnknownNameError(
        f"--target={target}: there is no such answer{_near(target, list(known))}",
        hint=f"It is {PREDICTED}, 0..{view.num_classes - 1}, or one of: {', '.join(known)}.",
    )


def _questions_of(view: View) -> dict[str, Question]:
    questions, start = {}, 0
    for head in view.heads:
        questions[head.name] = Question(head, tuple((start + index,) for index in range(head.num_classes)))
        start += head.num_classes
    for axis in view.axes:
        if axis.name not in questions:  # one softmax over 18 answers the axis by sums of its probabilities
            head = view_named(axis.name).heads[0]
            shares = (
                (ans for ans, part in enumerate(head.of_class) if part == index) for index in range(head.num_classes)
            )
            questions[axis.name] = Question(head, tuple(map(tuple, shares)))
    return questions


def _places(question: Question, name: str, view: View) -> list[int]:
    """Return the answer to a question that a name stands for, in a list that is empty when there is none."""
    if name in question.classes:
        return [question.classes.index(name)]
    return [question.head.of_class[view.classes.index(name)]] if name in view.classes else []


def _near(name: str, valid: Sequence[str]) -> str:
    near = nearest(name, valid)
    return f"; did you mean {near}?" if near else ""
