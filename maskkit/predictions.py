"""The CSV files of predictions: read, check and write.

    hard   ImageID,ans
    soft   ImageID,ans,0,1,..,K-1      K is 18, 3 or 2; probabilities, or the logits that older projects wrote

Either kind may hold, after `ans`, the true class in a column `truth`, and then who is on the image in a column
`person`. A row is named by its line in the file, as an editor counts: the header is line 1.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from maskkit.csv_files import CsvFile, fault
from maskkit.errors import PredictionError, UsageError
from maskkit.files import replacing
from maskkit.labels import NUM_CLASSES, VIEWS, View
from maskkit.tables import Table, read_blocks, read_header, read_table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Floats", "Integers", "PredictionFile", "Predictions", "Space", "check_ids", "notice_of_run"]
__all__ += ["open_predictions", "read_predictions", "softmax", "write_hard", "write_soft", "writing"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Space = Literal["auto", "prob", "logit"]


def _columns(num_classes: int, *extra: str) -> list[str]:
    return ["ImageID", "ans", *extra, *map(str, range(num_classes))]


_CLASS_COUNTS = sorted({view.num_classes for view in VIEWS.values()}, reverse=True)
_EXTRA: tuple[tuple[str, ...], ...] = ((), ("truth",), ("person",), ("truth", "person"))
_HEADERS = [_columns(num_classes, *extra) for num_classes in (0, *_CLASS_COUNTS) for extra in _EXTRA]
_SPECIAL = r'[",\r\n]'  # what makes a cell need quotes
_ROUNDING, _SUM_TOLERANCE = 1e-6, 1e-3
_VALID = "The columns must be ImageID,ans or ImageID,ans,0,1,..,K-1 with K = 18, 3 or 2; truth, person may follow ans."


@dataclass(frozen=True, eq=False)
class Predictions:
    """N predictions over K classes, all or a part of a file, in the order of its rows.

    `images`, the ids as texts [N], and `ids`, the same as a list; `ans` int64 [N]; `truth` int64 [N] or None; `people`,
    names [N] or None; `values` float64 [N, K], or None in a hard file; `lines` int64 [N], where each row stands in the
    file; `view`, what the run that the file lies in learned, or None where no run is found or its classes are not the
    columns.
    """

    path: Path
    images: "pa.ChunkedArray"
    ans: Integers
    truth: Integers | None
    people: list[str] | None
    values: Floats | None
    lines: Integers
    view: View | None

    @cached_property
    def ids(self) -> list[str]:
        """The ids, made when they are first asked for."""
        ids: list[str] = self.images.to_pylist()
        return ids

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
        values = self.checked_values(space)
        return softmax(values) if (self.space if space == "auto" else space) == "logit" else values

    def checked_values(self, space: Space) -> Floats:
        """Return the values [N, K], which hold what is claimed.

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
            raise fault(self.path, self.lines[wrong[0]], message, hint="Use --space=logit or --space=auto.")
        return self.values

    def check_classes(self, num_classes: int, owner: str, *, hint: str = "") -> None:
        """Refuse an `ans` or `truth` outside 0..num_classes-1; `owner` says whose classes those are.

        Raises:
            PredictionError: the first row outside.
        """
        for name, column in (("ans", self.ans), ("truth", self.truth)):
            if column is not None and (wrong := np.flatnonzero(column >= num_classes)).size:
                message = f"{name} is {column[wrong[0]]}; the classes of {owner} are 0..{num_classes - 1}"
                raise fault(self.path, self.lines[wrong[0]], message, hint=hint)

    def check_ids(self) -> None:
        """Refuse an id that is empty, repeated or no text.

        Raises:
            PredictionError: the first such row.
        """
        check_ids(self.path, self.ids, self.lines)


@dataclass(frozen=True, eq=False)
class PredictionFile:
    """A file of predictions of which the header is read; `view` as that of `Predictions`."""

    source: CsvFile
    header: list[str]
    view: View | None

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self.source.path

    @property
    def num_bytes(self) -> int:
        """The size of the file."""
        return self.source.num_bytes

    @property
    def num_classes(self) -> int | None:
        """The number of columns of classes, None in a hard file."""
        return _num_classes(self.header) or None

    def parts(self, on_read: Callable[[int], None] | None = None) -> Iterator[Predictions]:
        """Yield the rows some megabytes at a time, every cell but the ids checked.

        on_read: is told how many bytes of the file have been read.

        Raises:
            PredictionError: what is wrong, on which line of which file, and what is valid.
        """
        for table in read_blocks(self.source, [self.header], hint=_VALID, on_read=on_read):
            yield _predictions(table, self.view)


def open_predictions(path: Path | str) -> PredictionFile:
    """Read the header of a file of predictions.

    Raises:
        PredictionError: the file cannot be read, or has another header.
    """
    source = CsvFile.at(Path(path))
    header = read_header(source, _HEADERS, hint=_VALID)
    return PredictionFile(source, header, _view_of(source.path, header))


