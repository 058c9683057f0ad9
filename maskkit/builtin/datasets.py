"""The data sets in the box: folders of profiles, split by person or by image, and folders to predict."""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from maskkit import (
    MASK_OF_SHOT,
    OLDEST,
    PROFILE_FORM,
    Profile,
    Samples,
    conflicts,
    find_images,
    find_profiles,
    profiles_within,
    shot_of,
)
from maskkit.errors import DataError, UsageError

__all__ = ["mask_base", "mask_split_by_profile", "test_dataset"]

_LEAK = (
    "MaskBaseDataset splits by image: photos of one person fall on both sides, so the validation score is too good. "
    "MaskSplitByProfileDataset splits by person."
)
_NUM_SHOWN = 10
_PROFILES_AT_A_TIME = 1000  # whose texts a table holds in less memory than Python does
_INFO_FORM = "It must be a CSV file in UTF-8 with one column ImageID."


def mask_split_by_profile(data_dir: Path | None) -> Samples:
    """Read a folder of profiles; a split keeps the photos of a person together.

    Raises:
        DataError: the folder is missing or empty, or a profile or a photo in it is not named as it must be.
        UsageError: no folder is given.
    """
    root = _existing_folder(data_dir)
    return Samples(_read_photos(root), unit="person", eval_dir=_eval_beside(root))


def mask_base(data_dir: Path | None) -> Samples:
    """Read a folder of profiles; a split tears the photos of a person apart, as that of the original project did.

    Raises:
        DataError: the folder is missing or empty, or a profile or a photo in it is not named as it must be.
        UsageError: no folder is given.
    """
    root = _existing_folder(data_dir)
    return Samples(_read_photos(root), unit="image", eval_dir=_eval_beside(root), notice=_LEAK)


def test_dataset(  # it tests nothing, whatever its name makes of it
    data_dir: Path | None,
    *,
    info: Path | None = None,  # noqa: PT028
    images: Path | None = None,  # noqa: PT028
) -> Samples:
    """Read unlabelled images in the order of a CSV file, or sorted by name where there is none.

    data_dir: an eval folder with `info.csv` and `images/`, or a plain folder of images.
    info: a CSV file with a column ImageID; by default the folder's own info.csv, when it has one.
    images: the folder of the images; by default `images/` beside the CSV file or in `data_dir`, or `data_dir` itself.

    Raises:
        DataError: there are no images, or ImageIDs are empty, repeated or without a file.
        UsageError: no folder is given.
    """
    root = _existing_folder(data_dir)
    table = _absolute(info) if info else root / "info.csv"
    usual = next((place for place in (table.parent / "images", root / "images") if place.is_dir()), root)
    folder = _absolute(images) if images else usual
    names = found = find_images(folder)
    if info or table.exists():
        names = _read_image_ids(table)
        _check_files(names, folder, found, table)
    if not names:
        raise DataError(f"there is no image in {folder}", hint=_where_else(folder))
    return Samples(pd.DataFrame({"path": [str(folder / name) for name in names], "sample": names}), unit="image")


def _where_else(folder: Path) -> str:
    """Return a hint for a folder without images, in words that suit each of the flags that may have named it."""
    profiles, inner = find_profiles(folder)
    advice = "Give a folder that itself holds images, or one with an info.csv and images/."
    if profiles:
        return f"It holds profiles to train on. {advice}"
    return f"It holds folders: {', '.join(inner[:_NUM_SHOWN])}. {advice}" if inner else advice


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  Path.resolve would replace links, whose names people gave


def _existing_folder(data_dir: Path | None) -> Path:
    if data_dir is None:
        raise UsageError("no folder of images is given", hint="Give it with --data_dir=FOLDER.")
    root = _absolute(data_dir)
    if not root.is_dir():
        wrong = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataError(f"the folder of images {data_dir} {wrong}", hint="Give a folder that is there.")
    return root


def _eval_beside(root: Path) -> Path | None:
    """Return the eval folder beside the train folder: for .../train/images it is .../eval."""
    folder = root.parent.parent / "eval"
    return folder if (folder / "info.csv").is_file() or (folder / "images").is_dir() else None


