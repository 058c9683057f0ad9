"""A check of a folder of profiles before hours of training: all that is wrong or odd, not only the first fault."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from maskkit.data.duplicates import Hash, alike, perceptual_hash
from maskkit.data.images import Look, find_images, in_threads, look_at
from maskkit.data.profiles import (
    MASK_OF_SHOT,
    OLDEST,
    PROFILE_FORM,
    Profile,
    conflicts,
    find_profiles,
    profiles_within,
    shot_of,
)
from maskkit.errors import DataError
from maskkit.labels import GENDER, NUM_CLASSES, age_group, encode

__all__ = ["Checkup", "Finding", "Photo", "examine"]

_TINY = 64  # pixels of the shorter side; --resize makes 96 of them by itself
_SMALL_SIDE = 64  # of the picture that is hashed


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo that can be read, with its person and the class 0..17 that its names say."""

    path: str
    name: str
    person: str
    answer: int
    hash: Hash


@dataclass(frozen=True)
class Finding:
    """One kind of fault, where it is, and what to do; `stops` says that a training would refuse the folder."""

    kind: str
    stops: bool
    places: tuple[str, ...]
    advice: str


@dataclass(frozen=True)
class Checkup:
    """What is in a folder: people, photos that can be read, and findings, the faults that stop a training first."""

    num_people: int
    photos: tuple[Photo, ...]
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> list[int]:
        """The number of photos of each of the 18 classes."""
        counted = Counter(photo.answer for photo in self.photos)
        return [counted[answer] for answer in range(NUM_CLASSES)]

    @property
    def stops(self) -> bool:
        """Whether a training would refuse the folder."""
        return any(finding.stops for finding in self.findings)


def examine(root: Path, *, on_progress: Callable[[int, int], None] | None = None) -> Checkup:
    """Look at every folder and file of a folder of profiles, and at a train.csv beside it or in it.

    on_progress: is told (files read, files in all).

    Raises:
        DataError: the folder cannot be listed, or holds no profile.
    """
    profiles, strangers = find_profiles(root)
    if not profiles:
        better = profiles_within(root) or "train/images"
        hint = f"Check the folder that holds the profiles: maskkit check {better}"
        raise DataError(f"there is no profile in {root}", hint=hint)
    names = {profile: find_images(profile.path) for profile in profiles}
    files = [(profile, name) for profile in profiles for name in names[profile]]
    paths = [f"{profile.path}{os.sep}{name}" for profile, name in files]
    looks = in_threads(partial(look_at, side=_SMALL_SIDE), paths, on_progress)
    photos = tuple(_photos(files, looks))
    shown = {f"{profile.name}/{name}": look for (profile, name), look in zip(files, looks, strict=True)}
    findings = [
        *_stopping_findings(profiles, strangers, names, shown),
        *_odd_findings(names, shown, photos),
        *_table_findings(root, profiles),
    ]
    there = [finding for finding in findings if finding.places]
    return Checkup(len({one.person for one in profiles}), photos, tuple(sorted(there, key=lambda one: not one.stops)))


def _stopping_findings(
    profiles: Sequence[Profile],
    strangers: Sequence[str],
    names: Mapping[Profile, Sequence[str]],
    shown: Mapping[str, Look],
) -> Iterator[Finding]:
    form = f"A profile is named {PROFILE_FORM}."
    nameless = [name for name in shown if shot_of(name.partition("/")[2]) not in MASK_OF_SHOT]
    unread = [f"{name}: {look.cause}" for name, look in shown.items() if look.cause]
    ages = [profile.name for profile in profiles if not 1 <= profile.age <= OLDEST]
    empty = [profile.name for profile in profiles if not names[profile]]
    yield _finding("folders that are no profiles", strangers, form, stops=True)
    yield _finding(f"ages outside 1..{OLDEST}", ages, form, stops=True)
    yield _finding("ids with two genders or ages", conflicts(profiles), "Give one of them another id.", stops=True)
    yield _finding("profiles without a photo", empty, "Fill these folders, or take them out.", stops=True)
    yield _finding("photos whose name says no mask", nameless, f"Valid are {', '.join(MASK_OF_SHOT)}.", stops=True)
    advice = "Replace them, take them out, or train with --on-bad-image=skip."
    yield _finding("photos that cannot be read", unread, advice, stops=True)


