"""The labels of the task: three axes, eighteen classes, and the views of them that one run can learn.

`ans = mask * 6 + gender * 3 + age`, so age runs fastest. Pure Python: arrays are only indexed and multiplied,
which numpy and torch both do.
"""

from dataclasses import dataclass
from typing import Any

from maskkit.errors import UnknownNameError

__all__ = ["AGE", "AXES", "CLASS_NAMES", "GENDER", "MASK", "NUM_CLASSES", "VIEWS"]
__all__ += ["Axis", "Head", "View", "age_group", "decode", "encode", "view_named"]


@dataclass(frozen=True)
class Axis:
    """One of the three questions asked of a photo, with the names of its answers in order."""

    name: str
    classes: tuple[str, ...]


MASK = Axis("mask", ("wear", "incorrect", "normal"))
GENDER = Axis("gender", ("male", "female"))
AGE = Axis("age", ("young", "middle", "old"))
AXES = (MASK, GENDER, AGE)

CLASS_NAMES = tuple(
    f"{mask} {gender} {age}" for mask in MASK.classes for gender in GENDER.classes for age in AGE.classes
)
NUM_CLASSES = len(CLASS_NAMES)


def encode(mask: int, gender: int, age: int) -> int:
    """Return the class 0..17 of the three answers.

    Raises:
        ValueError: an answer lies outside its axis.
    """
    for axis, answer in zip(AXES, (mask, gender, age), strict=True):
        if not 0 <= answer < len(axis.classes):
            raise ValueError(f"{axis.name} is {answer}; it must be 0..{len(axis.classes) - 1}")
    return mask * 6 + gender * 3 + age


def decode(ans: int) -> tuple[int, int, int]:
    """Return (mask, gender, age) of a class 0..17.

    Raises:
        ValueError: the class lies outside 0..17.
    """
    if not 0 <= ans < NUM_CLASSES:
        raise ValueError(f"the class is {ans}; it must be 0..{NUM_CLASSES - 1}")
    return ans // 6, ans // 3 % 2, ans % 3


def age_group(years: int) -> int:
    """Return 0 below thirty, 1 from 30 to 59, 2 from sixty on."""
    return 0 if years < 30 else 1 if years < 60 else 2


@dataclass(frozen=True)
class Head:
    """One softmax of a model: its name, its classes, and which of them each of the 18 classes belongs to."""

    name: str
    classes: tuple[str, ...]
    of_class: tuple[int, ...]

    @property
    def num_classes(self) -> int:
        return len(self.classes)


@dataclass(frozen=True)
class View:
    """What one run learns: one head, or several whose probabilities compose to the 18 classes.

    `of_class[c]` is the view's own class for each of the 18 classes c.
    """

    name: str
    heads: tuple[Head, ...]
    classes: tuple[str, ...]
    of_class: tuple[int, ...]

    @property
    def num_outputs(self) -> int:
        """The number of logits that a model for this view returns."""
        return sum(head.num_classes for head in self.heads)

    @property
    def num_classes(self) -> int:
        """The number of probability columns that a prediction of this view has."""
        return len(self.classes)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes that a prediction of this view answers."""
        return AXES if self.num_classes == NUM_CLASSES else tuple(axis for axis in AXES if axis.name == self.name)

    def answer(self, axis: Axis, number: int) -> int:
        """Return the answer on `axis` that the view's class `number` stands for."""
        return decode(number)[AXES.index(axis)] if self.num_classes == NUM_CLASSES else number

    def split(self, outputs: Any) -> list[Any]:
        """Return each head's columns of an array [N, num_outputs]."""
        parts, start = [], 0
        for head in self.heads:
            parts.append(outputs[:, start : start + head.num_classes])
            start += head.num_classes
        return parts

    def compose(self, probabilities: list[Any]) -> Any:
        """Return [N, num_classes] from the heads' probabilities: their outer product when there are three."""
        if len(probabilities) == 1:
            return probabilities[0]
        mask, gender, age = probabilities
        product = mask[:, :, None, None] * gender[:, None, :, None] * age[:, None, None, :]
        return product.reshape(len(mask), NUM_CLASSES)


def _axis_head(axis: Axis) -> Head:
    position = AXES.index(axis)
    return Head(axis.name, axis.classes, tuple(decode(ans)[position] for ans in range(NUM_CLASSES)))


def _make_views() -> tuple[View, ...]:
    every = tuple(range(NUM_CLASSES))
    single = {axis: _axis_head(axis) for axis in AXES}
    return (
        View("multi", (Head("multi", CLASS_NAMES, every),), CLASS_NAMES, every),
        *(View(axis.name, (head,), head.classes, head.of_class) for axis, head in single.items()),
        View("multihead", tuple(single.values()), CLASS_NAMES, every),
    )


VIEWS = {view.name: view for view in _make_views()}


def view_named(name: str) -> View:
    """Return the view of that name.

    Raises:
        UnknownNameError: there is no such view.
    """
    if name not in VIEWS:
        raise UnknownNameError(f"unknown classification {name!r}", hint=f"It is one of: {', '.join(VIEWS)}.")
    return VIEWS[name]