def _read_photos(root: Path) -> pd.DataFrame:
    """Return the labelled table of the photos of all profiles, sorted by (folder, file)."""
    profiles = _read_profiles(root)
    tables, empty, unknown = [], [], []
    for start in range(0, len(profiles), _PROFILES_AT_A_TIME):
        rows: list[tuple[Any, ...]] = []
        for profile in profiles[start : start + _PROFILES_AT_A_TIME]:
            names = find_images(profile.path)
            if not names:
                empty.append(profile.name)
            unknown += [f"{profile.name}/{name}" for name in names if shot_of(name) not in MASK_OF_SHOT]
            rows += [_row(profile, name) for name in names]
        tables.append(pd.DataFrame(rows, columns=["path", "sample", "person", "mask", "gender", "age"]))
    if empty:
        raise _faults("profiles hold no image", empty, hint="Fill these folders, or take them out.")
    if unknown:
        raise _faults(
            "images have a name that says no mask", unknown, hint="Valid are mask1..mask5, incorrect_mask and normal."
        )
    return pd.concat(tables, ignore_index=True)


def _row(profile: Profile, name: str) -> tuple[Any, ...]:
    """Return the row of a photo in the table; -1 stands for a mask that its name does not say."""
    mask = MASK_OF_SHOT.get(shot_of(name), -1)
    path = f"{profile.path}{os.sep}{name}"
    return path, f"{profile.name}/{name}", profile.person, mask, profile.gender, profile.age


def _read_profiles(root: Path) -> list[Profile]:
    profiles, strangers = find_profiles(root)
    form = f"A profile is a folder named {PROFILE_FORM}."
    if strangers:
        raise _faults(f"folders in {root} are no profiles", strangers, hint=_better_folder(root) or form)
    if not profiles:
        raise DataError(f"there is no profile in {root}", hint=_better_folder(root) or form)
    _check_profiles(profiles)
    return profiles


def _better_folder(root: Path) -> str:
    """Return a hint that names the folder of profiles near `root`, or "" when there is none."""
    if Profile.parse(root.name) is not None:
        return f"This is one profile; give the folder that holds them all: --data_dir={root.parent}"
    if within := profiles_within(root):
        return f"The profiles are one folder further in: --data_dir={within}"
    return ""


def _check_profiles(profiles: Sequence[Profile]) -> None:
    ages = [profile.name for profile in profiles if not 1 <= profile.age <= OLDEST]
    if ages:
        raise _faults(f"profiles have an age outside 1..{OLDEST}", ages, hint=f"A profile is named {PROFILE_FORM}.")
    torn = conflicts(profiles)
    if torn:
        raise _faults("ids have two genders or ages", torn, hint="Give one of them an id of its own, such as 000001-1.")


def _read_image_ids(table: Path) -> list[str]:
    """Return the column ImageID of a CSV file, in its order."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or []
    except UnicodeDecodeError as error:
        raise DataError(f"{table} cannot be read: it is not text in UTF-8", hint=_INFO_FORM) from error
    except (OSError, csv.Error) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{table} cannot be read: {cause}", hint=_INFO_FORM) from error
    if "ImageID" not in columns:
        raise DataError(f"{table} has no column ImageID; it has {', '.join(columns) or 'nothing'}", hint=_INFO_FORM)
    if columns.count("ImageID") > 1:
        raise DataError(f"{table} has {columns.count('ImageID')} columns ImageID", hint=_INFO_FORM)
    if not rows:
        raise DataError(f"{table} names no image: it has no rows", hint=_INFO_FORM)
    return [row["ImageID"] or "" for row in rows]


def _check_files(names: Sequence[str], folder: Path, found: Iterable[str], table: Path) -> None:
    counts = Counter(names)
    if counts[""]:
        raise DataError(f"{counts['']} rows of {table} have an empty ImageID")
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise _faults(f"ImageIDs stand in {table} more than once", repeated, hint="Each image has one row.")
    present = set(found)
    # os.path.isfile, since Path.is_file raises at a name that is too long.
    missing = [name for name in names if name not in present and not os.path.isfile(folder / name)]  # noqa: PTH113
    if missing:
        raise _faults(
            f"ImageIDs of {table} have no file in {folder}", missing, hint="Is this the folder of its images?"
        )


def _faults(what: str, items: Sequence[str], *, hint: str) -> DataError:
    """Return one error for all faults of a kind: how many, and the first ten."""
    more = len(items) - _NUM_SHOWN
    lines = [*items[:_NUM_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    return DataError(f"{len(items)} {what}:\n  " + "\n  ".join(lines), hint=hint)
