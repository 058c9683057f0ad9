"""How often each image is drawn in an epoch, where that is not once."""

import numpy as np
from numpy.typing import NDArray

from maskkit.labels import AGE, View

__all__ = ["drawing_weights"]

_NUM_AGES = len(AGE.classes)
_OLD = AGE.classes.index("old")


def drawing_weights(
    targets: NDArray[np.int64], people: NDArray[np.object_], view: View, *, balance: str, oversample_old: float
) -> NDArray[np.float64] | None:
    """Return in which proportions images are drawn, float64 [N], None where each is drawn once.

    targets: the class 0..17 that each is trained as, int64 [N]. people: the person that each shows, text [N].
    balance: "class" draws the classes of the view equally often, and in each of them its images; "person_age" the age
        groups, in each of them its people, and of each of these the images; "none" every image.
    oversample_old: a factor for the images of old people, after that.
    """
    ages = targets % _NUM_AGES  # which run fastest
    weights = np.ones(len(targets))
    if balance == "class":
        weights = 1 / _sizes(np.array(view.of_class)[targets])
    elif balance == "person_age":
        of_person = _sizes(people)
        num_people = np.bincount(ages, weights=1 / of_person, minlength=_NUM_AGES)
        weights = 1 / (num_people[ages] * of_person)
    weights = np.where(ages == _OLD, oversample_old * weights, weights)
    return None if np.all(weights == weights[0]) else weights


def _sizes(groups: NDArray[np.int64] | NDArray[np.object_]) -> NDArray[np.int64]:
    """Return how many members each one's group has, int64 [N]."""
    _, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    sizes: NDArray[np.int64] = counts[numbers]
    return sizes
