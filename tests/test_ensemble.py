"""Voting: the arithmetic, what files given as words or flags are read as, and what is refused."""

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskkit.builtin.votes import hard, soft
from maskkit.ensemble import Result, vote
from maskkit.errors import MaskkitError, PluginError, PredictionError, UsageError
from maskkit.labels import decode
from maskkit.plugin.contracts import VoteRule
from maskkit.predictions import write_hard, write_soft
from maskkit.readings import Reading, read_flags, read_words

Array = NDArray[np.float64]

quick = settings(max_examples=30, deadline=None)
rules = st.sampled_from([soft, hard])
seeds = st.integers(0, 2**32 - 1)


def probabilities(seed: int, shape: tuple[int, ...]) -> Array:
    """Draw probabilities; half of them from a coarse grid, so that ties are common."""
    draws = np.random.default_rng(seed)
    shares = draws.integers(1, 4, shape) if seed % 2 else draws.random(shape) + 1e-3
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def names(count: int) -> list[str]:
    return [f"{number}.jpg" for number in range(count)]


def write_all(folder: Path, stack: Array) -> list[Path]:
    """Write a soft file for each [N, K] of the stack."""
    paths = [folder / f"{number}.csv" for number in range(len(stack))]
    for path, rows in zip(paths, stack, strict=True):
        write_soft(path, names(len(rows)), rows)
    return paths


def in_run(folder: Path, view: str, num_classes: int, *, answers_only: bool = False) -> Path:
    """Write a file of two predictions into a run that learned `view`; without a view there is no config.json."""
    path = folder / "predictions" / f"{folder.name}.csv"
    write_soft(path, names(2), np.eye(num_classes)[:2] * 0.5 + 0.5 / num_classes)
    if answers_only:
        write_hard(path, names(2), np.array([0, num_classes - 1]))
    if view:
        (folder / "config.json").write_text(json.dumps({"values": {"classification": view}}))
    return path


def answers_of(paths: Sequence[Path], rule: Callable[[], VoteRule] = soft) -> dict[str, int]:
    result = vote(read_words(paths), rule(), from_answers=rule is hard)
    return dict(zip(result.ids, result.ans.tolist(), strict=True))


def refusal(error: type[MaskkitError], paths: Sequence[Path]) -> str:
    with pytest.raises(error) as caught:
        read_words(paths)
    return str(caught.value)


@quick
@given(seed=seeds, shape=st.sampled_from([(3, 4, 18), (4, 5, 3), (2, 6, 2)]), rule=rules, shift=st.integers(0, 3))
def test_the_order_of_the_files_changes_no_bit(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    shape: tuple[int, int, int],
    rule: Callable[[], VoteRule],
    shift: int,
) -> None:
    paths = write_all(tmp_path_factory.mktemp("order"), probabilities(seed, shape))
    weights = [1.0 + number % 3 for number in range(len(paths))]
    turn = shift % len(paths)
    first = vote(read_words(paths), rule(), weights=weights)
    second = vote(read_words(paths[turn:] + paths[:turn]), rule(), weights=weights[turn:] + weights[:turn])
    assert (first.probabilities == second.probabilities).all()


@quick
@given(seed=seeds, rule=rules, weight=st.floats(1e-6, 1e6))
def test_equal_weights_are_no_weights(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rule: Callable[[], VoteRule], weight: float
) -> None:
    reading = read_words(write_all(tmp_path_factory.mktemp("equal"), probabilities(seed, (3, 4, 18))))
    weighted, plain = vote(reading, rule(), weights=[weight] * 3), vote(reading, rule())
    assert (weighted.probabilities == plain.probabilities).all()


