"""Which images were found whole before, so that the next run need not read the headers of all of them again.

maskkit/checked/<fingerprint>   empty; its time tells when a run last used it
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress

import PIL

from maskkit.data.fingerprint import fingerprint
from maskkit.data.images import check_headers
from maskkit.errors import DataError
from maskkit.files import user_cache

__all__ = ["check_once"]

_MOST_MARKS = 100


def check_once(paths: Sequence[str], *, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Do what `check_headers` does, unless the same files passed it before and have the same sizes and times.

    Raises:
        DataError: some files cannot be read.
    """
    try:
        mark = user_cache() / "checked" / fingerprint(paths, PIL.__version__)
        is_known = mark.exists()
    except (DataError, OSError, RuntimeError):  # a file is gone, or this user has no home
        check_headers(paths, on_progress=on_progress)
        return
    if not is_known:
        check_headers(paths, on_progress=on_progress)
    with suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        for old in sorted(mark.parent.iterdir(), key=os.path.getmtime)[:-_MOST_MARKS]:
            old.unlink(missing_ok=True)
