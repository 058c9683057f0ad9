"""`maskkit check` finds what is wrong in a folder of photos, all of it and nothing else."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REAL_FACES, Runner, write_faces
from forked import Outcome
from PIL import ExifTags, Image
from test_bad_images import BAD, ODD

from maskkit.data.doctor import examine
from maskkit.data.duplicates import alike, perceptual_hash
from maskkit.data.images import find_bad_images, look_at
from maskkit.labels import CLASS_NAMES

Faults = dict[str, list[str]]


def plant_faults(root: Path) -> Faults:
    """Put twenty-six faults of thirteen kinds into a folder of profiles; return patterns of where each is, by kind."""
    people = sorted(path for path in root.iterdir() if path.is_dir())
    return plant_folders(root, people[:6]) | plant_files(people[6:20]) | plant_pictures(people[20:40])


def plant_folders(root: Path, people: list[Path]) -> Faults:
    strangers = ["000999_unknown_Asian_30", "backup"]
    empty = ["900010_male_Asian_30", "900011_male_Asian_30"]
    for name in (*strangers, *empty):
        (root / name).mkdir()
    wrong_ages = ["900001_male_Asian_0", "900002_female_Asian_130"]
    torn = ["900003_female_Asian_30", "900003_male_Asian_30", "900004_male_Asian_30", "900004_male_Asian_31"]
    for person, name in zip(people, [*wrong_ages, *torn], strict=True):
        copy_turned(person, root / name)
    return {
        "folders that are no profiles": strangers,
        "ages outside 1..120": wrong_ages,
        "ids with two genders or ages": [f"{torn[0]} and {torn[1]}", f"{torn[2]} and {torn[3]}"],
        "profiles without a photo": empty,
    }


def plant_files(people: list[Path]) -> Faults:
    for number, path in enumerate((people[0] / "mask6.jpg", people[1] / "selfie.jpg")):
        draw(path, seed=number)
    (people[2] / "normal.jpg").write_bytes(b"")
    content = (people[3] / "mask1.jpg").read_bytes()
    (people[3] / "mask1.jpg").write_bytes(content[: len(content) // 2])
    (people[4] / "mask2.jpg").unlink()
    (people[5] / "normal.jpg").unlink()
    for person in people[6:8]:
        with Image.open(person / "mask3.jpg") as image:
            image.save(person / "mask3.png")
    for person in people[8:10]:
        (person / "notes.txt").write_text("seen")
    for person, other in (people[10:12], people[12:14]):
        with Image.open(person / "mask4.jpg") as image:  # another size and quality
            image.resize((300, 400)).save(other / "mask4.jpg", quality=60)
    names = [person.name for person in people]
    return {
        "photos whose name says no mask": [f"{names[0]}/mask6.jpg", f"{names[1]}/selfie.jpg"],
        "photos that cannot be read": [f"{names[2]}/normal.jpg: it is empty", f"{names[3]}/mask1.jpg: it is damaged"],
        "people with shots missing": [f"{names[4]}: mask2", f"{names[5]}: normal"],
        "shots that are there twice": [f"{name}: mask3.jpg and mask3.png" for name in names[6:8]],
        "files that are passed over": [f"{name}/notes.txt" for name in names[8:10]],
        "photos alike under two ids": [f"{names[n]}/mask.* and {names[n + 1]}/mask4.jpg" for n in (10, 12)],
    }


def plant_pictures(people: list[Path]) -> Faults:
    for number in (0, 1):
        draw(people[number] / "mask5.jpg", seed=number, size=(48, 63))
    for person in people[2:4]:
        with Image.open(person / "mask1.jpg") as image:
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = 6
            image.save(person / "mask1.jpg", exif=exif)
    for person, mode in zip(people[4:6], ("L", "CMYK"), strict=True):
        with Image.open(person / "mask1.jpg") as image:
            image.convert(mode).save(person / "mask1.jpg")
    names = [person.name for person in people]
    return {
        "photos smaller than 64 pixels": [f"{name}/mask5.jpg: 48x63" for name in names[0:2]],
        "photos that the camera turned": [f"{name}/mask1.jpg" for name in names[2:4]],
        "photos not in RGB": [f"{names[4]}/mask1.jpg: L", f"{names[5]}/mask1.jpg: CMYK"],
    }


def copy_turned(source: Path, target: Path) -> None:
    """Copy the photos of a person, upside down, so that they are no likeness of it."""
    target.mkdir()
    for path in source.iterdir():
        with Image.open(path) as image:
            image.transpose(Image.Transpose.ROTATE_180).save(target / path.name)


def draw(path: Path, seed: int, size: tuple[int, int] = (300, 400)) -> None:
    Image.effect_noise((8, 8), 100 + seed).resize(size).convert("RGB").save(path)


@pytest.mark.slow
@pytest.mark.skipif(not REAL_FACES.is_dir(), reason="there are no real faces")
def test_on_real_faces_all_planted_faults_are_found_and_nothing_else(maskkit: Runner, tmp_path: Path) -> None:
    shutil.copytree(REAL_FACES / "train" / "images", tmp_path / "images", copy_function=shutil.copyfile)
    whole = maskkit("check", "images", "--format=json", cwd=tmp_path)
    assert (whole.code, json.loads(whole.out)["findings"]) == (0, [])
    planted = plant_faults(tmp_path / "images")
    outcome = maskkit("check", "images", "--format=json", "--sheet=sheet.png", cwd=tmp_path)
    told = json.loads(outcome.out)
    found = {finding["kind"]: finding["places"] for finding in told["findings"]}
    assert found.keys() == planted.keys()
    for kind, places in planted.items():
        assert len(found[kind]) == len(places), kind
        for place, expected in zip(found[kind], places, strict=True):
            assert re.match(expected, place)
    assert (outcome.code, told["stops"]) == (1, True)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert (sheet.format, sheet.size) == ("PNG", (768, 18 * 148))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of nine people, whose photos are told apart."""
    root = tmp_path / "train" / "images"
    write_faces(root, 9)
    for number, path in enumerate(sorted(root.glob("*/*"))):
        draw(path, seed=number)
    return root


