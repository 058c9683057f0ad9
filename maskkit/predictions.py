"""The CSV files of predictions: read, check, align and write.

    hard   ImageID,ans
    soft   ImageID,ans,0,1,..,K-1      K is 18, 3 or 2; probabilities, or the logits that older projects wrote

Either kind may hold the true class in a column `truth` after `ans`. A row is named by its line in the file, as an
editor counts: the header is line 1.
"""

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from maskkit.errors import PredictionError, UsageError
from maskkit.files import write_text
from maskkit.labels import NUM_CLASSES, VIEWS, View

__all__ = ["Floats", "Integers", "Predictions", "Space", "align", "notice_of_run", "read_predictions", "write_hard"]
__all__ += ["write_soft"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Space = Literal["auto", "prob", "logit"]


def _columns(num_classes: int, *, truth: bool) -> list[str]:
    return ["ImageID", "ans", *(["truth"] if truth else []), *map(str, range(num_classes))]


_CLASS_COUNTS = sorted({view.num_classes for view in VIEWS.values()}, reverse=True)
_HEADERS = [_columns(num_classes, truth=truth) for num_classes in (0, *_CLASS_COUNTS) for truth in (False, True)]
_ROUNDING, _SUM_TOLERANCE = 1e-6, 1e-3
_VALID = "The columns must be ImageID,ans or ImageID,ans,0,1,..,K-1 with K = 18, 3 or 2; truth may follow ans."


@dataclass(frozen=True, eq=False)
class Predictions:
    """One file of N predictions over K classes, in the order of its rows.

    `ids` [N]; `ans` int64 [N]; `truth` int64 [N] or None; `values` float64 [N, K], or None in a hard file; `lines`
    int64 [N], where each row stands in the file; `view`, what the run that the file lies in learned, or None where no
    run is found or its classes are not the columns.
    """

    path: Path
    ids: list[str]
    ans: Integers
    truth: Integers | None
    values: Floats | None
    lines: Integers
    view: View | None

    @property
    def num_classes(self) -> int | None:
        """The number of columns of classes, None in a hard file."""
        return None if self.values is None else self.values.shape[1]

    @property
    def space(self) -> Literal["prob", "logit"] | None:
        """`prob` if every row lies in [0, 1] and sums to 1 within 1e-3, otherwise `logit`; None in a hard file."""
        if self.values is None:
            return None
        return "prob" if _are_probabilities(self.values).all() else "logit"

    def probabilities(self, space: Space = "auto") -> Floats:
        """Return [N, K]: the values as they are, or their softmax where they are logits.

        Raises:
            PredictionError: the file is hard, or `prob` is claimed and a row holds no probabilities.
            UsageError: there is no such space.
        """
        if space not in ("auto", "prob", "logit"):
            raise UsageError(f"unknown space {space!r}", hint="It is one of: auto, prob, logit.")
        if self.values is None:
            raise PredictionError(f"{self.path} holds answers, no probabilities", hint="Use --how=hard.")
        if space == "prob" and (wrong := np.flatnonzero(~_are_probabilities(self.values))).size:
            message = "the row holds no probabilities: they lie in [0, 1] and sum to 1 within 0.001"
            raise _fault(self.path, self.lines[wrong[0]], message, hint="Use --space=logit or --space=auto.")
        return _softmax(self.values) if (self.space if space == "auto" else space) == "logit" else self.values

    def check_classes(self, num_classes: int, owner: str, *, hint: str = "") -> None:
        """Refuse an `ans` or `truth` outside 0..num_classes-1; `owner` says whose classes those are.

        Raises:
            PredictionError: the first row outside.
        """
        for name, column in (("ans", self.ans), ("truth", self.truth)):
            if column is not None and (wrong := np.flatnonzero(column >= num_classes)).size:
                message = f"{name} is {column[wrong[0]]}; the classes of {owner} are 0..{num_classes - 1}"
                raise _fault(self.path, self.lines[wrong[0]], message, hint=hint)


def read_predictions(path: Path | str) -> Predictions:
    """Read a file of predictions and check every cell; blank lines, a byte-order mark and CRLF are no fault.

    Raises:
        PredictionError: what is wrong, on which line of which file, and what is valid.
    """
    path = Path(path)
    table = _read_table(path)
    ids = [cells[0] for cells in table.rows]
    _check_ids(str(path), ids, table.lines)
    truth = "truth" in table.header
    num_classes = len(table.header) - 2 - truth
    view = _view_of_run(path)
    return Predictions(
        path=path,
        ids=ids,
        ans=table.classes(1, num_classes or NUM_CLASSES),
        truth=table.classes(2, num_classes or NUM_CLASSES) if truth else None,
        values=table.values(2 + truth) if num_classes else None,
        lines=np.array(table.lines, dtype=np.int64),
        view=view if view and num_classes in (0, view.num_classes) else None,
    )


def align(files: Sequence[Predictions]) -> list[Predictions]:
    """Return the files with their rows in the order of the first file's ids.

    Raises:
        PredictionError: two files do not hold the same ids.
    """
    aligned = list(files[:1])
    for file in files[1:]:
        _check_same_ids(files[0], file)
        row_of = {image: row for row, image in enumerate(file.ids)}
        rows = np.array([row_of[image] for image in files[0].ids], dtype=np.int64)
        truth = None if file.truth is None else file.truth[rows]
        values = None if file.values is None else file.values[rows]
        lines = file.lines[rows]
        aligned.append(replace(file, ids=files[0].ids, ans=file.ans[rows], truth=truth, values=values, lines=lines))
    return aligned


def write_hard(path: Path, ids: Sequence[str], ans: NDArray[Any]) -> None:
    """Write `ImageID,ans` atomically; ans is int [N].

    Raises:
        PredictionError: an id is empty, repeated or no text.
    """
    _write(path, _columns(0, truth=False), ids, map(str, ans.tolist()))


def write_soft(
    path: Path, ids: Sequence[str], probabilities: NDArray[Any], *, truth: NDArray[Any] | None = None
) -> None:
    """Write `ImageID,ans[,truth],0,..` atomically; ans is the largest of each row of float [N, K].

    float32 is written with 9 significant digits and float64 as Python writes it: both read back exactly.

    Raises:
        PredictionError: a number is not finite, or an id is empty, repeated or no text.
    """
    if (wrong := np.flatnonzero(~np.isfinite(probabilities).all(axis=1))).size:
        raise PredictionError(f"cannot write {path}: the probabilities of {ids[wrong[0]]!r} are not finite")
    as_text = repr if probabilities.dtype == np.float64 else "{:.9g}".format
    columns: list[Iterable[str]] = [map(str, probabilities.argmax(axis=1).tolist())]
    if truth is not None:
        columns.append(map(str, truth.tolist()))
    columns.append(",".join(map(as_text, row)) for row in probabilities.tolist())
    _write(path, _columns(probabilities.shape[1], truth=truth is not None), ids, *columns)


def _write(path: Path, header: list[str], ids: Sequence[str], *columns: Iterable[str]) -> None:
    _check_ids(f"cannot write {path}", ids, range(2, len(ids) + 2))
    rows = map(",".join, zip(map(_quoted, ids), *columns, strict=True))
    write_text(path, "\n".join([",".join(header), *rows, ""]))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]', text) else text


