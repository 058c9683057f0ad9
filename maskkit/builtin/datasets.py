"""The data sets in the box: folders of profiles, split by person or by image, and folders to predict."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from maskkit import Samples, find_images
from maskkit.errors import DataError, UsageError
from maskkit.labels import GENDER

__all__ = ["mask_base", "mask_split_by_profile", "test_dataset"]

_PROFILE = re.compile(r"(?P<person>.+?)_(?P<gender>male|female)_(?P<race>.+)_(?P<age>[0-9]+)", re.IGNORECASE)
_PROFILE_FORM = "<id>_<male|female>_<race>_<age>, such as 000001_female_Asian_45"
_OLDEST = 120
_MASKS = {"mask1": 0, "mask2": 0, "mask3": 0, "mask4": 0, "mask5": 0, "incorrect_mask": 1, "normal": 2}
_LEAK = (
    "MaskBaseDataset splits by image: photos of one person fall on both sides, so the validation score is too good. "
    "MaskSplitByProfileDataset splits by person."
)
_NUM_SHOWN = 10


def mask_split_by_profile(data_dir: Path | None) -> Samples:
    """Read a folder of profiles whose images a split keeps together.

    Raises:
        DataError: the folder is missing or empty, or a profile or an image in it is not named as it must be.
        UsageError: no folder is given.
    """
    root = _existing_folder(data_dir)
    return Samples(_read_profiles(root), unit="person", eval_dir=_eval_beside(root))


def mask_base(data_dir: Path | None) -> Samples:
    """Read a folder of profiles that a split takes apart, image by image, as the original project did.

    Raises:
        DataError: the folder is missing or empty, or a profile or an image in it is not named as it must be.
        UsageError: no folder is given.
    """
    root = _existing_folder(data_dir)
    return Samples(_read_profiles(root), unit="image", eval_dir=_eval_beside(root), notice=_LEAK)


def test_dataset(data_dir: Path | None, *, info: Path | None = None, images: Path | None = None) -> Samples:
    """Read unlabelled images in the order of a CSV file, or sorted by name where there is none.

    data_dir: an eval folder with `info.csv` and `images/`, or a plain folder of images.
    info: a CSV file with the column ImageID; by default the folder's info.csv, when it has one.
    images: the folder that the ImageIDs are in; by default `images/` beside the CSV file or in `data_dir`, or `data_dir`.

    Raises:
        DataError: there are no images, or ImageIDs that are empty, repeated or lack their file.
        UsageError: no folder is given.
    """
    root = _existing_folder(data_dir)
    table = _absolute(info) if info else root / "info.csv"
    candidates = [_absolute(images)] if images else [table.parent / "images", root / "images"]
    folder = next((place for place in candidates if images or place.is_dir()), root)
    found = find_images(folder)
    if info or table.exists():
        names = _read_image_ids(table)
        _check_files(names, folder, found, table)
    else:
        names = found
    if not names:
        raise DataError(
            f"there is no image in {folder}", hint="Give --data_dir=FOLDER with images, or with info.csv and images/."
        )
    return Samples(pd.DataFrame({"path": [str(folder / name) for name in names], "sample": names}), unit="image")


test_dataset.__test__ = False  # type: ignore[attr-defined]  # pytest would take the name for a test


@dataclass(frozen=True)
class _Profile:
    """One folder of images of one person."""

    path: str
    name: str
    person: str
    gender: int
    age: int


def _absolute(path: Path) -> Path:
    return Path.cwd() / path.expanduser()


def _existing_folder(data_dir: Path | None) -> Path:
    if data_dir is None:
        raise UsageError("no folder of images is given", hint="Give it with --data_dir=FOLDER.")
    root = _absolute(data_dir)
    if not root.is_dir():
        wrong = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(f"the folder of images {data_dir} {wrong}", hint="Give another with --data_dir=FOLDER.")
    return root


def _eval_beside(root: Path) -> Path | None:
    """Return the eval folder beside the train folder, for .../train/images that is .../eval."""
    folder = root.parent.parent / "eval"
    return folder if (folder / "info.csv").is_file() or (folder / "images").is_dir() else None


def _subfolders(root: Path) -> list[tuple[str, str]]:
    """Return (name, path) of the folders that are not hidden, sorted by name; links to folders count."""
    with os.scandir(root) as entries:
        return sorted((one.name, one.path) for one in entries if not one.name.startswith(".") and one.is_dir())


def _read_profiles(root: Path) -> pd.DataFrame:
    """Return one row an image, sorted by (folder, file)."""
    profiles = _find_profiles(root)
    _check_people(profiles)
    images = [(profile, name) for profile in profiles for name in _find_photos(profile)]
    stems = [name.rpartition(".")[0].casefold() for _, name in images]
    rows = [
        (f"{profile.path}{os.sep}{name}", f"{profile.name}/{name}", profile.person, mask, profile.gender, profile.age)
        for (profile, name), mask in zip(images, masks, strict=True)
    ]
    return pd.DataFrame(rows, columns=["path", "sample", "person", "mask", "gender", "age"])
