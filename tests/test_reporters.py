"""What the reporters in the box write: metrics.csv, plain lines, and progress on a terminal."""

import csv
import math
import os
import pty
import re
import select
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from test_imports import HEAVY, loaded_by

from maskkit import EpochEnd, EpochStart, Reporter, RunEnd, RunStart, StepEnd
from maskkit.builtin.console_reporter import ConsoleReporter
from maskkit.builtin.csv_reporter import CsvReporter
from maskkit.reporting.events import METRIC_COLUMNS

PLAN = {"data": "168 images", "model": "BaseModel [0.12 M]"}
FIGURES = dict(
    zip(METRIC_COLUMNS, (0, 0.001, 2.5, 0.25, 2.25, 0.5, 0.125, 0.75, 0.875, 0.625, 3.5, 210.0), strict=True)
)


def start(run_dir: Path, *, epochs: int = 3, notices: tuple[str, ...] = (), first_epoch: int = 0) -> RunStart:
    """Return the start of a run of two steps an epoch."""
    return RunStart(run_dir, {}, ("one", "two"), epochs, 2, PLAN, notices, first_epoch, 2 * first_epoch)


def end_of(epoch: int, *, is_best: bool = False, **changes: float | None) -> EpochEnd:
    metrics: dict[str, float | None] = {**FIGURES, "epoch": epoch}
    return EpochEnd(metrics | changes, np.zeros((2, 2), dtype=np.int64), is_best)


def tell(reporter: Reporter, run_dir: Path, results: list[EpochEnd], outcome: RunEnd) -> None:
    """Tell a reporter a whole run of two steps an epoch."""
    reporter.on_run_start(start(run_dir, epochs=len(results)))
    for epoch, result in enumerate(results):
        reporter.on_epoch_start(EpochStart(epoch, len(results), 2))
        reporter.on_step_end(StepEnd(epoch, 1, 2 * epoch + 1, None, 0.001))
        reporter.on_step_end(StepEnd(epoch, 2, 2 * epoch + 2, 2.5 - epoch, 0.001))
        reporter.on_epoch_end(result)
    reporter.on_run_end(outcome)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_method_that_only_looks_like_an_event_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match=r"Deaf\.on_epochend is no event of a run; did you mean on_epoch_end\?"):
        type("Deaf", (Reporter,), {"on_epochend": print})
    type("Odd", (Reporter,), {"on_disk": True, "on_epoch_end": print})


def test_metrics_csv_has_its_columns_and_a_row_an_epoch_as_soon_as_it_is_done(tmp_path: Path) -> None:
    reporter = CsvReporter()
    reporter.on_run_start(start(tmp_path))
    for epoch in range(3):
        reporter.on_epoch_end(end_of(epoch))
        lines = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
        assert len(lines) == epoch + 2
    assert lines[0] == ",".join(METRIC_COLUMNS)
    assert lines[1] == "0,0.001,2.5,0.25,2.25,0.5,0.125,0.75,0.875,0.625,3.5,210"
    reporter.on_run_end(RunEnd("completed", None))


def test_metrics_csv_leaves_cells_empty_for_axes_that_a_view_lacks(tmp_path: Path) -> None:
    reporter = CsvReporter()
    reporter.on_run_start(start(tmp_path))
    reporter.on_epoch_end(end_of(0, valid_mask_accuracy=None, valid_gender_accuracy=None))
    (row,) = rows_of(tmp_path / "metrics.csv")
    assert list(row) == list(METRIC_COLUMNS)
    assert [name for name, cell in row.items() if not cell] == ["valid_mask_accuracy", "valid_gender_accuracy"]


def write_epochs(folder: Path, epochs: range, *, first_epoch: int = 0) -> Path:
    """Write some epochs, each with its number in its loss, and end without a word, as a killed run does."""
    reporter = CsvReporter()
    reporter.on_run_start(start(folder, first_epoch=first_epoch))
    for epoch in epochs:
        reporter.on_epoch_end(end_of(epoch, train_loss=epoch + 0.5))
    return folder / "metrics.csv"


@pytest.mark.parametrize("first_epoch", [0, 1, 3, 4])
def test_a_run_that_goes_on_leaves_one_row_an_epoch(tmp_path: Path, first_epoch: int) -> None:
    write_epochs(tmp_path, range(4))
    path = write_epochs(tmp_path, range(first_epoch, 6), first_epoch=first_epoch)
    assert [row["epoch"] for row in rows_of(path)] == ["0", "1", "2", "3", "4", "5"]
    assert [float(row["train_loss"]) for row in rows_of(path)] == [epoch + 0.5 for epoch in range(6)]
    assert list(tmp_path.iterdir()) == [path]


