"""The table of a search's trials and its picture: what NNI's API tells, in order, whatever the trials did."""

import csv
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from maskkit.cli.arguments import read_arguments
from maskkit.config import RunFlags
from maskkit.flags import Layer, as_words, build, flags_of
from maskkit.tuning.figure import parallel_coordinates
from maskkit.tuning.nni.answers import read_trials
from maskkit.tuning.trials import Trial, best_of, write_trials

# As NNI 3.0 answered, but for the ids: values are texts of JSON, and times are in milliseconds.
JOBS = [
    {
        "trialJobId": "b",
        "sequenceId": 1,
        "status": "FAILED",
        "startTime": 6000,
        "endTime": 7500,
        "hyperParameters": ['{"parameter_id":1,"parameters":{"lr":0.1,"criterion":{"_name":"focal","gamma":2}}}'],
    },
    {
        "trialJobId": "a",
        "sequenceId": 0,
        "status": "SUCCEEDED",
        "startTime": 1000,
        "endTime": 5000,
        "hyperParameters": ['{"parameter_id":0,"parameters":{"lr":0.01,"criterion":{"_name":"f1"}}}'],
    },
    {
        "trialJobId": "c",
        "sequenceId": 2,
        "status": "RUNNING",
        "startTime": 8000,
        "hyperParameters": ['{"parameter_id":2,"parameters":{"lr":0.001,"criterion":{"_name":"f1"}}}'],
    },
    {"trialJobId": "d", "sequenceId": 3, "status": "WAITING", "hyperParameters": []},
]
METRICS = [
    {"trialJobId": "a", "type": "PERIODICAL", "sequence": "10", "data": '"0.3"'},
    {"trialJobId": "a", "type": "PERIODICAL", "sequence": "9", "data": '"0.5"'},
    {"trialJobId": "a", "type": "FINAL", "sequence": "0", "data": '"0.5"'},
    {"trialJobId": "c", "type": "PERIODICAL", "sequence": "0", "data": '"0.7"'},
]


def trial(number: int, score: float | None, **flags: Any) -> Trial:
    status = "FAILED" if score is None else "SUCCEEDED"
    return Trial(f"t{number}", number, status, flags, () if score is None else (score,), score, 1.0)


def test_trials_are_read_in_the_order_of_their_starts() -> None:
    first, second, third, last = read_trials(JOBS, METRICS, now=9.0)
    assert (first.id, first.scores, first.final, first.seconds) == ("a", (0.5, 0.3), 0.5, 4.0)
    assert first.flags == {"lr": 0.01, "criterion": "f1", "criterion_args": {}}
    assert second.flags["criterion_args"] == {"gamma": 2}
    assert (second.final, math.isnan(second.score), second.seconds) == (None, True, 1.5)
    assert (third.score, third.final, third.seconds, third.has_ended) == (0.7, None, 1.0, False)
    assert (last.flags, last.seconds) == ({}, None)
    assert best_of([first, second, third, last]) is first


def test_only_a_trial_that_ended_well_is_the_best_and_of_equals_the_earliest() -> None:
    assert best_of([]) is None
    assert best_of([trial(0, None)]) is None
    equals = [trial(0, 0.4), trial(1, 0.8), trial(2, 0.8), trial(3, None)]
    assert best_of(equals) is equals[1]


def test_the_table_holds_every_trial_with_what_was_searched(tmp_path: Path) -> None:
    write_trials(tmp_path / "trials.csv", read_trials(JOBS, METRICS, now=9.0))
    with (tmp_path / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["a", "b", "c", "d"]
    assert [row["valid_f1_macro"] for row in rows] == ["0.5", "", "0.7", ""]
    assert [row["seconds"] for row in rows] == ["4.0", "1.5", "1.0", ""]
    assert rows[1]["criterion_args"] == '{"gamma": 2}'
    assert rows[3]["lr"] == ""


def heights(figure: Figure) -> list[list[float]]:
    """Return the heights of the lines of trials, which are those that run across, in the order of the trials."""
    (axes,) = figure.axes
    points = [np.asarray(line.get_xydata()) for line in axes.lines]
    return [line[:, 1].tolist() for line in points if len({*line[:, 0].tolist()}) == len(line)]


def test_a_line_runs_through_the_values_of_its_trial_up_to_its_score() -> None:
    trials = [
        trial(0, 0.2, lr=0.0001, criterion="f1", seed=1),
        trial(1, 0.6, lr=0.01, criterion="focal", seed=1),
        trial(2, 0.4, lr=0.001, criterion="focal", seed=1),
    ]
    figure = parallel_coordinates(trials)
    assert heights(figure) == [
        pytest.approx([0, 0, 0]),  # the rate by its powers, since it spans two of them
        pytest.approx([1, 1, 1]),
        pytest.approx([0.5, 1, 0.5]),
    ]
    written = {text.get_text() for text in figure.axes[0].texts}
    assert {"lr", "criterion", "macro F1", "0.0001", "0.01", "f1", "focal", "0.2", "0.6"} <= written
    assert "seed" not in written  # which did not vary
    widths = [line.get_linewidth() for line in figure.axes[0].lines[:3]]
    assert max(widths) == widths[1]


@pytest.mark.parametrize(
    "trials",
    [
        [trial(0, 0.5, lr=0.1)],
        [trial(0, 0.5, lr=0.1), trial(1, 0.5, lr=0.2)],
        [trial(0, 0.5), trial(1, 0.6, weights="$x$_^.pth")],
        [trial(0, 0.5, criterion_args={"gamma": 1}), trial(1, 0.6, criterion_args={"gamma": 2})],
        [trial(number, number / 100, batch_size=number, patience=-number) for number in range(90)],
        [trial(number, 0.1 + number / 1000, lr=0.1 + number / 10_000) for number in range(6)],
        [trial(number, score, lr=score) for number, score in enumerate([0.1, 0.101, 0.102, 0.9, 0.5])],
    ],
    ids=["one", "equal scores", "a flag that one has", "options", "many", "near", "some near"],
)
def test_any_search_can_be_drawn_and_no_text_lies_over_another(trials: list[Trial], tmp_path: Path) -> None:
    figure = parallel_coordinates(trials)
    figure.savefig(tmp_path / "trials.png")
    assert all(0 <= height <= 1 for line in heights(figure) for height in line)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


options = st.dictionaries(st.from_regex(r"[a-z_]{1,6}", fullmatch=True), st.integers() | st.text() | st.booleans())
values = st.fixed_dictionaries(
    {},
    optional={
        "lr": st.floats(1e-12, 1e6),
        "batch_size": st.integers(1, 65536) | st.just("auto"),
        "epochs": st.integers(1, 10**6),
        "resize": st.tuples(st.integers(16, 4096), st.integers(16, 4096)),
        "pretrained": st.booleans() | st.just("auto"),
        "data_dir": st.text("abc/ .=-'\"$", min_size=1).map(lambda text: Path("x" + text + "x")),
        "criterion_args": options,
        "reporters": st.lists(st.sampled_from(["csv", "console"]), min_size=1, unique=True).map(tuple),
    },
)


@given(values)
def test_the_words_of_a_training_mean_what_it_was(given_values: dict[str, Any]) -> None:
    read = read_arguments(as_words(given_values), flags_of(RunFlags), "train")
    config, _ = build(RunFlags, [Layer("flag", read.flags)])
    assert {name: getattr(config, name) for name in given_values} == given_values