@quick
@given(seed=seeds)
def test_one_file_votes_for_itself(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    stack = probabilities(seed, (1, 5, 18))
    paths = write_all(tmp_path_factory.mktemp("one"), stack)
    result = vote(read_words(paths), soft(), weights=[0.3])
    assert (result.probabilities == stack[0]).all()
    assert (result.ans == stack[0].argmax(axis=1)).all()
    assert list(answers_of(paths, hard).values()) == result.ans.tolist()


@quick
@given(seed=seeds, order=st.permutations(range(5)), rule=rules)
def test_shuffled_rows_give_every_image_the_same_answer(
    tmp_path_factory: pytest.TempPathFactory, seed: int, order: list[int], rule: Callable[[], VoteRule]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    stack = probabilities(seed, (3, 5, 3))
    paths = write_all(folder, stack)
    before = answers_of(paths, rule)
    for path, rows in list(zip(paths, stack, strict=True))[:2]:
        write_soft(path, [names(5)[row] for row in order], rows[order])
    assert answers_of(paths, rule) == before


@quick
@given(seed=seeds, weights=st.lists(st.floats(0.01, 100), min_size=3, max_size=3))
def test_soft_is_the_weighted_mean(tmp_path_factory: pytest.TempPathFactory, seed: int, weights: list[float]) -> None:
    stack = probabilities(seed, (3, 4, 18))
    result = vote(read_words(write_all(tmp_path_factory.mktemp("mean"), stack)), soft(), weights=weights)
    by_hand = sum(weight * rows for weight, rows in zip(weights, stack, strict=True)) / sum(weights)
    assert result.probabilities == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize(
    ("rows", "weights", "winner"),
    [
        ([[0.6, 0.4, 0], [0.6, 0.4, 0], [0, 0, 1]], [1, 1, 1], 0),  # two of three, although 2 has the larger mean
        ([[0.6, 0.4, 0], [0.6, 0.4, 0], [0, 0, 1]], [1, 1, 3], 2),
        ([[0.6, 0.4, 0], [0, 0.9, 0.1]], [1, 1], 1),  # a tie: the larger mean
        ([[0, 0.7, 0.3], [0, 0.3, 0.7]], [1, 1], 1),  # a tie of the means too: the lower class
        ([[0.4, 0.6, 0], [0.6, 0.4, 0]], [0, 1], 0),
    ],
)
def test_hard_counts_answers_and_breaks_ties(rows: list[list[float]], weights: list[float], winner: int) -> None:
    scores = hard()(np.array(rows)[:, None], np.array(weights, dtype=np.float64))
    assert scores.shape == (1, 3)
    assert scores.argmax() == winner
    assert scores.sum() == pytest.approx(1)


def test_logits_are_mixed_as_probabilities(tmp_path: Path) -> None:
    logits = np.array([[3.0, 1.0], [0.0, 2.0]])
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    paths = [tmp_path / "logits.csv", tmp_path / "shares.csv"]
    for path, values in zip(paths, (logits, shares), strict=True):
        write_soft(path, names(2), values)
    result = vote(read_words(paths), soft())
    assert result.probabilities == pytest.approx(shares)
    assert result.ballots[0].spaces == ("logit", "prob")
    assert vote(read_words(paths), soft(), space="logit").ballots[0].spaces == ("logit", "logit")
    with pytest.raises(PredictionError, match=r"logits\.csv, line 2"):
        vote(read_words(paths), soft(), space="prob")


def test_agreement_is_counted_for_each_pair_and_for_all(tmp_path: Path) -> None:
    answers = [[0, 1, 2, 0], [0, 1, 1, 1], [0, 2, 1, 1]]
    (ballot,) = vote(read_words(write_all(tmp_path, np.eye(3)[np.array(answers)])), soft()).ballots
    assert ballot.agreement.tolist() == [[1, 0.5, 0.25], [0.5, 1, 0.75], [0.25, 0.75, 1]]
    assert ballot.unanimous == 1


def test_hard_files_vote_among_hard_and_soft_ones(tmp_path: Path) -> None:
    paths = write_all(tmp_path, np.eye(18)[[[3, 4]]])
    for name, answers in (("h1", [17, 4]), ("h2", [17, 5])):
        paths.append(tmp_path / f"{name}.csv")
        write_hard(paths[-1], names(2), np.array(answers))
    result = vote(read_words(paths), hard(), from_answers=True)
    assert result.ans.tolist() == [17, 4]
    assert result.probabilities.shape[1] == 18
    assert result.ballots[0].spaces == ("prob", "hard", "hard")
    with pytest.raises(PredictionError, match=r"h1\.csv holds answers") as caught:
        vote(read_words(paths), soft())
    assert "--how=hard" in caught.value.hint


@pytest.mark.parametrize(("view", "classes"), [("mask", 3), ("gender", 2), ("multi", 18), ("", 18)])
def test_hard_files_alone_have_the_classes_of_their_run(tmp_path: Path, view: str, classes: int) -> None:
    paths = [in_run(tmp_path / name, view, classes, answers_only=True) for name in ("one", "two")]
    result = vote(read_words(paths), hard(), from_answers=True)
    assert result.probabilities.shape[1] == classes
    assert result.ans.tolist() == [0, classes - 1]


def test_a_hard_file_of_a_task_beside_one_of_no_known_run_is_refused(tmp_path: Path) -> None:
    known, unknown = (in_run(tmp_path / name, name, 3, answers_only=True) for name in ("mask", ""))
    assert f"{known} is of 3 classes and {unknown} of 18" in refusal(PredictionError, [known, unknown])


def test_an_answer_outside_the_task_of_the_run_is_refused(tmp_path: Path) -> None:
    path = in_run(tmp_path / "run", "mask", 18, answers_only=True)
    with pytest.raises(PredictionError) as caught:
        answers_of([path], hard)
    assert f"{path}, line 3: ans is 17; the classes of mask are 0..2" in str(caught.value)


def fusion(folder: Path, seed: int, counts: tuple[int, int, int]) -> tuple[list[list[Path]], list[Array]]:
    """Write so many files of mask, gender and age."""
    stacks = [probabilities(seed + k, (count, 4, k)) for count, k in zip(counts, (3, 2, 3), strict=True)]
    return [
        write_all(folder / task, stack) for task, stack in zip(("mask", "gender", "age"), stacks, strict=True)
    ], stacks


@quick
@given(seed=seeds, counts=st.tuples(*[st.integers(1, 3)] * 3), draw=st.data())
def test_fusion_is_the_product_of_the_three_votes(
    tmp_path_factory: pytest.TempPathFactory, seed: int, counts: tuple[int, int, int], draw: st.DataObject
) -> None:
    groups, stacks = fusion(tmp_path_factory.mktemp("fusion"), seed, counts)
    size = sum(counts)
    weights = draw.draw(st.lists(st.floats(0.1, 10), min_size=size, max_size=size))
    result = vote(read_flags(*groups), soft(), weights=weights)
    left = iter(weights)
    means = [np.average(stack, axis=0, weights=[next(left) for _ in stack]) for stack in stacks]
    for row, ans in itertools.product(range(4), range(18)):
        by_hand = np.prod([mean[row, answer] for mean, answer in zip(means, decode(ans), strict=True)])
        assert result.probabilities[row, ans] == pytest.approx(by_hand, abs=1e-12)
    assert [len(ballot.paths) for ballot in result.ballots] == list(counts)


def test_three_words_of_3_2_3_classes_are_mask_gender_and_age(tmp_path: Path) -> None:
    groups, _ = fusion(tmp_path, 1, (1, 1, 1))
    words, flags = read_words([paths[0] for paths in groups]), read_flags(*groups)
    assert words.describe("soft") == flags.describe("soft") == "read as mask, gender and age; fused by the product"
    first, second = vote(words, soft()), vote(flags, soft())
    assert (first.probabilities == second.probabilities).all()
    assert first.probabilities.shape[1] == 18


def test_fusion_aligns_all_files_to_the_first(tmp_path: Path) -> None:
    groups, stacks = fusion(tmp_path, 1, (1, 1, 1))
    before = vote(read_flags(*groups), soft())
    write_soft(groups[2][0], names(4)[::-1], stacks[2][0][::-1])
    after = vote(read_flags(*groups), soft())
    assert after.ids == before.ids
    assert (after.probabilities == before.probabilities).all()
    write_soft(groups[2][0], names(3), stacks[2][0][:3])
    with pytest.raises(PredictionError, match="hold different ids") as caught:
        vote(read_flags(*groups), soft())
    assert str(groups[2][0]) in str(caught.value)


def test_hard_files_fuse_by_their_answers(tmp_path: Path) -> None:
    paths = [
        in_run(tmp_path / view, view, k, answers_only=True) for view, k in (("mask", 3), ("gender", 2), ("age", 3))
    ]
    assert answers_of(paths, hard) == {"0.jpg": 0, "1.jpg": 17}


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([("a", "", 18), ("b", "", 18), ("c", "multi", 18)], "3 files of 18 classes; soft vote"),
        ([("a", "", 18)], "1 file of 18 classes; soft vote"),
        ([("a", "age", 3), ("b", "", 3)], "2 files of age, 3 classes; soft vote"),
        ([("a", "", 3), ("b", "", 3)], "2 files of 3 classes; soft vote"),
        ([("a", "", 2)], "1 file of gender, 2 classes; soft vote"),
        (
            [("a", "mask", 3)] + [(name, "", k) for name, k in (("b", 2), ("c", 3))],
            "read as mask, gender and age; fused by the product",
        ),
    ],
)
def test_the_reading_of_plain_words_is_one_sentence(
    tmp_path: Path, files: list[tuple[str, str, int]], sentence: str
) -> None:
    paths = [in_run(tmp_path / name, view, classes) for name, view, classes in files]
    assert read_words(paths).describe("soft") == sentence


