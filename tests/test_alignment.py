"""Files whose rows stand in different orders: they are brought into one, also where memory could not hold them."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskkit.alignment import align
from maskkit.builtin.votes import hard, soft
from maskkit.csv_files import CsvFile
from maskkit.ensemble import counting, vote
from maskkit.errors import PredictionError
from maskkit.predictions import read_predictions, write_hard, write_soft, writing
from maskkit.readings import read_words
from maskkit.tables import read_blocks, read_table

quick = settings(max_examples=40, deadline=None)
HEADER = ["ImageID", "ans"]


@given(order=st.permutations(range(5)))
@quick
def test_align_brings_rows_into_the_first_files_order(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("align")
    values, truth = np.arange(10.0).reshape(5, 2), np.array([0, 1, 0, 0, 1])
    ids = list("abcde")
    write_soft(folder / "first.csv", ids, values, truth=truth)
    write_soft(folder / "second.csv", [ids[row] for row in order], values[order], truth=truth[order])
    first = read_predictions(folder / "first.csv")
    second = align(first, read_predictions(folder / "second.csv"))
    assert second.ids == first.ids == ids
    assert second.values is not None
    assert second.truth is not None
    assert (second.values == values).all()
    assert (second.truth == truth).all()
    assert (second.ans == first.ans).all()
    assert [order[line - 2] for line in second.lines] == list(range(5))


def test_align_refuses_different_ids_and_counts_them(tmp_path: Path) -> None:
    write_hard(tmp_path / "a.csv", ["x", "y", "z"], np.array([0, 0, 0]))
    write_hard(tmp_path / "b.csv", ["x", "w"], np.array([0, 0]))
    with pytest.raises(PredictionError, match=r"a\.csv and .*b\.csv hold different ids") as caught:
        align(read_predictions(tmp_path / "a.csv"), read_predictions(tmp_path / "b.csv"))
    assert f"2 are missing in {tmp_path / 'b.csv'} (the first is 'y', line 3 of {tmp_path / 'a.csv'})" in str(
        caught.value
    )
    assert f"1 is missing in {tmp_path / 'a.csv'} (the first is 'w', line 3 of {tmp_path / 'b.csv'})" in str(
        caught.value
    )


@quick
@given(
    ids=st.lists(st.text(st.sampled_from('ab,"\n\r é'), min_size=1, max_size=5), min_size=1, max_size=30),
    num_bytes=st.integers(1, 60),
    ending=st.sampled_from(["", "\n", "\n\n"]),
)
def test_the_parts_of_a_table_are_the_whole_of_it(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], num_bytes: int, ending: str
) -> None:
    path = tmp_path_factory.mktemp("blocks") / "table.csv"
    with writing(path) as write:
        write(ids, np.zeros(len(ids), dtype=np.int64))
    path.write_bytes(path.read_bytes()[:-1] + ending.encode())
    whole = read_table(path, [HEADER], hint="")
    parts = list(read_blocks(CsvFile.at(path), [HEADER], hint="", num_bytes=num_bytes))
    assert whole.texts("ImageID") == ids
    assert [text for part in parts for text in part.texts("ImageID")] == ids
    assert [line for part in parts for line in part.lines] == list(whole.lines)


@pytest.mark.parametrize("row", ["b", "b,1,2", 'b"c,1,"', '"b,1', "b,x", "\xff,1"])
def test_a_fault_far_down_a_file_is_on_its_line(tmp_path: Path, row: str) -> None:
    path = tmp_path / "long.csv"
    rows = ["ImageID,ans", *(f"{number},0" for number in range(2_000_000)), row]
    path.write_bytes("\n".join(rows).encode("latin-1"))
    with pytest.raises(PredictionError) as caught:
        vote(read_words([path]), hard(), from_answers=True)
    assert str(caught.value).startswith(f"{path}, line 2000002: " if "\xff" not in row else f"{path} is not text")


def test_what_comes_through_pipes_votes_as_files_do(tmp_path: Path) -> None:
    pipes = [tmp_path / "first", tmp_path / "second"]
    for pipe in pipes:
        os.mkfifo(pipe)
    texts = ["ImageID,ans\na,3\nb,4\n", "ImageID,ans\nb,4\na,3\n"]
    with ThreadPoolExecutor(2) as pool:
        pool.map(Path.write_text, pipes, texts)
        result = vote(read_words(pipes), hard(), from_answers=True)
    assert (result.ids, result.ans.tolist()) == (["a", "b"], [3, 4])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[str], NDArray[np.float64]]:
    """Write three files of many blocks, in three orders; return them, the ids of the first, and all probabilities."""
    folder = tmp_path_factory.mktemp("large")
    numbers = np.random.default_rng(0)
    probabilities = numbers.dirichlet(np.ones(18), size=(3, 60_000))
    ids = [f"{number}.jpg" for number in numbers.permutation(60_000)]
    paths = [folder / f"{number}.csv" for number in range(3)]
    orders = [np.arange(60_000), numbers.permutation(60_000), np.roll(np.arange(60_000), 1)]
    for path, rows, order in zip(paths, probabilities, orders, strict=True):
        write_soft(path, [ids[row] for row in order], rows[order])
    return paths, ids, probabilities


@pytest.mark.slow
def test_files_of_many_blocks_in_any_order_vote_as_their_arrays_do(
    large: tuple[list[Path], list[str], NDArray[np.float64]],
) -> None:
    paths, ids, probabilities = large
    read, counted = [], []
    for rule in (soft(), hard()):
        with counting(read_words(paths), rule, rowwise=True, on_read=lambda *told: read.append(told)) as count:
            parts = list(count.parts())
            counted.append(len(parts))
            ballots = count.ballots()
        expected = rule(probabilities, np.ones(3))
        assert [image for part, _ in parts for image in part] == ids
        assert np.array_equal(np.concatenate([rows for _, rows in parts]), expected)
        whole = vote(read_words(paths), rule)
        assert np.array_equal(whole.probabilities, expected)
        assert np.array_equal(whole.ballots[0].agreement, ballots[0].agreement)
    assert min(counted) > 1
    assert read[-1] == (sum(path.stat().st_size for path in paths),) * 2


@pytest.mark.slow
def test_an_id_that_a_far_row_repeats_or_makes_up_is_found(
    tmp_path: Path, large: tuple[list[Path], list[str], NDArray[np.float64]]
) -> None:
    paths, _, _ = large
    rows = paths[1].read_text().splitlines(keepends=True)
    repeated = [*rows[:-1], rows[5].split(",")[0] + "," + rows[-1].partition(",")[2]]
    made_up = [*rows[:-1], "new.jpg," + rows[-1].partition(",")[2]]
    for lines, message in (
        (repeated, "line 60001: the ImageID {five!r} is already on line 6"),
        (made_up, "1 is missing in {first} (the first is 'new.jpg', line 60001 of {second})"),
    ):
        (tmp_path / "second.csv").write_text("".join(lines))
        with pytest.raises(PredictionError) as caught:
            vote(read_words([paths[0], tmp_path / "second.csv"]), soft())
        names = {"five": rows[5].split(",")[0], "first": paths[0], "second": tmp_path / "second.csv"}
        assert message.format(**names) in str(caught.value)
