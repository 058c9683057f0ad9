"""The rows of a small table that somebody wrote, for a flag that names its file."""

import csv
from pathlib import Path

from maskkit.errors import DataError

__all__ = ["Row", "read_rows"]

Row = dict[str, str]


def read_rows(path: Path, *, flag: str, form: str) -> tuple[list[str], list[tuple[int, Row]]]:
    """Return the names of the columns, and each row by them, "" where it is short, with the number of its line.

    flag: named by errors. form: what such a file looks like, as errors tell it.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            return list(reader.fieldnames or []), [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError:
        raise DataError(f"{flag}: {path} cannot be read: it is not text in UTF-8", hint=form) from None
    except (OSError, csv.Error) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{flag}: {path} cannot be read: {cause}", hint=form) from None
