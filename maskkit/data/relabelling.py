"""Labels that are wrong in the data, put right by a list: id,field,from,to."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from maskkit.data.csv_rows import Row, read_rows
from maskkit.data.images import first_few
from maskkit.data.profiles import OLDEST
from maskkit.data.samples import Samples
from maskkit.errors import DataError
from maskkit.labels import GENDER, MASK

__all__ = ["COLUMNS", "Correction", "read_corrections", "relabel"]

COLUMNS = ("sample", "field", "from", "to")
"""Of the table of what was changed."""

_COLUMNS = ("id", "field", "from", "to")
_AXES = {"mask": MASK, "gender": GENDER}
_FORM = "Such as: id,field,from,to, and below it 000020,mask,incorrect,normal or 001720,gender,female,male."


class Correction(NamedTuple):
    """A row of the list: which label of which person was which number of its field, and is another."""

    person: str
    field: str
    before: int
    after: int
    line: int


def read_corrections(path: Path | Literal["known"]) -> list[Correction]:
    """Return the rows of a list, "known" for the one that maskkit ships: faults that several teams found by eye.

    Raises:
        DataError: it cannot be read, or a row says nothing that can be done.
    """
    if path == "known":
        with as_file(files("maskkit.data") / "known_labels.csv") as shipped:
            return read_corrections(shipped)
    columns, rows = read_rows(path, flag="--relabel", form=_FORM)
    if missing := [name for name in _COLUMNS if name not in columns]:
        has = ", ".join(columns) or "nothing"
        raise DataError(f"--relabel: {path} has no column {', '.join(missing)}; it has {has}", hint=_FORM)
    corrections = [_correction(path, line, row) for line, row in rows]
    _check_once_each(path, corrections)
    return corrections


def relabel(samples: Samples, corrections: Sequence[Correction]) -> tuple[Samples, pd.DataFrame]:
    """Return the images with their labels put right, and what was changed: columns `COLUMNS`, a row a label.

    Every row of the list is held against the labels as they were, so that two rows can swap two labels.

    Raises:
        DataError: a row matches no image; all that do not are told.
    """
    before, table = samples.table, samples.table.copy()
    rows_of = before.groupby("person", sort=False).indices
    changes, unmatched = [], []
    for one in corrections:
        there = before[one.field].iloc[rows_of.get(one.person, [])]
        chosen = there.index[there == one.before]
        if chosen.empty:
            unmatched.append(_mismatch(one, there))
        table.loc[chosen, one.field] = one.after
        words = one.field, _word(one.field, one.before), _word(one.field, one.after)
        changes += [(sample, *words) for sample in before.loc[chosen, "sample"]]
    if unmatched:
        raise DataError(
            f"--relabel: {len(unmatched)} of its rows match no image:\n  " + first_few(unmatched, "\n  "),
            hint="Take these rows out, or see whether --data_dir is the folder that the list was made for.",
        )
    return replace(samples, table=table), pd.DataFrame(changes, columns=list(COLUMNS))


def _correction(path: Path, line: int, row: Row) -> Correction:
    person, field = row["id"].strip(), row["field"].strip().lower()
    place = f"--relabel: {path}, line {line}"
    if field not in {*_AXES, "age"}:
        raise DataError(f"{place}: {row['field']!r} is no field; they are mask, gender and age", hint=_FORM)
    if not person:
        raise DataError(f"{place}: the id is missing", hint=_FORM)
    before, after = (_number(place, field, row[name]) for name in ("from", "to"))
    if before == after:
        raise DataError(f"{place}: it changes {row['from']} to itself", hint="Take the row out.")
    return Correction(person, field, before, after, line)


def _number(place: str, field: str, word: str) -> int:
    cleaned = word.strip().lower()
    if field in _AXES:
        if cleaned in _AXES[field].classes:
            return _AXES[field].classes.index(cleaned)
        raise DataError(f"{place}: {word!r} is no {field}; it is one of {', '.join(_AXES[field].classes)}", hint=_FORM)
    if cleaned.isdecimal() and cleaned.isascii() and 1 <= int(cleaned) <= OLDEST:
        return int(cleaned)
    raise DataError(f"{place}: {word!r} is no age; it is a whole number of years, 1..{OLDEST}", hint=_FORM)


def _word(field: str, number: int) -> str:
    return _AXES[field].classes[number] if field in _AXES else str(number)


def _check_once_each(path: Path, corrections: Iterable[Correction]) -> None:
    seen: dict[tuple[str, str, int], int] = {}
    for one in corrections:
        first = seen.setdefault((one.person, one.field, one.before), one.line)
        if first != one.line:
            raise DataError(
                f"--relabel: {path}, line {one.line} changes the same label as line {first}",
                hint="Take one of them out.",
            )


def _mismatch(one: Correction, there: "pd.Series[int]") -> str:
    place = f"line {one.line}: {one.person},{one.field},{_word(one.field, one.before)},{_word(one.field, one.after)}"
    if there.empty:
        return f"{place}: there is no such id"
    values = ", ".join(_word(one.field, value) for value in sorted(set(there.tolist())))
    return f"{place}: of that id {one.field} is {values}"
