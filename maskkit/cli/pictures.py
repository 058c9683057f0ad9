"""Pictures that a flag asks for: the place is checked before the work, and a failure names the flag."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskkit.errors import UsageError

__all__ = ["check_picture", "naming_picture"]


def check_picture(flag: str, path: Path | None) -> None:
    """Refuse a file that is no .png.

    Raises:
        UsageError: it is none.
    """
    if path and path.suffix.lower() != ".png":
        raise UsageError(f"--{flag}={path} is no .png", hint=f"Type --{flag}=FILE.png.")


@contextmanager
def naming_picture(flag: str, path: Path) -> Iterator[None]:
    """Tell of what fails inside as of this picture.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"--{flag}={path} cannot be written: {error.strerror or error}", hint="Name a file in a folder of yours."
        ) from error