def read_predictions(path: Path | str) -> Predictions:
    """Read a file of predictions and check every cell; blank lines, a byte-order mark and CRLF are no fault.

    Raises:
        PredictionError: what is wrong, on which line of which file, and what is valid.
    """
    table = read_table(Path(path), _HEADERS, hint=_VALID)
    predictions = _predictions(table, _view_of(table.path, table.header))
    predictions.check_ids()
    return predictions


def _predictions(table: Table, view: View | None) -> Predictions:
    num_classes = _num_classes(table.header)
    return Predictions(
        path=table.path,
        images=table.columns["ImageID"],
        ans=table.classes("ans", num_classes or NUM_CLASSES),
        truth=table.classes("truth", num_classes or NUM_CLASSES) if "truth" in table.header else None,
        people=table.names("person") if "person" in table.header else None,
        values=table.values(num_classes) if num_classes else None,
        lines=table.lines,
        view=view,
    )


def _num_classes(header: list[str]) -> int:
    return len(header) - len({"ImageID", "ans", "truth", "person"}.intersection(header))


def _view_of(path: Path, header: list[str]) -> View | None:
    """Return what the run that a file lies in learned, None where there is none or its classes are not the columns."""
    view = VIEWS.get(_told_by_run(path, "values", "classification"))
    return view if view and _num_classes(header) in (0, view.num_classes) else None


def write_hard(path: Path, ids: Sequence[str], ans: NDArray[Any]) -> None:
    """Write `ImageID,ans` atomically; ans is int [N].

    Raises:
        PredictionError: an id is empty, repeated or no text.
    """
    check_ids(f"cannot write {path}", ids, range(2, len(ids) + 2))
    with writing(path) as write:
        write(ids, ans)


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
    check_ids(f"cannot write {path}", ids, range(2, len(ids) + 2))
    with writing(path, probabilities.shape[1], *([] if truth is None else ["truth"])) as write:
        write(ids, probabilities.argmax(axis=1), *([] if truth is None else [truth]), probabilities)


@contextmanager
def writing(path: Path, num_classes: int = 0, *extra: str) -> Iterator[Callable[..., None]]:
    """Write a file part by part, atomically: yield a function of the ids and of the columns, arrays [N] or [N, K].

    Nobody checks what is written but the caller.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(_columns(num_classes, *extra)) + "\n")

        def write(ids: Sequence[str], *columns: NDArray[Any]) -> None:
            are_plain = not re.search(_SPECIAL, "".join(ids))
            texts = ids if are_plain else map(_quoted, ids)
            rows = map(",".join, zip(texts, *map(_texts, columns), strict=True))
            file.write("\n".join([*rows, ""]))

        yield write


def _texts(column: NDArray[Any]) -> Iterable[str]:
    if column.ndim == 1:
        return map(str, column.tolist())
    as_text = repr if column.dtype == np.float64 else "{:.9g}".format
    return (",".join(map(as_text, row)) for row in column.tolist())


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if re.search(_SPECIAL, text) else text


def notice_of_run(path: Path) -> str:
    """Return what the run that a file lies in repeats in every output, such as that its faces are drawn, or ""."""
    return _told_by_run(path, "decisions", "notice")


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


def check_ids(source: Path | str, ids: Sequence[str], lines: Sequence[int] | Integers) -> None:
    """Refuse an id that is empty, repeated or no text; `lines` are where the rows of a source stand.

    Raises:
        PredictionError: the first such row.
    """
    if all(ids) and not any(map(str.isspace, ids)) and len(set(ids)) == len(ids) and "".join(ids).isprintable():
        return
    line_of: dict[str, int] = {}
    for image, line in zip(ids, lines, strict=True):
        if not image or image.isspace():
            raise fault(source, line, "the ImageID is empty")
        if not image.isprintable() and re.search("[\0\ud800-\udfff]", image):
            raise fault(source, line, f"the ImageID {image!r} cannot be written as text")
        if line_of.setdefault(image, line) != line:
            raise fault(source, line, f"the ImageID {image!r} is already on line {line_of[image]}")


def _are_probabilities(values: Floats) -> NDArray[np.bool_]:
    """Return bool [N]; a millionth beyond [0, 1] is the rounding of a mean, not a logit."""
    if values.min() >= 0 and values.max() <= 1:
        return np.asarray(np.abs(values.sum(axis=1) - 1) <= _SUM_TOLERANCE)
    outside = np.maximum(-values, values - 1).max(axis=1) > _ROUNDING
    sums = np.where(outside[:, None], 0, values).sum(axis=1)
    return np.asarray(np.abs(sums - 1) <= _SUM_TOLERANCE)


def softmax(logits: Floats) -> Floats:
    """Return exp(x_k) / sum_j exp(x_j) of each row, float64 [N, K]."""
    with np.errstate(over="ignore"):  # a difference beyond float64 becomes -inf, and its share 0
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