def notice_of_run(path: Path) -> str:
    """Return what the run that a file lies in repeats in every output, such as that its faces are drawn, or ""."""
    return _told_by_run(path, "decisions", "notice")


def _view_of_run(path: Path) -> View | None:
    return VIEWS.get(_told_by_run(path, "values", "classification"))


def _told_by_run(path: Path, part: str, name: str) -> str:
    """Return a text of the config.json in a file's folder or the one above, "" where there is none."""
    folder = path.resolve().parent
    for place in (folder, folder.parent):
        try:
            told = json.loads((place / "config.json").read_bytes())[part][name]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue  # no config.json, or another program's: then nothing is known
        if isinstance(told, str):
            return told
    return ""


@dataclass(frozen=True)
class _Table:
    """The cells of a CSV file as text, as many in every row as in the header."""

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def classes(self, column: int, num_classes: int) -> Integers:
        number_of = {str(number): number for number in range(num_classes)}
        numbers = [number_of.get(cells[column], -1) for cells in self.rows]
        if -1 in numbers:
            raise self.fault(numbers.index(-1), column, f"a whole number from 0 to {num_classes - 1}")
        return np.array(numbers, dtype=np.int64)

    def values(self, start: int) -> Floats:
        rows = (",".join(cells[start:]) for cells in self.rows)
        try:
            values = np.loadtxt(rows, delimiter=",", comments=None, ndmin=2)  # twice as fast as float() of each cell
        except ValueError:
            values = np.array([math.nan])
        if np.isfinite(values).all():
            return values
        places = ((row, column) for row in range(len(self.rows)) for column in range(start, len(self.header)))
        row, column = next(place for place in places if not _is_number(self.rows[place[0]][place[1]]))
        raise self.fault(row, column, "a finite number")

    def fault(self, row: int, column: int, valid: str) -> PredictionError:
        message = f"column {self.header[column]!r} is {self.rows[row][column]!r}; it must be {valid}"
        return _fault(self.path, self.lines[row], message)


