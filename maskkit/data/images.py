"""Reading images: which files count, whether they can be read, and one RGB picture of whatever a file holds.

Pillow decodes. Of the competition's photos simplejpeg and torchvision give the same pixels in three quarters of the
time, but a Pillow image must be made of them, so that decoding and preparing gain 4 to 6 %, once for each photo.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from maskkit.errors import DataError

__all__ = ["IMAGE_ENDINGS", "MAX_PIXELS", "Look", "check_headers", "find_bad_images", "find_images", "first_few"]
__all__ += ["in_threads", "is_image_name", "look_at", "open_image"]

Done = TypeVar("Done")

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp")
MAX_PIXELS = 89_478_485  # where Pillow begins to speak of a decompression bomb: a quarter of a gigabyte decoded

# What is found under those endings in practice. The rest of Pillow's formats stays shut: EPS would start Ghostscript.
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "GIF", "WEBP", "TIFF")
# What a whole file ends with, a few bytes from some cameras and editors aside.
_END_MARKS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}
_END_LENGTH = 64  # too short to reach back from a cut behind the headers to the end of the preview within them


class _SpecialFileError(OSError):
    """A pipe, a socket or a device, which might keep its reader waiting for ever."""


_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (FileNotFoundError, "there is no such file"),
    (IsADirectoryError, "it is a folder"),
    (PermissionError, "this user may not read it"),
    (_SpecialFileError, "it is a pipe, a socket or a device, no file"),
    (Image.DecompressionBombError, f"it has more than {MAX_PIXELS} pixels"),
    (Image.DecompressionBombWarning, f"it has more than {MAX_PIXELS} pixels"),
)
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_UPRIGHT = {  # by the orientation that a camera noted
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_NUM_THREADS = 8  # for folders on a network, whose files are slow to open; on a local disk one does as well
_AT_A_TIME = 32  # so that threads hand over few results
_NUM_SHOWN = 10


def first_few(items: Iterable[object], separator: str = ", ") -> str:
    """Return the first ten items as text, and how many more there are."""
    texts = [str(item) for item in items]
    more = len(texts) - _NUM_SHOWN
    return separator.join([*texts[:_NUM_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def is_image_name(name: str) -> bool:
    """Return whether a file of that name is taken for an image: by its ending, in any case, and never a hidden file."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_ENDINGS)


def find_images(folder: str | Path) -> list[str]:
    """Return the names of a folder's images, sorted.

    Raises:
        DataError: the folder cannot be listed.
    """
    try:
        # A link is kept wherever it leads: what is no image is reported when it is read, instead of lost in silence.
        with os.scandir(folder) as entries:
            named = [entry for entry in entries if is_image_name(entry.name)]
            return sorted(entry.name for entry in named if not entry.is_dir(follow_symlinks=False))
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be listed: {error.strerror}") from error


def open_image(path: str | Path) -> Image.Image:
    """Return the picture in a file as RGB, upright; of an animation its first frame, and without its transparency.

    16 bits a channel become 8. Floats are read as 0..1, or as 0..255 when one exceeds 1.

    Raises:
        DataError: the file is missing, no image, damaged, cut short, or has more than `MAX_PIXELS` pixels.
    """
    try:
        return _decode(path)
    except Exception as error:  # damaged bytes make Pillow's decoders raise nearly anything
        cause = _cause(path, error)
        raise DataError(
            f"the image {path} cannot be read: {cause}", hint="Replace the file, or take it out."
        ) from error


class Look(NamedTuple):
    """What a file holds: why it cannot be read, "" when it can; its width and height; its mode; a small grey picture.

    is_turned: whether the camera was not held upright.
    """

    cause: str
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    is_turned: bool = False
    small: Image.Image | None = None


def look_at(path: str, side: int) -> Look:
    """Decode a file as small as its format can, and return what it holds, with a picture of `side` x `side`."""
    try:
        with _opened(path) as image:
            size, mode = image.size, image.mode
            image.draft("L", (side, side))  # a JPEG is then decoded in eighths, by the same reading of all its bytes
            small = _to_rgb(image).convert("L").resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2)
            turn = _UPRIGHT.get(_orientation(image))
            return Look("", size, mode, turn is not None, small if turn is None else small.transpose(turn))
    except Exception as error:  # noqa: BLE001  damaged bytes make Pillow raise nearly anything, and all of it is reported
        return Look(_cause(path, error))


