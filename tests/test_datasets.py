"""The data sets in the box: what they read from their folders, and how they name everything that is wrong there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskkit.builtin import datasets
from maskkit.data.samples import Samples
from maskkit.errors import DataError, UsageError

STEMS = [*(f"mask{number}" for number in range(1, 6)), "incorrect_mask", "normal"]


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def add_profile(root: Path, name: str, ending: str = ".jpg") -> None:
    for stem in STEMS:
        touch(root / name / f"{stem}{ending}")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return .../train/images with two profiles in it."""
    folder = tmp_path / "train" / "images"
    add_profile(folder, "000002_female_Asian_60")
    add_profile(folder, "000001_male_Asian_29")
    return folder


def read(folder: Path | None) -> Samples:
    return datasets.mask_split_by_profile(folder)


def refused(folder: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read(folder)
    return caught.value


def test_reads_every_photo_sorted_with_its_labels(root: Path) -> None:
    samples = read(root)
    assert samples.names[:3] == [f"000001_male_Asian_29/{stem}.jpg" for stem in ("incorrect_mask", "mask1", "mask2")]
    assert samples.paths[0] == str(root / "000001_male_Asian_29" / "incorrect_mask.jpg")
    assert samples.answers.tolist() == [6, 0, 0, 0, 0, 0, 12, 11, 5, 5, 5, 5, 5, 17]
    assert samples.table["person"].unique().tolist() == ["000001", "000002"]
    assert (samples.unit, samples.notice, samples.eval_dir) == ("person", "", None)


def test_reads_any_case_ending_suffix_and_race(root: Path) -> None:
    add_profile(root, "001498-1_Male_Middle_Eastern_45", ".JPEG")
    touch(root / "001498_FEMALE_Asian_1" / "Incorrect_Mask.PNG")
    table = read(root).table.set_index("sample")
    rows = table[table["person"] == "001498-1"]
    assert len(rows) == 7
    assert rows[["gender", "age"]].drop_duplicates().to_numpy().tolist() == [[0, 45]]
    one = table.loc["001498_FEMALE_Asian_1/Incorrect_Mask.PNG"]
    assert (one["person"], one["mask"], one["gender"], one["age"]) == ("001498", 1, 1, 1)


def test_hidden_files_stray_files_and_inner_folders_are_ignored(root: Path) -> None:
    touch(root / "._000009_male_Asian_20")
    touch(root / "notes.txt")
    touch(root / ".ipynb_checkpoints" / "mask1.jpg")
    touch(root / "000001_male_Asian_29" / "._mask1.jpg")
    touch(root / "000001_male_Asian_29" / "Thumbs.db")
    touch(root / "000001_male_Asian_29" / "old.jpg" / "mask1.jpg")
    assert len(read(root)) == 14


def test_linked_folders_are_read_under_the_names_given(root: Path, tmp_path: Path) -> None:
    (root / "000003_male_Asian_40").symlink_to(root / "000001_male_Asian_29")
    (tmp_path / "link").symlink_to(root)
    samples = read(tmp_path / "link")
    assert len(samples) == 21
    assert samples.paths[0].startswith(str(tmp_path / "link"))


def test_a_relative_folder_gives_absolute_paths(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(root.parent.parent / "eval" / "info.csv")
    monkeypatch.chdir(root / "000001_male_Asian_29")
    samples = read(Path(".."))
    assert samples.paths[0] == str(root / "000001_male_Asian_29" / "incorrect_mask.jpg")
    assert samples.eval_dir == root.parent.parent / "eval"


@pytest.mark.parametrize("content", ["info.csv", "images/a.jpg"])
def test_finds_the_eval_folder_beside_the_train_folder(root: Path, content: str) -> None:
    folder = root.parent.parent / "eval"
    folder.mkdir()
    assert read(root).eval_dir is None
    touch(folder / content)
    assert read(root).eval_dir == folder


def test_the_base_data_set_splits_by_image_and_warns_of_the_leak(root: Path) -> None:
    samples = datasets.mask_base(root)
    assert samples.unit == "image"
    assert "photos of one person fall on both sides" in samples.notice
    assert samples.names == read(root).names


def test_folders_that_are_no_profile_are_listed_with_the_valid_form(root: Path) -> None:
    wrong = ["000003_male_Asian", "000004_man_Asian_20", "_male_Asian_20", "000005_male_Asian_x", "notes"]
    for name in wrong:
        (root / name).mkdir()
    error = refused(root)
    assert error.message.splitlines()[0] == f"5 folders in {root} are no profiles:"
    assert sorted(line.strip() for line in error.message.splitlines()[1:]) == sorted(wrong)
    assert "<id>_<male|female>_<race>_<age>" in error.hint


def test_ten_faults_are_shown_and_the_rest_counted(root: Path) -> None:
    for number in range(13):
        (root / f"wrong{number:02d}").mkdir()
    lines = refused(root).message.splitlines()
    assert (len(lines), lines[-2:]) == (12, ["  wrong09", "  and 3 more"])


@pytest.mark.parametrize("age", [0, 121, 999])
def test_ages_beyond_a_human_life_are_refused(root: Path, age: int) -> None:
    add_profile(root, f"000003_male_Asian_{age}")
    assert refused(root).message == f"1 profiles have an age outside 1..120:\n  000003_male_Asian_{age}"


def test_unknown_photo_names_are_listed(root: Path) -> None:
    touch(root / "000001_male_Asian_29" / "mask6.jpg")
    touch(root / "000002_female_Asian_60" / "portrait.png")
    error = refused(root)
    assert error.message.splitlines()[1:] == [
        "  000001_male_Asian_29/mask6.jpg",
        "  000002_female_Asian_60/portrait.png",
    ]
    assert error.hint == "Valid are mask1..mask5, incorrect_mask and normal."


def test_profiles_without_an_image_are_listed(root: Path) -> None:
    touch(root / "000003_male_Asian_40" / "mask1.gif")
    (root / "000004_male_Asian_40").mkdir()
    error = refused(root)
    assert error.message == "2 profiles hold no image:\n  000003_male_Asian_40\n  000004_male_Asian_40"


def test_one_id_with_two_genders_or_ages_is_refused(root: Path) -> None:
    add_profile(root, "000001_female_Asian_29")
    add_profile(root, "000002_female_Asian_59")
    error = refused(root)
    assert error.message.splitlines() == [
        "2 ids have two genders or ages:",
        "  000001_female_Asian_29 and 000001_male_Asian_29",
        "  000002_female_Asian_59 and 000002_female_Asian_60",
    ]


def test_one_id_in_two_folders_that_agree_is_one_person(root: Path) -> None:
    add_profile(root, "000001_male_White_29")
    assert read(root).table["person"].nunique() == 2


def test_a_missing_an_empty_and_no_folder_are_refused(tmp_path: Path, root: Path) -> None:
    assert refused(tmp_path / "nowhere").message == f"the folder of images {tmp_path / 'nowhere'} does not exist"
    file = root / "000001_male_Asian_29" / "mask1.jpg"
    assert refused(file).message == f"the folder of images {file} is a file, not a folder"
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty").message == f"there is no profile in {tmp_path / 'empty'}"
    with pytest.raises(UsageError, match="--data_dir=FOLDER"):
        read(None)


@pytest.mark.parametrize("given", [".", ".."])
def test_the_train_folder_and_the_root_hint_at_the_right_folder(root: Path, given: str) -> None:
    folder = (root.parent / given).resolve()
    (folder / "other").mkdir()
    assert refused(folder).hint == f"The profiles are one folder further in: --data_dir={root}"


def test_one_profile_hints_at_the_folder_of_all(root: Path) -> None:
    error = refused(root / "000001_male_Asian_29")
    assert error.hint == f"This is one profile; give the folder that holds them all: --data_dir={root}"


@pytest.fixture
def eval_dir(tmp_path: Path) -> Path:
    """Return an eval folder with three images, listed in an order of its own."""
    folder = tmp_path / "eval"
    for name in ("a.jpg", "b.jpg", "007"):
        touch(folder / "images" / name)
    (folder / "info.csv").write_text("ImageID,ans\nb.jpg,0\n007,0\na.jpg,0\n")
    return folder


def refused_to_predict(folder: Path, **options: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        datasets.test_dataset(folder, **options)
    return caught.value


def test_info_csv_gives_the_order_and_ids_stay_text(eval_dir: Path) -> None:
    samples = datasets.test_dataset(eval_dir)
    assert samples.names == ["b.jpg", "007", "a.jpg"]
    assert samples.paths[0] == str(eval_dir / "images" / "b.jpg")
    assert not samples.labelled


def test_a_table_written_by_a_spreadsheet_is_read(eval_dir: Path) -> None:
    (eval_dir / "info.csv").write_bytes(b'\xef\xbb\xbfnumber,ImageID\r\n1,"a.jpg"\r\n\r\n2,b.jpg,more\r\n')
    assert datasets.test_dataset(eval_dir).names == ["a.jpg", "b.jpg"]


def test_a_plain_folder_is_read_by_name(eval_dir: Path) -> None:
    assert datasets.test_dataset(eval_dir / "images").names == ["a.jpg", "b.jpg"]
    (eval_dir / "info.csv").unlink()
    assert datasets.test_dataset(eval_dir).names == ["a.jpg", "b.jpg"]


def test_table_and_images_may_lie_elsewhere(eval_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("ImageID\nb.jpg\n")
    assert datasets.test_dataset(eval_dir, info=tmp_path / "mine.csv").names == ["b.jpg"]
    (tmp_path / "images").mkdir()
    assert refused_to_predict(eval_dir, info=tmp_path / "mine.csv").message.endswith("\n  b.jpg")
    samples = datasets.test_dataset(eval_dir, info=tmp_path / "mine.csv", images=eval_dir / "images")
    assert samples.paths == [str(eval_dir / "images" / "b.jpg")]


def test_a_table_beside_its_images_is_read(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    (tmp_path / "info.csv").write_text("ImageID\na.jpg\n")
    assert datasets.test_dataset(tmp_path).paths == [str(tmp_path / "a.jpg")]


def test_repeated_empty_and_missing_ids_are_refused(eval_dir: Path) -> None:
    table = eval_dir / "info.csv"
    table.write_text("ImageID\na.jpg\nb.jpg\na.jpg\n")
    assert refused_to_predict(eval_dir).message == f"1 ImageIDs stand in {table} more than once:\n  a.jpg"
    table.write_text("ans,ImageID\n0,a.jpg\n0\n0,\n")
    assert refused_to_predict(eval_dir).message == f"2 rows of {table} have an empty ImageID"
    table.write_text("ImageID\na.jpg\n" + "".join(f"{number}.jpg\n" for number in range(11)) + "x" * 300)
    lines = refused_to_predict(eval_dir).message.splitlines()
    assert lines[0] == f"12 ImageIDs of {table} have no file in {eval_dir / 'images'}:"
    assert lines[-2:] == ["  9.jpg", "  and 2 more"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,ans\na.jpg,0\n", "has no column ImageID; it has id, ans"),
        (b"", "has no column ImageID; it has nothing"),
        (b"ImageID\n\xff\xfe\n", "cannot be read"),
        (b"ImageID,ans\n", "names no image: it has no rows"),
        (b"ImageID,ImageID\na.jpg,b.jpg\n", "has 2 columns ImageID"),
    ],
)
def test_a_table_that_tells_no_images_is_refused(eval_dir: Path, content: bytes, message: str) -> None:
    (eval_dir / "info.csv").write_bytes(content)
    assert message in refused_to_predict(eval_dir).message


def test_a_folder_without_images_or_a_missing_table_is_refused(tmp_path: Path) -> None:
    assert refused_to_predict(tmp_path).message == f"there is no image in {tmp_path}"
    assert "No such file" in refused_to_predict(tmp_path, info=tmp_path / "no.csv").message
    assert "cannot be listed" in refused_to_predict(tmp_path, images=tmp_path / "no").message
    with pytest.raises(UsageError, match="no folder of images"):
        datasets.test_dataset(None)


def test_reading_a_data_set_loads_no_torch(root: Path) -> None:
    program = (
        "import sys, pathlib; from maskkit.builtin.datasets import mask_split_by_profile as read;"
        "read(pathlib.Path(sys.argv[1])).answers; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(root)], check=True, env=dict(os.environ))