def test_wherever_a_row_was_cut_short_only_whole_ones_stay(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = write_epochs(tmp_path_factory.mktemp("whole"), range(2)).read_bytes()
    ends = [match.end() for match in re.finditer(b"\n", whole)]
    assert len(ends) == 3
    for size in range(len(whole) + 1):
        path = tmp_path / "metrics.csv"
        path.write_bytes(whole[:size])
        CsvReporter().on_run_start(start(tmp_path, first_epoch=2))
        kept = max(end for end in (0, *ends) if end <= size)
        if kept <= ends[0]:
            assert not path.exists(), "a header without rows is written again"
        else:
            assert path.read_bytes() == whole[:kept]


def test_what_a_crash_of_the_machine_left_in_place_of_a_row_is_dropped(tmp_path: Path) -> None:
    path = write_epochs(tmp_path, range(2))
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 40 + b"\n\xff\n\n")
    CsvReporter().on_run_start(start(tmp_path, first_epoch=2))
    assert path.read_bytes() == whole


def test_metrics_csv_keeps_small_large_and_missing_numbers(tmp_path: Path) -> None:
    reporter = CsvReporter()
    reporter.on_run_start(start(tmp_path))
    reporter.on_epoch_end(end_of(0, lr=1.2345e-30, valid_loss=1e20 / 3, valid_f1_macro=math.nan))
    (row,) = rows_of(tmp_path / "metrics.csv")
    assert float(row["lr"]) == pytest.approx(1.2345e-30)
    assert float(row["valid_loss"]) == pytest.approx(1e20 / 3, rel=1e-9)
    assert math.isnan(float(row["valid_f1_macro"]))


def test_without_a_terminal_there_is_one_plain_line_an_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [end_of(0, is_best=True), end_of(1, valid_f1_macro=0.0625), end_of(2, is_best=True, valid_f1_macro=0.25)]
    tell(ConsoleReporter(), tmp_path, results, RunEnd("completed", results[2]))
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert printed.err == ""
    assert "\x1b" not in printed.out
    assert "\r" not in printed.out
    assert lines[:3] == ["data       168 images", "model      BaseModel [0.12 M]", "epochs     3, of 2 steps each"]
    figures = "train loss 2.5000 acc 0.250  valid loss 2.2500 acc 0.500"
    assert lines[3:6] == [
        f"epoch   1/3  lr 0.001  {figures} F1 0.1250  3.5 s  210 images/s  best",
        f"epoch   2/3  lr 0.001  {figures} F1 0.0625  3.5 s  210 images/s",
        f"epoch   3/3  lr 0.001  {figures} F1 0.2500  3.5 s  210 images/s  best",
    ]
    assert "Best epoch: 3" in lines[6]


def table_in(text: str) -> dict[str, str]:
    return dict(re.findall(r"│ ([a-zA-Z0-9 ]+?) +│ +([0-9.]+) │", text))


def test_the_table_at_the_end_has_the_axes_that_the_view_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = {"macro F1": "0.1250", "accuracy": "0.5000", "mask accuracy": "0.7500"}
    every |= {"gender accuracy": "0.8750", "age accuracy": "0.6250"}
    result = end_of(0, is_best=True)
    tell(ConsoleReporter(), tmp_path, [result], RunEnd("completed", result))
    assert table_in(capsys.readouterr().out) == every
    result = end_of(0, is_best=True, valid_mask_accuracy=None, valid_age_accuracy=None)
    tell(ConsoleReporter(), tmp_path, [result], RunEnd("completed", result))
    assert set(table_in(capsys.readouterr().out)) == {"macro F1", "accuracy", "gender accuracy"}


@pytest.mark.parametrize(
    ("outcome", "last"),
    [
        (RunEnd("failed", None, "the loss became nan [in step 3]"), "failed: the loss became nan [in step 3]"),
        (RunEnd("interrupted", None), "interrupted"),
        (RunEnd("stopped early", end_of(0)), "stopped early"),
    ],
)
def test_an_end_that_is_not_the_plans_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], outcome: RunEnd, last: str
) -> None:
    reporter = ConsoleReporter()
    reporter.on_run_start(start(tmp_path, notices=("the faces are drawn [really]",)))
    reporter.on_run_end(outcome)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Note: the faces are drawn [really]"
    assert lines[-1] == last


