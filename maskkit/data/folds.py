"""Who is held out: an exact, stratified split that no order of listing can change."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskkit.errors import DataError, UsageError

__all__ = ["HELD_OUT", "LEFT_OUT", "TRAINING", "assign_folds", "hold_out"]

HELD_OUT, TRAINING, LEFT_OUT = 0, 1, -1


def hold_out(
    ids: Sequence[str], strata: Sequence[NDArray[np.int64]], *, val_ratio: float, seed: int
) -> NDArray[np.int64]:
    """Return the fold of each row, int64 [N]: 0 held out, 1 training; rows of one id share it.

    `strata` are int64 [N] each, the finest first. Of the U different ids round(val_ratio * U) are held out, at least
    one and never all, and of each stratum its share of them to within one. An id alone in its stratum stays in
    training. When fewer are held out, or left to train, than there are strata, the next strata count, and at last
    none.

    Raises:
        UsageError: `val_ratio` is not between 0 and 1.
        DataError: there are fewer than two different ids.
    """
    if not 0 < val_ratio < 1:
        raise UsageError(
            f"val_ratio is {val_ratio}; it must lie between 0 and 1",
            hint="--val_ratio=0.2 holds out one in five.",
        )
    units = _units(ids, strata)
    if len(units) < 2:
        raise DataError(f"a split needs two people or images at least, and there is {len(units)}")
    num_held = min(max(round(val_ratio * len(units)), 1), len(units) - 1)
    levels = [units[level].to_numpy() for level in units.columns]
    chosen = _choose([*levels, np.zeros(len(units), dtype=np.int64)], num_held, seed)
    held_out = {units.index[row] for row in chosen}
    return np.array([HELD_OUT if name in held_out else TRAINING for name in ids], dtype=np.int64)


def assign_folds(
    ids: Sequence[str], strata: Sequence[NDArray[np.int64]], *, num_folds: int, seed: int
) -> NDArray[np.int64]:
    """Return the fold 0..num_folds-1 of each row, int64 [N]; rows of one id share it.

    `strata` are int64 [N] each, the finest first. Of each stratum, and of all ids, two folds hold the same number to
    within one. When no stratum has an id for every fold, the next strata count, and at last none.

    Raises:
        DataError: there are fewer different ids than folds.
    """
    from sklearn.model_selection import StratifiedKFold  # it takes a second to load

    units = _units(ids, strata)
    if len(units) < num_folds:
        raise DataError(f"{num_folds} folds need as many people or images at least, and there are {len(units)}")
    levels = [units[level].to_numpy() for level in units.columns]
    levels.append(np.zeros(len(units), dtype=np.int64))
    chosen = next(level for level in levels if np.unique(level, return_counts=True)[1].max() >= num_folds)
    splitter = StratifiedKFold(num_folds, shuffle=True, random_state=seed % 2**32)
    fold_of: dict[str, int] = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, held_out) in enumerate(splitter.split(chosen, chosen)):
            fold_of |= dict.fromkeys(units.index[held_out], fold)
    return np.array([fold_of[name] for name in ids], dtype=np.int64)


def _units(ids: Sequence[str], strata: Sequence[NDArray[np.int64]]) -> pd.DataFrame:
    """Return one row an id, sorted by id; should its rows disagree, the lowest stratum counts, in whatever order."""
    return pd.DataFrame(dict(enumerate(strata))).groupby(np.array(ids, dtype=object)).min()


def _choose(levels: list[NDArray[np.int64]], num_held: int, seed: int) -> NDArray[np.int64]:
    """Return the rows held out, by the first level whose strata can each give one to both sides."""
    for strata in levels:
        present, sizes = np.unique(strata, return_counts=True)
        shared = np.flatnonzero(np.isin(strata, present[sizes > 1]))
        num_strata = int((sizes > 1).sum())
        if num_strata and num_strata <= num_held <= len(shared) - num_strata:
            return shared[_draw(strata[shared], num_held, seed)]
    raise AssertionError("the last level is a single stratum of two or more, which can always be split")


def _draw(strata: NDArray[np.int64], num_held: int, seed: int) -> NDArray[np.int64]:
    # Imported here: scikit-learn takes a second to load, and listing or voting never splits.
    from sklearn.model_selection import StratifiedShuffleSplit

    # Both sizes are given, because from one alone scikit-learn would work out the other by itself.
    splitter = StratifiedShuffleSplit(
        n_splits=1,
        test_size=num_held,
        train_size=len(strata) - num_held,
        random_state=seed % 2**32,  # all that numpy's generator takes
    )
    _, held_out = next(splitter.split(strata, strata))
    return np.asarray(held_out, dtype=np.int64)
