"""The layout of the competition: a folder for each person, whose name says who it is, with a photo for each shot."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskkit.errors import DataError
from maskkit.labels import GENDER

__all__ = ["MASK_OF_SHOT", "OLDEST", "PROFILE_FORM", "Profile", "conflicts", "find_profiles", "profiles_within"]
__all__ += ["shot_of"]

MASK_OF_SHOT = {"mask1": 0, "mask2": 0, "mask3": 0, "mask4": 0, "mask5": 0, "incorrect_mask": 1, "normal": 2}
"""The photos of a person, by their names without endings, and how each wears the mask."""

OLDEST = 120
PROFILE_FORM = "<id>_<male|female>_<race>_<age>, such as 000001_female_Asian_45"

_PROFILE = re.compile(r"(?P<person>.+?)_(?P<gender>male|female)_(?P<race>.+)_(?P<age>[0-9]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Profile:
    """A folder of photos of one person; `gender` is 0 male or 1 female, `age` in whole years as the name says."""

    path: str
    name: str
    person: str
    gender: int
    age: int

    @classmethod
    def parse(cls, name: str, path: str = "") -> "Profile | None":
        """Return what the name of a folder says, or None where it is no profile."""
        found = _PROFILE.fullmatch(name)
        if found is None:
            return None
        gender = GENDER.classes.index(found["gender"].lower())
        return cls(path, name, found["person"], gender, int(found["age"]))


def shot_of(name: str) -> str:
    """Return which shot a file of that name would be: the name in small letters, without its ending."""
    return name.rpartition(".")[0].lower()


def find_profiles(root: str | Path) -> tuple[list[Profile], list[str]]:
    """Return the profiles in a folder, and the names of other folders there, each sorted by name; none is hidden.

    Raises:
        DataError: the folder cannot be listed.
    """
    profiles, strangers = [], []
    for name, path in _subfolders(root):
        profile = Profile.parse(name, path)
        if profile is None:
            strangers.append(name)
        else:
            profiles.append(profile)
    return profiles, strangers


def profiles_within(root: Path) -> Path | None:
    """Return the folder further in that holds profiles, where people name one above it; None where there is none."""
    for folder in (root / "images", root / "train" / "images"):
        if folder.is_dir() and find_profiles(folder)[0]:
            return folder
    return None


def conflicts(profiles: Sequence[Profile]) -> list[str]:
    """Return the names, joined by "and", of the profiles of each id that has two genders or ages."""
    of_person = defaultdict(list)
    for profile in profiles:
        of_person[profile.person].append(profile)
    return [
        " and ".join(profile.name for profile in same)
        for same in of_person.values()
        if len({(profile.gender, profile.age) for profile in same}) > 1
    ]


def _subfolders(root: str | Path) -> list[tuple[str, str]]:
    """Return (name, path) of the folders that are not hidden, sorted by name; links to folders count."""
    try:
        with os.scandir(root) as entries:
            return sorted((one.name, one.path) for one in entries if not one.name.startswith(".") and one.is_dir())
    except OSError as error:
        raise DataError(f"the folder {root} cannot be listed: {error.strerror}") from error