def find_bad_images(
    paths: Sequence[str], *, thorough: bool, on_progress: Callable[[int, int], None] | None = None
) -> dict[str, str]:
    """Return the files that `open_image` would refuse, in their order, each with the cause.

    thorough: decode every file; otherwise read the headers and the ends of JPEG and PNG files, which finds what is
        missing, empty, no image or cut short, and decode only what these leave in doubt.
    on_progress: is told (files read, files in all).
    """
    causes = in_threads(partial(_fault, thorough=thorough), paths, on_progress)
    return {path: cause for path, cause in zip(paths, causes, strict=True) if cause}


def in_threads(
    work: Callable[[str], Done], paths: Sequence[str], on_progress: Callable[[int, int], None] | None = None
) -> list[Done]:
    """Return what `work` gives for each file, done in some threads; `on_progress` is told (files done, in all)."""
    done: list[Done] = []
    pool = ThreadPoolExecutor(_NUM_THREADS)
    try:
        parts = [paths[start : start + _AT_A_TIME] for start in range(0, len(paths), _AT_A_TIME)]
        for part in pool.map(lambda some: [work(path) for path in some], parts):
            done += part
            if on_progress:
                on_progress(len(done), len(paths))
    finally:
        pool.shutdown(cancel_futures=True)  # whoever interrupts does not wait for the rest
    return done


def check_headers(paths: Sequence[str], *, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Read the header and the end of every file; `on_progress` is told (files read, files in all).

    Raises:
        DataError: some files cannot be read; it names how many, and ten of them with their causes.
    """
    bad = find_bad_images(paths, thorough=False, on_progress=on_progress)
    if bad:
        raise DataError(
            f"{len(bad)} of {len(paths)} images cannot be read:\n  "
            + first_few((f"{path}: {cause}" for path, cause in bad.items()), "\n  "),
            hint="Replace these files, or take them out.",
        )


def _fault(path: str, *, thorough: bool) -> str:
    """Return what is wrong with a file, or "" when nothing is."""
    try:
        if thorough or not _looks_whole(path):
            _decode(path)
    except Exception as error:  # noqa: BLE001  damaged bytes make Pillow raise nearly anything, and all of it is reported
        return _cause(path, error)
    return ""


def _looks_whole(path: str) -> bool:
    """Return whether a file has a header and ends as its format does; False also where a format has no such end."""
    with _opened(path) as image:
        mark = _END_MARKS.get(image.format or "")
        if mark is None or image.fp is None:
            return False
        length = image.fp.seek(0, os.SEEK_END)
        image.fp.seek(max(0, length - _END_LENGTH))
        return mark in image.fp.read()


def _decode(path: str | Path) -> Image.Image:
    with _opened(path) as image:
        picture = _to_rgb(image)
        turn = _UPRIGHT.get(_orientation(image))
        return picture if turn is None else picture.transpose(turn)


@contextmanager
def _opened(path: str | Path) -> Iterator[ImageFile.ImageFile]:
    """Yield the image, of which the header is read."""
    kind = os.stat(path).st_mode  # noqa: PTH116  a Path for each of many files takes longer than asking for its kind
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise _SpecialFileError
    # The file is opened here, since Pillow leaves one open whose first bytes cannot be read.
    with open(path, "rb") as file, Image.open(file, formats=_FORMATS) as image:  # noqa: PTH123  the same
        # Pillow only warns up to twice its limit, and that limit can be switched off; its filters belong to the user.
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        yield image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Every format that gives whole numbers beyond 8 bits gives 16 of them; 65535 / 255 = 257.
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        floats = np.nan_to_num(np.asarray(image))
        scale = 255 if floats.max() <= 1 else 1
        return Image.fromarray((floats * scale).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")  # straight to RGB, Pillow warns of what becomes of the transparency
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """Return how the camera was held, 1 where nothing says so; the image must be decoded."""
    # ImageOps.exif_transpose would also write the EXIF block anew, and that fails at odd entries of good photos.
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  a damaged EXIF block says nothing, and the picture itself is there
        return 1


def _cause(path: str | Path, error: Exception) -> str:
    """Return what is wrong with a file; an error that is the system's and not the file's is raised again."""
    if isinstance(error, MemoryError) or getattr(error, "errno", 0) in _SHORTAGES:
        raise error
    for kind, text in _CAUSES:
        if isinstance(error, kind):
            return text
    if isinstance(error, UnidentifiedImageError):
        with Path(path).open("rb") as file:
            beginning = file.read(12)
        return f"it holds no image; it begins with {beginning!r}" if beginning else "it is empty"
    if isinstance(error, OSError) and error.strerror:
        return f"the system says: {error.strerror}"
    return f"it is damaged ({error or type(error).__name__})"
