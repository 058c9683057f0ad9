"""Files of predictions: what is written reads back, and every fault names its file and line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskkit.alignment import align
from maskkit.errors import PredictionError, UsageError
from maskkit.predictions import read_predictions, write_hard, write_soft

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.text(characters, min_size=1, max_size=12) | st.sampled_from(
    ["NA", "null", "nan", "007.jpg", "a,b", '"', "\n", "\r\nx"]
)
image_ids = st.lists(texts.filter(lambda text: not text.isspace()), min_size=1, max_size=8, unique=True)
finite = st.floats(allow_nan=False, allow_infinity=False)
finite32 = st.floats(allow_nan=False, allow_infinity=False, width=32)
class_counts = st.sampled_from([2, 3, 18])
quick = settings(max_examples=40, deadline=None)


def rows_of(draw: st.DataObject, elements: st.SearchStrategy[float], count: int) -> list[list[float]]:
    num_classes = draw.draw(class_counts)
    row = st.lists(elements, min_size=num_classes, max_size=num_classes)
    return draw.draw(st.lists(row, min_size=count, max_size=count))


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def run_with(folder: Path, config: str | bytes) -> Path:
    """Make a run folder and return the place of a file of predictions in it."""
    (folder / "predictions").mkdir(parents=True)
    write(folder / "config.json", config)
    return folder / "predictions" / "eval_soft.csv"


def fault_of(path: Path) -> str:
    with pytest.raises(PredictionError) as caught:
        read_predictions(path)
    assert str(path) in caught.value.message
    return str(caught.value)


@quick
@given(ids=image_ids, draw=st.data())
def test_soft_float64_reads_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], draw: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("soft") / "soft.csv"
    values = np.array(rows_of(draw, finite, len(ids)))
    write_soft(path, ids, values)
    back = read_predictions(path)
    assert back.ids == ids
    assert back.values is not None
    assert (back.values == values).all()
    assert (back.ans == values.argmax(axis=1)).all()
    assert back.truth is None
    assert back.num_classes == values.shape[1]


@quick
@given(ids=image_ids, draw=st.data())
def test_soft_float32_with_truth_reads_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], draw: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("soft") / "valid_soft.csv"
    values = np.array(rows_of(draw, finite32, len(ids)), dtype=np.float32)
    truth = np.arange(len(ids)) % values.shape[1]
    write_soft(path, ids, values, truth=truth)
    back = read_predictions(path)
    assert back.ids == ids
    assert back.values is not None
    assert (back.values.astype(np.float32) == values).all()
    assert back.truth is not None
    assert (back.truth == truth).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_digits_of_every_probability_are_kept(tmp_path: Path, dtype: type[np.floating]) -> None:
    values = np.random.default_rng(0).random((200, 18)).astype(dtype)
    write_soft(tmp_path / "soft.csv", [str(row) for row in range(len(values))], values)
    back = read_predictions(tmp_path / "soft.csv").values
    assert back is not None
    assert (back.astype(dtype) == values).all()


@quick
@given(ids=image_ids)
def test_hard_reads_back(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> None:
    path = tmp_path_factory.mktemp("hard") / "hard.csv"
    ans = np.arange(len(ids)) + 10
    write_hard(path, ids, ans)
    back = read_predictions(path)
    assert (back.ids, back.ans.tolist(), back.values, back.num_classes, back.space) == (
        ids,
        ans.tolist(),
        None,
        None,
        None,
    )


def test_a_written_file_is_plain_text(tmp_path: Path) -> None:
    write_soft(tmp_path / "soft.csv", ["a.jpg"], np.array([[0.25, 0.75]], dtype=np.float32), truth=np.array([0]))
    assert (tmp_path / "soft.csv").read_text() == "ImageID,ans,truth,0,1\na.jpg,1,0,0.25,0.75\n"
    write_hard(tmp_path / "hard.csv", ["a.jpg"], np.array([17]))
    assert (tmp_path / "hard.csv").read_text() == "ImageID,ans\na.jpg,17\n"


def test_pandas_reads_the_same(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    write_soft(tmp_path / "soft.csv", ['a, "b"', "é.jpg"], np.array([[0.1, 0.9], [0.7, 0.3]]))
    table = pandas.read_csv(tmp_path / "soft.csv")
    assert table["ImageID"].tolist() == ['a, "b"', "é.jpg"]
    assert table["0"].tolist() == [0.1, 0.7]


def test_mark_crlf_blank_lines_and_quotes_are_no_fault(tmp_path: Path) -> None:
    path = write(tmp_path / "excel.csv", b'\xef\xbb\xbfImageID,ans,0,1\r\n"a","0","1",0\r\n\r\nb,1,2e-1, .8\r\n')
    back = read_predictions(path)
    assert back.ids == ["a", "b"]
    assert back.ans.tolist() == [0, 1]
    assert back.values is not None
    assert back.values.tolist() == [[1, 0], [0.2, 0.8]]
    assert back.lines.tolist() == [2, 4]


def test_an_answer_may_differ_from_the_largest_probability(tmp_path: Path) -> None:
    assert read_predictions(write(tmp_path / "a.csv", "ImageID,ans,0,1\na,1,.6,.4\n")).ans.tolist() == [1]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("ans,0,1", "the column 'ImageID' is missing"),
        ("ImageID,0,1", "the column 'ans' is missing"),
        ("imageid,ans", "the column 'ImageID' is missing"),
        ("ImageID;ans", "the column 'ImageID' is missing"),
        ("ans,ImageID", "out of order"),
        ("ImageID,ans,1,0", "out of order"),
        ("ImageID,ans,0,1,truth", "out of order"),
        ("ImageID,ans,person,truth", "out of order"),
        ("ImageID,ans,ans", "'ans' appears 2 times"),
        ("ImageID,ans,0,0,1", "'0' appears 2 times"),
        ("ImageID,ans,0,1,2,3", "not the columns of predictions"),
        ("ImageID,ans,0", "not the columns of predictions"),
        ("ImageID,ans,old,young", "not the columns of predictions"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path: Path, header: str, reason: str) -> None:
    message = fault_of(write(tmp_path / "wrong.csv", f"{header}\na,0,1,0\n"))
    assert "line 1" in message
    assert reason in message
    assert repr(header) in message
    assert "ImageID,ans,0,1,..,K-1 with K = 18, 3 or 2" in message


@pytest.mark.parametrize(
    ("row", "line", "reason"),
    [
        ("b,0,1", 3, "has 3 cells; the header has 4"),
        ("b,0,1,0,0", 3, "has 5 cells; the header has 4"),
        ("\n\nb,0,1", 5, "has 3 cells"),
        ('"x\ny",0,1,0\nb,0,1', 5, "has 3 cells"),
        ("a,0,1,0", 3, "'a' is already on line 2"),
        (",0,1,0", 3, "ImageID is empty"),
        ("  ,0,1,0", 3, "ImageID is empty"),
        ("b,0,nan,0", 3, "column '0' is 'nan'; it must be a finite number"),
        ("b,0,1,inf", 3, "column '1' is 'inf'"),
        ("b,0,1,-Infinity", 3, "column '1' is '-Infinity'"),
        ("b,0,1,1e999", 3, "column '1' is '1e999'"),
        ("b,0,,0", 3, "column '0' is ''"),
        ("b,0,1,high", 3, "column '1' is 'high'"),
        ("b,0,1_0,0", 3, "column '0' is '1_0'"),
        ('b,0,"0,5",0', 3, "column '0' is '0,5'"),
        ("b,0,\uff11,0", 3, "column '0' is '\uff11'"),
        ("b,2,1,0", 3, "column 'ans' is '2'; it must be a whole number from 0 to 1"),
        ("b,-1,1,0", 3, "column 'ans' is '-1'"),
        ("b,1.0,1,0", 3, "column 'ans' is '1.0'"),
        ("b,,1,0", 3, "column 'ans' is ''"),
        ('"b,0,1,0', 3, "not valid CSV"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(tmp_path: Path, row: str, line: int, reason: str) -> None:
    message = fault_of(write(tmp_path / "wrong.csv", f"ImageID,ans,0,1\na,0,1,0\n{row}\n"))
    assert f"line {line}: " in message
    assert reason in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ImageID,ans\na,18\n", "line 2: column 'ans' is '18'; it must be a whole number from 0 to 17"),
        ("ImageID,ans,truth\na,1,x\n", "line 2: column 'truth' is 'x'; it must be a whole number from 0 to 17"),
        (
            "ImageID,ans,truth,0,1,2\na,1,3,0,1,0\n",
            "line 2: column 'truth' is '3'; it must be a whole number from 0 to 2",
        ),
        ("ImageID,ans,person\na,1, \n", "line 2: column 'person' is ' '; it must be a name"),
        ("ImageID,ans\n", "no rows"),
        ("", "is empty"),
        ("\n\n", "is empty"),
        (b"\xff\xfe\x00\x01binary", "not text in UTF-8"),
        (b"ImageID,ans\na\0,1\n", "binary"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str | bytes, reason: str) -> None:
    assert reason in fault_of(write(tmp_path / "wrong.csv", text))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "No such file" in fault_of(tmp_path / "none.csv")
    assert "is a folder" in fault_of(tmp_path)


@pytest.mark.parametrize("ids", [["a", "a"], ["a", ""], ["a", "\udcff"]])
def test_a_file_that_could_not_be_read_is_not_written(tmp_path: Path, ids: list[str]) -> None:
    with pytest.raises(PredictionError, match=r"cannot write .*hard\.csv, line 3"):
        write_hard(tmp_path / "hard.csv", ids, np.array([0, 1]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_probabilities_that_are_not_finite_are_not_written(tmp_path: Path, wrong: float) -> None:
    with pytest.raises(PredictionError, match=r"soft\.csv.*'b' are not finite"):
        write_soft(tmp_path / "soft.csv", ["a", "b"], np.array([[0, 1], [0, wrong]]))


def soft(folder: Path, rows: list[list[float]], ids: str = "abcdefgh") -> Path:
    path = folder / "soft.csv"
    write_soft(path, list(ids[: len(rows)]), np.array(rows))
    return path


@pytest.mark.parametrize(
    ("rows", "space"),
    [
        ([[0.5, 0.5], [1, 0]], "prob"),
        ([[0.5, 0.5009], [1, 0]], "prob"),
        ([[0.5, 0.5011], [1, 0]], "logit"),
        ([[0.5, 0.5], [1.5, -0.5]], "logit"),
        ([[0.2, 0.2]], "logit"),
        ([[1e308, -1e308]], "logit"),
        ([[1.0000001, -0.0000001]], "prob"),
    ],
)
def test_probabilities_are_told_from_logits(tmp_path: Path, rows: list[list[float]], space: str) -> None:
    assert read_predictions(soft(tmp_path, rows)).space == space


def softmax(row: list[float]) -> NDArray[np.float64]:
    shares = np.exp(np.array(row) - max(row))
    return np.asarray(shares / shares.sum())


def test_logits_become_probabilities_and_probabilities_stay(tmp_path: Path) -> None:
    logits = read_predictions(soft(tmp_path, [[2, -1], [0, 5]]))
    assert logits.probabilities() == pytest.approx(np.array([softmax([2, -1]), softmax([0, 5])]))
    shares = read_predictions(soft(tmp_path, [[0.25, 0.75]]))
    assert shares.probabilities().tolist() == [[0.25, 0.75]]
    assert shares.probabilities("logit") == pytest.approx(np.array([softmax([0.25, 0.75])]))


def test_huge_logits_stay_finite(tmp_path: Path) -> None:
    huge = read_predictions(soft(tmp_path, [[1e308, -1e308], [800, 799]]))
    assert huge.probabilities().tolist() == [[1, 0], pytest.approx(softmax([800, 799]).tolist())]


def test_a_false_claim_of_probabilities_names_file_and_line(tmp_path: Path) -> None:
    file = read_predictions(soft(tmp_path, [[0.5, 0.5], [3, -1]]))
    with pytest.raises(PredictionError, match=rf"{re.escape(str(file.path))}, line 3: the row holds no probabilities"):
        file.probabilities("prob")
    with pytest.raises(UsageError, match="unknown space"):
        file.probabilities("probability")  # type: ignore[arg-type]


def test_a_hard_file_has_no_probabilities(tmp_path: Path) -> None:
    file = read_predictions(write(tmp_path / "hard.csv", "ImageID,ans\na,1\n"))
    with pytest.raises(PredictionError, match=r"hard\.csv holds answers") as caught:
        file.probabilities()
    assert "--how=hard" in caught.value.hint


@pytest.mark.parametrize("truth", ["", "truth"])
@pytest.mark.parametrize("classes", ["", "0,1"])
def test_who_is_on_an_image_may_be_told_after_the_truth(tmp_path: Path, truth: str, classes: str) -> None:
    header = ",".join(filter(None, ["ImageID,ans", truth, "person", classes]))
    first, second = (",".join(filter(None, ["1", truth and "1", name, classes and ".4,.6"])) for name in ("007", "7"))
    path = write(tmp_path / "people.csv", f"{header}\na,{first}\nb,{second}\n")
    write_hard(tmp_path / "other.csv", ["b", "a"], np.array([0, 0]))
    assert read_predictions(path).people == ["007", "7"]
    assert align(read_predictions(tmp_path / "other.csv"), read_predictions(path)).people == ["7", "007"]
    assert read_predictions(tmp_path / "other.csv").people is None


@pytest.mark.parametrize("name", ["gender", "age"])
def test_the_view_comes_from_the_run_when_its_classes_are_the_columns(tmp_path: Path, name: str) -> None:
    path = run_with(tmp_path / "run", json.dumps({"values": {"classification": name}}))
    write_soft(path, ["a"], np.array([[0.25, 0.75]]))
    view = read_predictions(path).view
    assert (view.name if view else None) == ("gender" if name == "gender" else None)


def test_the_run_may_be_the_folder_itself(tmp_path: Path) -> None:
    write(tmp_path / "config.json", '{"values": {"classification": "mask"}}')
    write_hard(tmp_path / "hard.csv", ["a"], np.array([0]))
    view = read_predictions(tmp_path / "hard.csv").view
    assert view is not None
    assert view.name == "mask"


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        "null",
        '"text"',
        "{}",
        '{"values": 3}',
        '{"values": {}}',
        '{"values": {"classification": "face"}}',
        '{"values": {"classification": ["mask"]}}',
        "[" * 100_000,
        b"\xff",
    ],
)
def test_a_config_that_tells_nothing_is_no_fault(tmp_path: Path, config: str | bytes) -> None:
    path = run_with(tmp_path / "run", config)
    write_hard(path, ["a"], np.array([0]))
    assert read_predictions(path).view is None
