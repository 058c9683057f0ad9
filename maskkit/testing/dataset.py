"""The contract of data sets: `maskkit.plugin.contracts.DatasetFactory`."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import SkipTest

import numpy as np

from maskkit.data.images import open_image
from maskkit.data.samples import Samples
from maskkit.errors import DataError, UsageError
from maskkit.testing.candidate import Candidate
from maskkit.testing.check import CheckError, expect
from maskkit.testing.faces import write_faces

__all__ = ["CHECKS"]

_NUM_OPENED = 100
_VAL_RATIO = 0.25

Read = Callable[[], object]


def _gives_images_that_open(candidate: Candidate) -> None:
    with _reading(candidate) as read:
        samples = read()
        expect(
            isinstance(samples, Samples),
            f"it must give maskkit.Samples, but gave {type(samples).__name__}; return Samples(table)",
        )
        for path in _expected(samples).paths[:_NUM_OPENED]:
            try:
                open_image(path)
            except DataError as error:
                raise CheckError(f"the files of its table must open, but {error.message}") from error


def _reads_the_same_twice(candidate: Candidate) -> None:
    with _reading(candidate) as read:
        first, second = _expected(read()), _expected(read())
    expect(
        first.table.equals(second.table),
        "it must read a folder the same way each time, since rows are told apart by their numbers, but its table"
        " changed; sort what it lists",
    )


def _splits_by_its_unit(candidate: Candidate) -> None:
    with _reading(candidate) as read:
        samples = _expected(read())
    if not samples.labelled:
        raise SkipTest("it has no labels, so nobody trains on it")
    first, second = (np.asarray(samples.split(val_ratio=_VAL_RATIO, seed=3)) for _ in range(2))
    expect(first.shape == (len(samples),), f"a split must give a fold for each image, but gave {first.shape}")
    expect(bool((first == second).all()), "a split must be the same for the same seed, but two differ")
    folds = sorted(set(first.tolist()))
    expect(folds == [0, 1], f"a split must hold some images out (0) and train on others (1), but gave folds {folds}")
    units = samples.table["person"] if samples.unit == "person" else samples.table["sample"]
    torn = set(units[first == 0]) & set(units[first == 1])
    expect(
        not torn,
        f"a split must keep each {samples.unit} together, but {sorted(torn)[:1]} fell on both sides",
    )


def _expected(samples: object) -> Samples:
    if not isinstance(samples, Samples):
        raise SkipTest("it is no Samples")
    return samples


@contextmanager
def _reading(candidate: Candidate) -> Iterator[Read]:
    """Yield a function that reads the user's folder or else the kit's own, that part of it which the data set takes.

    Raises:
        CheckError: it cannot read the user's folder, or fails otherwise than by an error with an explanation.
        SkipTest: it cannot read the kit's own.
    """
    if candidate.data_dir is not None:
        yield partial(candidate.build, candidate.data_dir)
        return
    with tempfile.TemporaryDirectory(prefix="maskkit-") as name:
        reasons = []
        for place in write_faces(Path(name)):
            reasons.append(_why_unread(candidate, place))
            if not reasons[-1]:
                yield partial(candidate.build, place)
                return
        raise SkipTest(f"it cannot read the kit's tiny folder ({reasons[0]}); pass --data_dir")


def _why_unread(candidate: Candidate, place: Path) -> str:
    """Return why a folder cannot be read, "" when it can."""
    try:
        candidate.build(place)
    except CheckError as failure:
        if isinstance(failure.__cause__, DataError | UsageError | OSError):
            return next(iter(str(failure.__cause__).splitlines()), "no reason given")
        raise
    return ""


CHECKS: dict[str, Callable[[Candidate], None]] = {
    "it gives images that open": _gives_images_that_open,
    "it reads the same twice": _reads_the_same_twice,
    "its split keeps units together": _splits_by_its_unit,
}
