"""What a list of files is known by: their paths, sizes and times, so that none has to be read."""

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

from maskkit.errors import DataError

__all__ = ["fingerprint"]


def fingerprint(paths: Sequence[str], facts: Any) -> str:
    """Return 32 hexadecimal digits of absolute paths, in their order, and of facts that JSON can hold.

    Raises:
        DataError: a file is gone.
    """
    found = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for path in paths:
        try:
            about = os.stat(path)  # noqa: PTH116  a Path for each of many files takes longer than asking
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        found.update(f"{path}\0{about.st_size}\0{about.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return found.hexdigest()[:32]