def test_several_files_a_task_are_described_by_their_number(tmp_path: Path) -> None:
    groups, _ = fusion(tmp_path, 1, (2, 1, 1))
    sentence = "2 files of mask, 1 file of gender and 1 file of age; hard vote in each, fused by the product"
    assert read_flags(*groups).describe("hard") == sentence


@pytest.mark.parametrize(
    "views", [("age", "gender", "mask"), ("age", "gender", ""), ("", "gender", "mask"), ("age", "", "mask")]
)
def test_words_in_the_wrong_order_are_told_the_right_one(tmp_path: Path, views: tuple[str, str, str]) -> None:
    age, gender, mask = (
        in_run(tmp_path / str(place), view, k) for place, (view, k) in enumerate(zip(views, (3, 2, 3), strict=True))
    )
    message = refusal(PredictionError, [age, gender, mask])
    assert "not in the order mask, gender, age" in message
    assert f"Give them as {mask} {gender} {age}" in message
    assert f"--mask={mask} --gender={gender} --age={age}" in message


def test_two_files_of_one_task_in_a_fusion_are_refused(tmp_path: Path) -> None:
    first, gender, second = (
        in_run(tmp_path / name, view, k) for name, view, k in (("a", "mask", 3), ("b", "", 2), ("c", "mask", 3))
    )
    message = refusal(PredictionError, [first, gender, second])
    assert f"{second} is mask" in message
    assert f"--mask={first},{second} --gender={gender} --age=F" in message


