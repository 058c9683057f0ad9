"""A split that somebody made before, taken from a table: the samples.csv of a run, or one of one's own."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskkit.data.csv_rows import read_rows
from maskkit.data.folds import HELD_OUT, LEFT_OUT, TRAINING
from maskkit.data.images import first_few
from maskkit.data.samples import Samples
from maskkit.errors import DataError

__all__ = ["read_split"]

_FORM = "It needs a column fold, and sample or person: the samples.csv of a run is such a file."


def read_split(path: Path, samples: Samples, *, num_folds: int | None) -> NDArray[np.int64]:
    """Return the fold of each image, int64 [N], as a table tells it by its columns fold, and sample or else person.

    num_folds: the folds are 0..num_folds-1; None: 0 is held out, and 1 is trained on, as is what a run left out.

    Raises:
        DataError: the table cannot be read, does not name each image once, has other folds, or parts a person.
    """
    column, fold_of = _read(path)
    names = samples.names if column == "sample" else list(map(str, samples.table["person"].tolist()))
    _check_names(path, column, fold_of, names)
    folds = np.array([fold_of[name] for name in names], dtype=np.int64)
    _check_folds(path, set(folds.tolist()), num_folds)
    folds[folds == LEFT_OUT] = TRAINING
    if samples.unit == "person":
        _check_people(path, samples, folds)
    return folds


def _read(path: Path) -> tuple[str, Mapping[str, int]]:
    """Return the column that names images, and the fold of each name."""
    columns, rows = read_rows(path, flag="--split_file", form=_FORM)
    column = next((name for name in ("sample", "person") if name in columns), None)
    if column is None or "fold" not in columns:
        has = ", ".join(columns) or "nothing"
        problem = "has no column fold" if "fold" not in columns else "has neither a column sample nor person"
        raise DataError(f"--split_file: {path} {problem}; it has {has}", hint=_FORM)
    fold_of: dict[str, int] = {}
    for line, row in rows:
        try:
            fold = int(row["fold"])
        except ValueError:
            raise DataError(f"--split_file: {path}, line {line}: {row['fold']!r} is no fold, a whole number") from None
        if fold_of.setdefault(row[column], fold) != fold:
            raise DataError(f"--split_file: {path}, line {line}: {row[column]} is in another fold above")
    return column, fold_of


def _check_names(path: Path, column: str, fold_of: Mapping[str, int], names: Sequence[str]) -> None:
    missing, unknown = (_without(names, fold_of), _without(fold_of, names))
    problems = [
        f"\n  {len(some)} {what}: {first_few(some)}"
        for what, some in (("of the data set are not in it", missing), ("in it are not in the data set", unknown))
        if some
    ]
    if problems:
        raise DataError(
            f"--split_file: {path} and the data set differ by {column}:" + "".join(problems),
            hint="Is --data_dir the folder that it was made of?",
        )


def _without(names: Iterable[str], others: Iterable[str]) -> list[str]:
    return sorted(set(names) - set(others))


def _check_folds(path: Path, folds: set[int], num_folds: int | None) -> None:
    wanted = {HELD_OUT, TRAINING} if num_folds is None else set(range(num_folds))
    if (folds - {LEFT_OUT} if num_folds is None else folds) == wanted:
        return
    has = f"--split_file: {path} has the folds {first_few(sorted(folds))}"
    count = max(folds) + 1
    hint = "0 is held out, 1 is trained on." if num_folds is None else "Folds are counted from 0."
    if count > 1 and folds == set(range(count)):
        hint = f"Type --folds={count}, and beside it --fold=0 to train the first alone."
    raise DataError(f"{has}, not {first_few(sorted(wanted))}", hint=hint)


def _check_people(path: Path, samples: Samples, folds: NDArray[np.int64]) -> None:
    sides = samples.table.assign(fold=folds).groupby("person")["fold"].nunique()
    torn = sides.index[sides > 1].tolist()
    if torn:
        raise DataError(
            f"--split_file: {path} parts the images of {len(torn)} people: {first_few(torn)}",
            hint="A network that has seen a person knows him again: give each person one fold.",
        )
