"""Ages near the borders of the groups, which say little: whom a training leaves out, and whom it calls old.

Nothing here touches a score: those held out keep their ages, and the official groups.
"""

import re
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from maskkit.data.samples import Samples
from maskkit.errors import UsageError
from maskkit.labels import AGE

__all__ = ["OLD_FROM", "are_of_ages", "read_ages", "targets"]

OLD_FROM = 60
_OLD = AGE.classes.index("old")
_RANGE = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?")


def read_ages(words: Sequence[str]) -> frozenset[int]:
    """Return the ages of words like "27-29" and "58", both ends included.

    Raises:
        UsageError: a word is no age and no range of ages.
    """
    ages: set[int] = set()
    for word in words:
        found = _RANGE.fullmatch(word.replace(" ", ""))
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise UsageError(
                f"--drop_ages: {word!r} is no age and no range of ages", hint="Such as --drop_ages=27-29,57-59."
            )
        ages.update(range(first, last + 1))
    return frozenset(ages)


def are_of_ages(samples: Samples, ages: Collection[int]) -> NDArray[np.bool_]:
    """Return of each image whether the person has one of these ages, bool [N]."""
    return samples.table["age"].isin(list(ages)).to_numpy(dtype=np.bool_)


def targets(samples: Samples, old_from: int) -> NDArray[np.int64]:
    """Return the class 0..17 that each image is trained as, int64 [N], when people are old from an age on."""
    answers = samples.answers
    years = samples.table["age"].to_numpy()
    return np.where((years >= old_from) & (years < OLD_FROM), answers - answers % 3 + _OLD, answers)