def _is_number(cell: str) -> bool:
    try:
        return re.fullmatch(r"[-+.0-9eE \t]+", cell) is not None and math.isfinite(float(cell))
    except ValueError:
        return False


def _read_table(path: Path) -> _Table:
    numbered = list(_split(path, _read_text(path)))
    if not numbered:
        raise PredictionError(f"{path} is empty", hint=_VALID)
    (line, header), *body = numbered
    if header not in _HEADERS:
        received = ",".join(header)[:160]
        raise _fault(path, line, f"{_header_fault(header)}; received {received!r}", hint=_VALID)
    if not body:
        raise _fault(path, line, "there are no rows after the header; at least one is needed")
    for line, cells in body:
        if len(cells) != len(header):
            raise _fault(path, line, f"the row has {len(cells)} cells; the header has {len(header)}")
    return _Table(path, header, [cells for _, cells in body], [line for line, _ in body])


def _header_fault(header: list[str]) -> str:
    name, times = Counter(header).most_common(1)[0]
    if times > 1:
        return f"the column {name!r} appears {times} times"
    if any(sorted(header) == sorted(valid) for valid in _HEADERS):
        return "the columns are out of order"
    missing = [name for name in _HEADERS[0] if name not in header]
    return f"the column {missing[0]!r} is missing" if missing else "these are not the columns of predictions"


def _split(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of every row that is not blank; a quoted cell may run over several lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise _fault(path, line, f"the row is not valid CSV: {error}") from error


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise PredictionError(f"{path} is a folder; a CSV file of predictions is needed")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise PredictionError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PredictionError(f"{path} is not text in UTF-8", hint="Save it as CSV in UTF-8.") from error
    if "\0" in text:
        raise PredictionError(f"{path} is not text but binary", hint="Save it as CSV in UTF-8.")
    return text


def _check_ids(source: str, ids: Sequence[str], lines: Sequence[int]) -> None:
    line_of: dict[str, int] = {}
    for image, line in zip(ids, lines, strict=True):
        if not image or image.isspace():
            raise _fault(source, line, "the ImageID is empty")
        if not image.isprintable() and re.search("[\0\ud800-\udfff]", image):
            raise _fault(source, line, f"the ImageID {image!r} cannot be written as text")
        if line_of.setdefault(image, line) != line:
            raise _fault(source, line, f"the ImageID {image!r} is already on line {line_of[image]}")


def _check_same_ids(first: Predictions, second: Predictions) -> None:
    faults = []
    for file, other in ((first, second), (second, first)):
        others = set(other.ids)
        rows = [row for row, image in enumerate(file.ids) if image not in others]
        if rows:
            where = f"the first is {file.ids[rows[0]]!r}, line {file.lines[rows[0]]} of {file.path}"
            faults.append(f"{len(rows)} {'is' if len(rows) == 1 else 'are'} missing in {other.path} ({where})")
    if faults:
        message = f"{first.path} and {second.path} hold different ids: {'; '.join(faults)}"
        raise PredictionError(message, hint="Predict the same info.csv with each of the runs.")


def _are_probabilities(values: Floats) -> NDArray[np.bool_]:
    """Return bool [N]; a millionth beyond [0, 1] is the rounding of a mean, not a logit."""
    outside = np.maximum(-values, values - 1).max(axis=1) > _ROUNDING
    sums = np.where(outside[:, None], 0, values).sum(axis=1)
    return np.asarray(np.abs(sums - 1) <= _SUM_TOLERANCE)


def _softmax(logits: Floats) -> Floats:
    with np.errstate(over="ignore"):  # a difference beyond float64 becomes -inf, and its share 0
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _fault(source: Path | str, line: int, message: str, *, hint: str = "") -> PredictionError:
    return PredictionError(f"{source}, line {line}: {message}", hint=hint)
