"""The table of images that a data set gives: one row an image."""

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskkit.data.folds import assign_folds, hold_out
from maskkit.data.images import first_few
from maskkit.errors import DataError
from maskkit.labels import GENDER, MASK, age_group, encode

__all__ = ["Samples"]

_NEEDED = ("path", "sample")
_LABELS = ("person", "mask", "gender", "age")
_RANGES = {"mask": (0, len(MASK.classes) - 1), "gender": (0, len(GENDER.classes) - 1), "age": (1, 120)}


@dataclass(frozen=True, eq=False)
class Samples:
    """A table of images: one row an image, numbered from 0 whatever index the given table had.

    table: `path` (text, absolute) and `sample` (text, unique); a labelled one has also `person` (text), `mask` (0 wear,
        1 incorrect, 2 not worn), `gender` (0 male, 1 female) and `age` (whole years).
    unit: what a split keeps together, all images of a person or one image.
    eval_dir: the data set's own folder of unlabelled images, when it brings one.
    notice: a sentence that every output repeats, such as a warning of a leak.

    Raises:
        DataError: the table is empty, lacks a column, repeats a sample or holds a value outside its range.
    """

    table: pd.DataFrame
    unit: Literal["person", "image"] = "person"
    eval_dir: Path | None = None
    notice: str = ""

    def __post_init__(self) -> None:
        _check(self.table)
        if self.unit not in ("person", "image"):
            raise DataError(f"the unit of a split is {self.unit!r}; it must be 'person' or 'image'")
        object.__setattr__(self, "table", self.table.reset_index(drop=True))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def labelled(self) -> bool:
        """Whether the truth is known."""
        return "mask" in self.table.columns

    @property
    def paths(self) -> list[str]:
        """The file of each image."""
        return list(map(str, self.table["path"].tolist()))

    @property
    def names(self) -> list[str]:
        """The unique name of each image."""
        return list(map(str, self.table["sample"].tolist()))

    @property
    def answers(self) -> NDArray[np.int64]:
        """The true class 0..17 of each image, int64 [N].

        Raises:
            DataError: the images are not labelled.
        """
        if not self.labelled:
            raise DataError("these images carry no labels", hint="Only a labelled data set can train or be scored.")
        columns = (self.table[name].tolist() for name in ("mask", "gender", "age"))
        answers = [encode(mask, gender, age_group(age)) for mask, gender, age in zip(*columns, strict=True)]
        return np.array(answers, dtype=np.int64)

    def without(self, paths: Collection[str]) -> "Samples":
        """Return the table without these files.

        Raises:
            DataError: no image is left.
        """
        return replace(self, table=self.table[~self.table["path"].isin(list(paths))])

    def split(self, *, val_ratio: float, seed: int) -> NDArray[np.int64]:
        """Return the fold of each image, int64 [N]: 0 held out, 1 training.

        Raises:
            DataError: the images are not labelled, or there are fewer than two people (or images) to part.
            UsageError: `val_ratio` is not between 0 and 1.
        """
        ids, strata = self._units()
        return hold_out(ids, strata, val_ratio=val_ratio, seed=seed)

    def assign_folds(self, *, num_folds: int, seed: int) -> NDArray[np.int64]:
        """Return the fold of each image, int64 [N], 0..num_folds-1.

        Raises:
            DataError: the images are not labelled, or there are fewer people (or images) than folds.
        """
        ids, strata = self._units()
        return assign_folds(ids, strata, num_folds=num_folds, seed=seed)

    def _units(self) -> tuple[list[str], tuple[NDArray[np.int64], ...]]:
        """Return what each image is kept together by, and the strata to spread evenly, the finest first."""
        answers = self.answers
        gender = answers // 3 % 2
        if self.unit == "image":
            return self.names, (answers, gender)
        return list(map(str, self.table["person"].tolist())), (answers % 6, gender)


def _check(table: pd.DataFrame) -> None:
    present = [name for name in _LABELS if name in table.columns]
    missing = [name for name in _NEEDED + (_LABELS if present else ()) if name not in table.columns]
    if missing:
        raise DataError(
            f"the table of images lacks {', '.join(missing)}; it has {', '.join(map(str, table.columns)) or 'none'}",
            hint=f"It needs {' and '.join(_NEEDED)}, and when it is labelled all of {', '.join(_LABELS)}.",
        )
    if table.empty:
        raise DataError("the table of images is empty")
    _check_text(table, [*_NEEDED, "person"] if present else [*_NEEDED])
    repeated = table["sample"][table["sample"].duplicated()].unique()
    if len(repeated):
        raise DataError(f"{len(repeated)} samples stand in the table more than once: {first_few(repeated)}")
    relative = [path for path in table["path"].tolist() if not os.path.isabs(path)]  # noqa: PTH117  many paths
    if relative:
        raise DataError(f"{len(relative)} paths are not absolute: {first_few(relative)}")
    if present:
        _check_labels(table)


def _check_text(table: pd.DataFrame, columns: list[str]) -> None:
    for name in columns:
        wrong = [repr(value) for value in table[name].tolist() if not isinstance(value, str) or not value]
        if wrong:
            raise DataError(f"{name} is not text in {len(wrong)} rows: {first_few(wrong)}")


def _check_labels(table: pd.DataFrame) -> None:
    for name, (lowest, highest) in _RANGES.items():
        if not pd.api.types.is_integer_dtype(table[name]) or table[name].hasnans:
            raise DataError(f"{name} holds {table[name].dtype}; it must hold a whole number in every row")
        wrong = table[~table[name].between(lowest, highest)]
        if len(wrong):
            given = [f"{sample} ({value})" for sample, value in zip(wrong["sample"], wrong[name], strict=True)]
            raise DataError(f"{name} must be {lowest}..{highest}; {len(wrong)} rows differ: {first_few(given)}")