def _odd_findings(
    names: Mapping[Profile, Sequence[str]], shown: Mapping[str, Look], photos: Sequence[Photo]
) -> Iterator[Finding]:
    tiny = [f"{name}: {look.size[0]}x{look.size[1]}" for name, look in shown.items() if 0 < min(look.size) < _TINY]
    turned = [name for name, look in shown.items() if look.is_turned]
    modes = [f"{name}: {look.mode}" for name, look in shown.items() if look.mode not in ("", "RGB")]
    yield _finding("people with shots missing", _missing(names), "Were they lost on the way?")
    yield _finding("shots that are there twice", _doubled(names), "Take one of them out.")
    yield _finding("files that are passed over", _passed_over(names), "By their names they are no photos.")
    yield _finding("photos alike under two ids", _alike(photos), "A person under two ids may be trained on and scored.")
    yield _finding(f"photos smaller than {_TINY} pixels", tiny, "Take them out if they show nothing.")
    yield _finding("photos that the camera turned", turned, "maskkit turns them upright; other programs may not.")
    yield _finding("photos not in RGB", modes, "maskkit converts them; see that their colours are right.")


def _finding(kind: str, places: Sequence[str], advice: str, *, stops: bool = False) -> Finding:
    return Finding(kind, stops, tuple(places), advice)


def _photos(files: Sequence[tuple[Profile, str]], looks: Sequence[Look]) -> Iterator[Photo]:
    for (profile, name), look in zip(files, looks, strict=True):
        mask = MASK_OF_SHOT.get(shot_of(name))
        if look.small is not None and mask is not None and 1 <= profile.age <= OLDEST:
            answer = encode(mask, profile.gender, age_group(profile.age))
            path = f"{profile.path}{os.sep}{name}"
            yield Photo(path, f"{profile.name}/{name}", profile.person, answer, perceptual_hash(look.small))


def _missing(names: Mapping[Profile, Sequence[str]]) -> list[str]:
    found = []
    for profile, photos in names.items():
        lacking = [shot for shot in MASK_OF_SHOT if shot not in set(map(shot_of, photos))]
        if photos and lacking:
            found.append(f"{profile.name}: {', '.join(lacking)}")
    return found


def _doubled(names: Mapping[Profile, Sequence[str]]) -> list[str]:
    found = []
    for profile, photos in names.items():
        for shot, count in Counter(map(shot_of, photos)).items():
            if count > 1 and shot in MASK_OF_SHOT:
                same = [name for name in photos if shot_of(name) == shot]
                found.append(f"{profile.name}: {' and '.join(same)}")
    return found


def _passed_over(names: Mapping[Profile, Sequence[str]]) -> list[str]:
    found = []
    for profile, photos in names.items():
        with os.scandir(profile.path) as entries:
            others = {entry.name for entry in entries if not entry.name.startswith(".")}.difference(photos)
        found += [f"{profile.name}/{name}" for name in sorted(others)]
    return found


def _alike(photos: Sequence[Photo]) -> list[str]:
    """Return a sentence for each two people of whom photos look alike, with the first two of these."""
    found = []
    for pairs in alike([photo.hash for photo in photos], [photo.person for photo in photos]).values():
        one, other = pairs[0]
        more = f", and {len(pairs) - 1} more" if len(pairs) > 1 else ""
        found.append(f"{photos[one].name} and {photos[other].name}{more}")
    return found


def _table_findings(root: Path, profiles: Sequence[Profile]) -> Iterator[Finding]:
    """Yield what a train.csv says otherwise than the folders, of which a training believes the folders."""
    table = next((place for place in (root.parent / "train.csv", root / "train.csv") if place.is_file()), None)
    if table is None:
        return
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            found = csv.DictReader(file, restval="")
            rows = {row["path"]: (row["id"], row["gender"], row["age"]) for row in found}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        cause = f"there is no column {error}" if isinstance(error, KeyError) else str(error)
        yield _finding(
            "a train.csv that cannot be read", [f"{table}: {cause}"], "Its columns: id,gender,race,age,path."
        )
        return
    folders = {one.name: (one.person, GENDER.classes[one.gender], str(one.age)) for one in profiles}
    advice = "A training believes the folders."
    yield _finding("rows of train.csv without a folder", [name for name in rows if name not in folders], advice)
    yield _finding("folders without a row of train.csv", [name for name in folders if name not in rows], advice)
    differ = [f"{name}: the row says {', '.join(row)}" for name, row in rows.items() if folders.get(name, row) != row]
    yield _finding("rows of train.csv that differ from their folder", differ, advice)
