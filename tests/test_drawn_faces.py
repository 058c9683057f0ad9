"""Drawn faces: the layout, the balance, and the same bytes for the same seed."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from maskkit.builtin.drawn_faces import draw_faces
from maskkit.errors import DataError
from maskkit.labels import age_group, encode

SHOTS = {"mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal"}


def draw(folder: Path, *, seed: int = 3, processes: int = 1) -> Path:
    draw_faces(folder, people=6, eval_people=2, seed=seed, processes=processes)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "faces")


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_processes(faces: Path, tmp_path: Path) -> None:
    assert contents(draw(tmp_path / "again", processes=2)) == contents(faces)


def test_another_seed_gives_other_faces(faces: Path, tmp_path: Path) -> None:
    other = set(contents(draw(tmp_path / "other", seed=4)).values())
    assert not other & {data for name, data in contents(faces).items() if name.endswith(".jpg")}


def test_the_layout_is_the_competition_s(faces: Path) -> None:
    table = rows(faces / "train" / "train.csv")
    folders = sorted((faces / "train" / "images").iterdir())
    assert [row["path"] for row in table] == [folder.name for folder in folders]
    for row, folder in zip(table, folders, strict=True):
        assert folder.name == "_".join((row["id"], row["gender"], row["race"], row["age"]))
        assert {path.stem for path in folder.iterdir()} == SHOTS
    images = {path.name for path in (faces / "eval" / "images").iterdir()}
    assert len(images) == 2 * len(SHOTS)
    assert {row["ImageID"] for row in rows(faces / "eval" / "info.csv")} == images


def test_the_groups_are_balanced(faces: Path) -> None:
    groups = Counter((row["gender"], age_group(int(row["age"]))) for row in rows(faces / "train" / "train.csv"))
    assert set(groups.values()) == {1}
    assert len(groups) == 6


def test_the_answers_hold_seven_photos_of_each_person_and_the_info_tells_nothing(faces: Path) -> None:
    answers = Counter(int(row["ans"]) for row in rows(faces / "eval" / "answers.csv"))
    assert answers == Counter(
        {encode(mask, 0, age): count for age in (0, 1) for mask, count in ((0, 5), (1, 1), (2, 1))}
    )
    info = rows(faces / "eval" / "info.csv")
    assert {row["ans"] for row in info} == {"0"}
    assert [row["ImageID"] for row in info] == sorted(row["ImageID"] for row in info)


def test_every_photo_is_rgb_and_384_by_512(faces: Path) -> None:
    for path in faces.rglob("*.jpg"):
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("RGB", (384, 512))


def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(_: int, __: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_faces(tmp_path / "faces", people=6, eval_people=2, seed=3, processes=1, on_progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_drawing_again_leaves_the_faces_as_they_are(faces: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in faces.rglob("*")}
    draw(faces)
    assert {path: path.stat().st_mtime_ns for path in faces.rglob("*")} == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="exists already"):
        draw(tmp_path)
