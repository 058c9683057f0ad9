"""Photos held out that look like photos trained on, of other ids: a leak that no split by person can see."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from maskkit.data.duplicates import Hash, near
from maskkit.data.folds import HELD_OUT, TRAINING
from maskkit.engine.plan import Plan
from maskkit.files import write_text

__all__ = ["tell_leaks"]

_COLUMNS = ("held_out", "trained_on", "different_bits")


def tell_leaks(run_dir: Path, plan: Plan, hashes: Hash) -> None:
    """Write alike.csv and warn, when photos held out look like photos trained on of another person.

    hashes: of each image of the plan, uint64 [N, 4].
    """
    people, names = plan.samples.table["person"].tolist(), plan.samples.names
    held_out, trained_on = (np.flatnonzero(plan.folds == fold) for fold in (HELD_OUT, TRAINING))
    pairs = [
        (int(held_out[row]), int(trained_on[column]), bits)
        for row, column, bits in near(hashes[held_out], hashes[trained_on])
    ]
    found = [(names[one], names[other], bits) for one, other, bits in pairs if people[one] != people[other]]
    if not found:
        return
    table = pd.DataFrame(found, columns=list(_COLUMNS)).sort_values("different_bits", kind="stable")
    write_text(run_dir / "alike.csv", table.to_csv(index=False, lineterminator="\n"))
    first = table.iloc[0]
    num_held_out = table["held_out"].nunique()
    warnings.warn(
        f"{num_held_out} of {len(held_out)} photos held out look like photos trained on, of another id:"
        f" {run_dir / 'alike.csv'}\n  the first: {first['held_out']} and {first['trained_on']}\n"
        "  If they show one person, validation reads too high: give both folders one id, or take one out.",
        stacklevel=2,
    )