def test_a_run_that_goes_on_says_with_which_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleReporter().on_run_start(start(tmp_path, first_epoch=1))
    assert capsys.readouterr().out.splitlines()[-1] == "epochs     3, of 2 steps each; going on with epoch 2"


def on_terminal(command: list[str | Path], environment: Mapping[str, str], folder: Path, timeout: float = 120) -> str:
    """Return what a command writes to a pseudo-terminal of its own."""
    ours, theirs = pty.openpty()
    settings = dict(environment) | {"TERM": "xterm-256color", "COLUMNS": "150", "LINES": "40"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=settings, cwd=folder) as process:
        os.close(theirs)
        written, until = b"", time.monotonic() + timeout
        while time.monotonic() < until and _wait(ours, process):
            try:
                written += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        process.kill()
    os.close(ours)
    assert process.returncode == 0, written.decode(errors="replace")
    return written.decode()


def _wait(handle: int, process: "subprocess.Popen[bytes]") -> bool:
    """Wait until there is something to read; return whether there may be more."""
    while not select.select([handle], [], [], 0.2)[0]:
        if process.poll() is not None:
            return False
    return True


BEGUN_TWICE = """
from pathlib import Path
from maskkit import EpochEnd, EpochStart, RunEnd, RunStart, StepEnd
from maskkit.builtin.console_reporter import ConsoleReporter

reporter = ConsoleReporter()
reporter.on_run_start(RunStart(Path(), {}, ("a", "b"), 3, 5, {}, (), 1, 5))
reporter.on_epoch_start(EpochStart(1, 3, 5))
for step in (1, 2, 3):
    reporter.on_step_end(StepEnd(1, step, 5 + step, 1.0, 0.1))
reporter.on_epoch_start(EpochStart(1, 3, 10))
for step in range(1, 11):
    reporter.on_step_end(StepEnd(1, step, 5 + step, 1.0, 0.1))
reporter.on_run_end(RunEnd("interrupted", None))
"""


def test_an_epoch_that_begins_again_in_smaller_steps_is_not_counted_twice(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """A run goes on with the second of three epochs; after three of five steps that epoch begins anew in ten."""
    shown = on_terminal([sys.executable, "-c", BEGUN_TWICE], environment, tmp_path)
    of_the_run = re.findall(r"epochs .*?(\d+/\d+)", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown))
    assert of_the_run[0] == "5/15"
    assert next(figures for figures in of_the_run if figures.endswith("/30")) == "10/30"
    assert of_the_run[-1] == "20/30"


def test_reporters_beside_tensorboard_load_nothing_heavy(environment: dict[str, str], tmp_path: Path) -> None:
    code = "from maskkit.builtin import console_reporter, csv_reporter"
    assert loaded_by(code, env=environment, cwd=tmp_path).isdisjoint({*HEAVY, "numpy", "pandas"})


@pytest.mark.slow
def test_a_terminal_shows_epochs_steps_and_the_time_left(
    environment: dict[str, str], train_images: Path, tmp_path: Path
) -> None:
    command = Path(sysconfig.get_path("scripts"), "maskkit")
    flags = ["--resize=32", "--epochs=3", "--batch_size=16", "--log_interval=2", "--eval_dir=none"]
    shown = on_terminal([command, "train", f"--data_dir={train_images}", *flags], environment, tmp_path)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert "\x1b[?25l" in shown, "the cursor is hidden while the bars move"
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "and is there again at the end"
    assert re.search(r"epochs .*\d+/33", plain), "steps of the whole run"
    for epoch in (1, 2, 3):
        assert re.search(rf"epoch {epoch}/3 .*\d+/11", plain), "steps of the epoch"
    assert re.search(r"\d+/33 +\d:\d\d:\d\d +left +\d:\d\d:\d\d", plain), "the time gone and the time left"
    assert re.search(r"loss \d\.\d{4}  lr 0\.001", plain)
    assert re.search(r"best F1 0\.\d{4}", plain)
    assert len(re.findall(r"epoch +\d/3 +lr ", plain)) == 3, "the line of each epoch stays"
    assert "Best epoch" in plain