def test_mask_beside_age_is_refused(tmp_path: Path) -> None:
    mask, age = (in_run(tmp_path / view, view, 3) for view in ("mask", "age"))
    message = refusal(PredictionError, [mask, age])
    assert f"{mask} is mask and {age} is age" in message
    assert f"--mask={mask} --gender=F --age={age}" in message
    untold = in_run(tmp_path / "untold", "", 3)
    assert f"--mask={mask} --gender=F --age={age}" in refusal(PredictionError, [mask, age, untold])


@pytest.mark.parametrize("counts", [(2, 3, 3), (3, 3, 2), (3, 2), (3, 2, 3, 3)])
def test_other_mixtures_of_tasks_are_refused_with_the_flags(tmp_path: Path, counts: tuple[int, ...]) -> None:
    paths = [in_run(tmp_path / str(place), "", count) for place, count in enumerate(counts)]
    message = refusal(PredictionError, paths)
    other = next(place for place, count in enumerate(counts) if count != counts[0])
    assert f"{paths[0]} is of {counts[0]} classes and {paths[other]} of {counts[other]}" in message
    assert f"--mask=F --gender={paths[counts.index(2)]} --age=F" in message


def test_a_task_beside_eighteen_classes_is_refused(tmp_path: Path) -> None:
    multi, mask = in_run(tmp_path / "multi", "multi", 18), in_run(tmp_path / "mask", "mask", 3)
    message = refusal(PredictionError, [multi, mask])
    assert f"{multi} is of 18 classes and {mask} of 3" in message
    assert "--soft_out" in message


