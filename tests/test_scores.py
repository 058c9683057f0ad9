"""What `maskkit evaluate` prints, and the picture that it draws."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import Runner
from PIL import Image

from maskkit.predictions import write_hard

NUM_PEOPLE, SHOTS = 40, 3


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """A truth file with a column person, and beside it answers that are wrong for every fifth person."""
    people = np.repeat(np.arange(NUM_PEOPLE), SHOTS)
    truth = np.tile(np.arange(SHOTS) * 6, NUM_PEOPLE) + people % 6
    names = [f"{row}.jpg" for row in range(len(people))]
    rows = [f"{name},{answer},{person:06d}" for name, answer, person in zip(names, truth, people, strict=True)]
    (tmp_path / "truth.csv").write_text("\n".join(["ImageID,ans,person", *rows, ""]))
    write_hard(tmp_path / "answers.csv", names, np.where(people % 5, truth, (truth + 1) % 18))
    return tmp_path


def lines_of(maskkit: Runner, *words: str) -> list[str]:
    done = maskkit("evaluate", *words)
    assert (done.code, done.err) == (0, "")
    return done.out.splitlines()


def cells_of(lines: list[str], name: str) -> list[str]:
    """Return the cells of the table's row that begins with a name."""
    (row,) = [line for line in lines if re.match(f"│ {name} +│", line)]
    return [cell.strip() for cell in row.strip("│").split("│")]


def test_the_report_fits_in_80_columns_but_for_the_paths_and_the_confusion(maskkit: Runner, scored: Path) -> None:
    assert scored.is_dir()
    lines = lines_of(maskkit, "answers.csv", "--truth=truth.csv")
    confusion = next(number for number, line in enumerate(lines) if line.startswith("Confusion"))
    assert max(map(len, lines[1:confusion])) <= 80
    assert max(map(len, lines)) <= 100


def test_the_whole_the_axes_and_the_groups_are_printed_with_intervals(maskkit: Runner, scored: Path) -> None:
    assert scored.is_dir()
    lines = lines_of(maskkit, "answers.csv", "--truth=truth.csv")
    assert f"images               {NUM_PEOPLE * SHOTS}" in lines
    assert f"people                {NUM_PEOPLE}" in lines
    (accuracy,) = [line for line in lines if line.startswith("accuracy")]
    _, value, interval = accuracy.split()
    low, high = map(float, interval.strip("()").split("-"))
    assert float(value) == 0.8
    assert (low, high) == pytest.approx((0.676, 0.924), abs=0.03)  # 0.8 -+ 1.96 sqrt(0.8 * 0.2 / 40)
    assert "In brackets: 95% intervals of 2,000 bootstrap resamples of people;" in lines
    assert len(cells_of(lines, "gender")) == 3
    assert cells_of(lines, "female old")[:3] == ["female old", "6", "18"]
    assert cells_of(lines, "incorrect")[:3] == ["incorrect", str(NUM_PEOPLE), str(NUM_PEOPLE)]
    assert lines_of(maskkit, "answers.csv", "--truth=truth.csv") == lines


def test_intervals_over_images_say_so(maskkit: Runner, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("ImageID,ans,truth\nx,0,0\ny,1,0\n")
    lines = lines_of(maskkit, "own.csv")
    (brackets,) = [line for line in lines if line.startswith("In brackets")]
    assert brackets.endswith(" resamples of images, as nothing tells who is on them;")
    assert max(map(len, lines)) <= 100
    assert not [line for line in lines if line.startswith("people")]
    assert cells_of(lines, "male")[:3] == ["male", "?", "2"]


def test_groups_that_cannot_be_known_are_left_out_in_one_line(maskkit: Runner, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("ImageID,ans,truth\nx,0,0\ny,1,2\n")
    lines = lines_of(maskkit, "own.csv", "--classification=age")
    (left_out,) = [line for line in lines if line.startswith("No groups by ")]
    assert left_out.startswith("No groups by gender, gender x age, mask: ")
    assert max(map(len, lines)) <= 100
    assert cells_of(lines, "old")[:3] == ["old", "?", "1"]


@pytest.mark.parametrize("name", ["confusion.png", "new/folder/CONFUSION.PNG"])
def test_the_confusion_is_drawn_where_asked(maskkit: Runner, scored: Path, name: str) -> None:
    lines = lines_of(maskkit, "answers.csv", "--truth=truth.csv", f"--confusion={name}")
    assert lines[-1] == f"wrote {name}"
    with Image.open(scored / name) as image:
        assert image.format == "PNG"
        assert min(image.size) >= 300
        assert len(np.unique(np.asarray(image.convert("L")))) > 10
    assert [path.name for path in (scored / name).parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("confusion.jpg", "--confusion=confusion.jpg is no .png\n  Type --confusion=FILE.png.\n"),
        ("confusion", "--confusion=confusion is no .png\n"),
        ("truth.csv/confusion.png", "--confusion=truth.csv/confusion.png cannot be written: "),
        ("folder.png", "--confusion=folder.png cannot be written: Is a directory\n"),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_printed(
    maskkit: Runner, scored: Path, name: str, message: str
) -> None:
    (scored / "folder.png").mkdir()
    before = sorted(scored.iterdir())
    done = maskkit("evaluate", "answers.csv", "--truth=truth.csv", f"--confusion={name}")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {message}")
    assert sorted(scored.iterdir()) == before