def check(maskkit: Runner, images: Path, *flags: str) -> Outcome:
    return maskkit("check", images, *flags)


def findings(root: Path) -> Faults:
    return {finding.kind: list(finding.places) for finding in examine(root).findings}


def test_what_stops_a_training_exits_with_1_and_a_training_is_stopped(maskkit: Runner, images: Path) -> None:
    good = check(maskkit, images)
    assert (good.code, good.err) == (0, "")
    assert "9 people, 63 photos that can be read" in good.out
    first = min(images.iterdir())
    spoilers: list[Callable[[], object]] = [
        (images / "more").mkdir,
        (images / "000100_male_Asian_300").mkdir,
        lambda: (first / "other.png").write_bytes((first / "normal.png").read_bytes()),
        lambda: (first / "normal.png").write_bytes(b"x"),
    ]
    kept = images.parent / "kept"
    shutil.copytree(images, kept)
    for spoil in spoilers:
        spoil()
        outcome = check(maskkit, images)
        assert outcome.code == 1
        assert "maskkit train would refuse this folder." in outcome.out
        trained = maskkit("train", f"--data_dir={images}", "--epochs=1", "--resize=32", "--model=BaseModel")
        assert trained.code == 1, trained
        shutil.rmtree(images)
        shutil.copytree(kept, images)


def test_what_is_odd_exits_with_0(maskkit: Runner, images: Path) -> None:
    first, second, *_ = sorted(images.iterdir())
    (first / "mask1.png").unlink()
    for number in range(12):
        (second / f"{number}.txt").touch()
    outcome = check(maskkit, images)
    assert outcome.code == 0
    assert f"1 people with shots missing. Were they lost on the way?\n         {first.name}: mask1\n" in outcome.out
    assert "12 files that are passed over." in outcome.out
    assert "         and 2 more; --format=json names them all\n" in outcome.out
    assert "maskkit train would take this folder as it is." in outcome.out


def test_train_csv_is_compared_with_the_folders(images: Path) -> None:
    names = sorted(path.name for path in images.iterdir())
    rows = [f"{name.replace('_', ',')},{name}" for name in names]
    table = images.parent / "train.csv"
    table.write_text("\n".join(["id,gender,race,age,path", *rows]))
    assert findings(images) == {}
    rows[2] = rows[2].replace(",Asian,", ",Other,")  # which nobody uses
    rows[3] = rows[3].replace("male", "female", 1) if ",male" in rows[3] else rows[3].replace("female", "male", 1)
    table.write_text("\n".join(["id,gender,race,age,path", *rows[1:], "7,male,Asian,30,nowhere"]))
    found = findings(images)
    assert found["rows of train.csv without a folder"] == ["nowhere"]
    assert found["folders without a row of train.csv"] == [names[0]]
    (differing,) = found["rows of train.csv that differ from their folder"]
    assert differing.startswith(f"{names[3]}: the row says ")
    table.write_text(f"id,gender,race,age,path\n1\n\n7,male,Asian,30,{names[0]},more\n")  # too few cells, and too many
    found = findings(images)
    assert found["rows of train.csv without a folder"] == [""]
    assert len(found["folders without a row of train.csv"]) == len(names) - 1
    table.write_text("id,gender\n1,male\n")
    ((kind, places),) = findings(images).items()
    assert kind == "a train.csv that cannot be read"
    assert "there is no column 'path'" in places[0]


def test_a_folder_without_profiles_is_refused_with_the_way_on(maskkit: Runner, images: Path) -> None:
    outcome = check(maskkit, images.parent)
    assert outcome.code == 1
    assert f"there is no profile in {images.parent}" in outcome.err
    assert f"maskkit check {images}" in outcome.err
    assert check(maskkit, images / "nowhere").code == 1
    wrong = check(maskkit, images, "--sheet=sheet.jpg")
    assert (wrong.code, wrong.out) == (2, "")
    assert "--sheet=sheet.jpg is no .png" in wrong.err


def test_the_counts_are_those_of_the_classes(images: Path) -> None:
    found = examine(images)
    assert sum(found.counts) == 63
    by_name = Counter(CLASS_NAMES[photo.answer].split()[0] for photo in found.photos)
    assert sorted(by_name.values()) == [9, 9, 45]


def test_a_short_look_sees_the_causes_that_a_thorough_one_sees(tmp_path: Path) -> None:
    paths = []
    for name, (make, *_) in (BAD | ODD).items():
        path = tmp_path / name
        make(path)
        paths.append(str(path))
    causes = {path: look_at(path, 64).cause for path in paths}
    assert {path for path, cause in causes.items() if cause} == find_bad_images(paths, thorough=True).keys()


def test_photos_are_alike_in_other_sizes_and_files_but_only_of_other_people(images: Path, tmp_path: Path) -> None:
    photos = sorted(images.glob("*/normal.png"))
    with Image.open(photos[0]) as image:
        image.resize((150, 200)).save(tmp_path / "small.png")
    hashes = []
    for path in (*photos, tmp_path / "small.png"):
        with Image.open(path) as image:
            hashes.append(perceptual_hash(image.convert("L")))
    people = [path.parent.name for path in photos]
    assert alike(hashes, [*people, "stranger"]) == {(people[0], "stranger"): [(0, len(photos))]}
    assert alike(hashes, [*people, people[0]]) == {}