@pytest.mark.parametrize(
    ("view", "classes", "reason"),
    [
        ("age", 3, "is given as mask, but the run it lies in learned age"),
        ("", 2, "has 2 columns of classes; mask needs 3"),
    ],
)
def test_a_flag_that_a_file_contradicts_is_refused(tmp_path: Path, view: str, classes: int, reason: str) -> None:
    wrong = in_run(tmp_path / "wrong", view, classes)
    gender, age = in_run(tmp_path / "gender", "", 2), in_run(tmp_path / "age", "", 3)
    with pytest.raises(PredictionError, match=reason) as caught:
        read_flags([wrong], [gender], [age])
    assert str(wrong) in caught.value.message


def test_a_hard_file_under_a_flag_must_hold_that_task(tmp_path: Path) -> None:
    paths = [in_run(tmp_path / name, "", k, answers_only=True) for name, k in (("mask", 18), ("gender", 2), ("age", 3))]
    with pytest.raises(PredictionError, match=r"mask\.csv, line 3: ans is 17; the classes of mask are 0\.\.2"):
        vote(read_flags(*([path] for path in paths)), hard(), from_answers=True)


def test_a_fusion_needs_all_three_flags(tmp_path: Path) -> None:
    path = in_run(tmp_path / "mask", "", 3)
    with pytest.raises(UsageError, match="--age is missing"):
        read_flags([path], [path], [])


def test_no_file_and_a_file_given_twice_are_refused(tmp_path: Path) -> None:
    assert "at least one" in refusal(UsageError, [])
    path = in_run(tmp_path / "run", "", 18)
    same = path.parent / ".." / "predictions" / path.name
    assert f"{same} is given twice" in refusal(UsageError, [path, same])
    with pytest.raises(UsageError, match="given twice"):
        read_flags([path], [path], [path])


def run_vote(folder: Path, weights: Sequence[float]) -> Result:
    return vote(read_words(write_all(folder, probabilities(1, (2, 3, 18)))), soft(), weights=weights)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ([1], "1 given for 2 files"),
        ([1, 2, 3], "3 given for 2 files"),
        ([1, -1], "0 or more"),
        ([1, float("nan")], "finite"),
        ([1, float("inf")], "finite"),
        ([0, 0], r"all weights of .*0\.csv, .*1\.csv are 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, weights: list[float], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        run_vote(tmp_path, weights)


def test_extreme_weights_are_no_fault(tmp_path: Path) -> None:
    assert np.isfinite(run_vote(tmp_path, [1e308, 1e308]).probabilities).all()
    assert np.isfinite(run_vote(tmp_path, [5e-324, 0]).probabilities).all()


def test_each_task_of_a_fusion_needs_a_weight(tmp_path: Path) -> None:
    groups, _ = fusion(tmp_path, 1, (1, 2, 1))
    with pytest.raises(UsageError, match=r"gender.*0\.csv, .*gender.*1\.csv are 0"):
        vote(read_flags(*groups), soft(), weights=[1, 0, 0, 1])


@pytest.mark.parametrize(
    ("rule", "reason"), [(lambda rows, _: rows[0, 0], r"\(18,\)"), (lambda rows, _: rows[0] * np.nan, "not finite")]
)
def test_a_rule_that_breaks_its_contract_is_refused(tmp_path: Path, rule: VoteRule, reason: str) -> None:
    reading: Reading = read_words(write_all(tmp_path, probabilities(1, (2, 3, 18))))
    with pytest.raises(PluginError, match=reason):
        vote(reading, rule)
