"""The reporter by itself, told of runs: options, ends, figures that are missing, and a server that is there or not."""

import json
import math
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from maskkit_wandb.options import Mode
from maskkit_wandb.reporter import WandbReporter
from maskkit_wandb.transaction_log import logs_of, read_history, read_records
from wandb_server import WandbServer, serving

from maskkit import EpochEnd, RunEnd, RunStart, StepEnd
from maskkit.errors import MaskkitError, UsageError
from maskkit.testing import Check

CLASSES = ("one", "two")


@pytest.fixture
def server(logged_out: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A server of W&B, and a key for it."""
    with serving() as one:
        logged_out.setenv("WANDB_BASE_URL", one.address)
        logged_out.setenv("WANDB_API_KEY", "0" * 40)
        yield one


@pytest.fixture
def unreachable(logged_out: pytest.MonkeyPatch) -> None:
    """A key for a server that is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    logged_out.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    logged_out.setenv("WANDB_API_KEY", "0" * 40)
    logged_out.setenv("WANDB_HTTP_TIMEOUT", "1")


def run_start(folder: Path, first_epoch: int = 0, **flags: Any) -> RunStart:
    return RunStart(
        run_dir=folder / "exp",
        config={"lr": 0.001, "epochs": 9, **flags},
        classes=CLASSES,
        epochs=9,
        steps_per_epoch=2,
        plan={"model": "BaseModel"},
        first_epoch=first_epoch,
        total_steps=2 * first_epoch,
    )


def epoch_end(epoch: int, loss: float | None = 0.5, *, is_best: bool = True) -> EpochEnd:
    metrics = {"epoch": epoch, "valid_loss": loss, "valid_accuracy": 0.25, "valid_f1_macro": epoch / 8}
    return EpochEnd(metrics, np.array([[3, 1], [0, 2]]), is_best, (0.25, 0.75))


def report(reporter: WandbReporter, epochs: range) -> None:
    """Tell of epochs of two steps, the second of which has a loss."""
    for epoch in epochs:
        reporter.on_step_end(StepEnd(epoch, 1, 2 * epoch + 1, None, 0.001))
        reporter.on_step_end(StepEnd(epoch, 2, 2 * epoch + 2, 0.5, 0.001))
        reporter.on_epoch_end(epoch_end(epoch))


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for log in logs_of(folder / "exp" / "wandb") for row in read_history(log)]


def epochs_of(history: list[dict[str, Any]]) -> list[int]:
    return [row["epoch"] for row in history if "valid/f1_macro" in row]


def steps_of(history: list[dict[str, Any]]) -> list[int]:
    return [row["step"] for row in history if "step/loss" in row]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"project": "a/b"}, "project"),
        ({"project": ""}, "project"),
        ({"tags": ("fine", "x" * 65)}, "tags"),
        ({"group": " "}, "group"),
    ],
)
def test_an_option_that_wandb_would_refuse_is_refused_at_once(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=f"option {named} of reporter wandb takes 1 to") as caught:
        WandbReporter(**options)
    assert f'"{named}"' in caught.value.hint


@pytest.mark.parametrize(
    ("status", "code"), [("completed", 0), ("stopped early", 0), ("failed", 1), ("interrupted", 255)]
)
def test_a_run_ends_in_wandb_as_it_ended(
    tmp_path: Path,
    logged_out: pytest.MonkeyPatch,
    status: Literal["completed", "stopped early", "failed", "interrupted"],
    code: int,
) -> None:
    del logged_out
    reporter = WandbReporter(mode="offline")
    reporter.on_run_start(run_start(tmp_path))
    reporter.on_run_end(RunEnd(status, None))
    (log,) = logs_of(tmp_path / "exp" / "wandb")
    assert [one.exit.exit_code for one in read_records(log) if one.WhichOneof("record_type") == "exit"] == [code]


def test_what_is_missing_is_left_out_and_what_is_no_number_is_told(
    tmp_path: Path, logged_out: pytest.MonkeyPatch
) -> None:
    del logged_out
    reporter = WandbReporter(mode="offline")
    reporter.on_run_start(run_start(tmp_path))
    reporter.on_epoch_end(epoch_end(0, None))
    reporter.on_epoch_end(epoch_end(1, math.nan, is_best=False))
    reporter.on_run_end(RunEnd("completed", epoch_end(0, None)))
    without, nan, _ = rows(tmp_path)
    assert "valid/loss" not in without
    assert "best/loss" not in without
    assert without["best/accuracy"] == 0.25
    assert math.isnan(nan["valid/loss"])
    assert "best/accuracy" not in nan


def test_steps_that_memory_ran_out_in_are_not_told_twice(tmp_path: Path, logged_out: pytest.MonkeyPatch) -> None:
    """Then the epoch begins anew, without another start of the run."""
    del logged_out
    reporter = WandbReporter(mode="offline")
    reporter.on_run_start(run_start(tmp_path))
    report(reporter, range(2))
    reporter.on_step_end(StepEnd(2, 1, 5, 9.5, 0.001))
    reporter.on_step_end(StepEnd(2, 1, 5, 9.5, 0.001))
    report(reporter, range(2, 3))
    reporter.on_run_end(RunEnd("completed", None))
    assert steps_of(rows(tmp_path)) == [2, 4, 5, 6]
    assert epochs_of(rows(tmp_path)) == [0, 1, 2]


def test_secrets_are_not_told(tmp_path: Path, logged_out: pytest.MonkeyPatch) -> None:
    del logged_out
    reporter = WandbReporter(mode="offline")
    secret: dict[str, Any] = {
        "weights": "https://me:pass@models.example/a.pth?key=abc",
        "reporters_args": {"x": {"key": "abc"}},
    }
    reporter.on_run_start(run_start(tmp_path, **secret))
    reporter.on_run_end(RunEnd("completed", None))
    (log,) = logs_of(tmp_path / "exp" / "wandb")
    (run,) = (one.run for one in read_records(log) if one.WhichOneof("record_type") == "run")
    config = {one.key: json.loads(one.value_json) for one in run.config.update}
    assert config["weights"] == "https://models.example/a.pth"
    assert config["lr"] == 0.001
    assert b"abc" not in log.read_bytes()


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_reporter_that_is_disabled_writes_nothing(tmp_path: Path, logged_out: pytest.MonkeyPatch, how: str) -> None:
    if how == "variable":
        logged_out.setenv("WANDB_MODE", "disabled")
    reporter = WandbReporter(mode="disabled" if how == "option" else "auto")
    reporter.on_run_start(run_start(tmp_path))
    report(reporter, range(1))
    reporter.on_run_end(RunEnd("completed", epoch_end(0)))
    assert list(tmp_path.iterdir()) == []


def test_auto_is_online_where_a_key_is_and_goes_on_as_the_same_run(
    tmp_path: Path, server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    first = WandbReporter(project="masks", tags=("a",))
    first.on_run_start(run_start(tmp_path))
    report(first, range(3))
    first.on_run_end(RunEnd("failed", None))
    ((run_id, run),) = server.runs.items()
    assert capsys.readouterr().out == f"wandb      {server.address}/me/masks/runs/{run_id}\n"
    assert (run.name, run.tags, run.exit_codes, run.flags["lr"]) == ("exp", ["a"], [1], 0.001)
    assert epochs_of(run.history) == [0, 1, 2]
    del run.history[-2:]  # as if the last step and the last epoch had never arrived; the summary comes with them
    run.summary = dict(run.history[-1])
    second = WandbReporter(project="masks")
    second.on_run_start(run_start(tmp_path, first_epoch=3))
    report(second, range(3, 4))
    second.on_run_end(RunEnd("completed", epoch_end(3)))
    assert list(server.runs) == [run_id]
    assert epochs_of(run.history) == [0, 1, 2, 3]
    assert steps_of(run.history) == [2, 4, 6, 8]
    numbers = [row["_step"] for row in run.history]
    assert numbers == sorted(set(numbers))
    assert run.summary["best/f1_macro"] == 0.375
    assert run.exit_codes == [1, 0]
    assert any(name.startswith("media/images/best/confusion") for name in run.files)


def test_an_epoch_that_is_trained_once_more_is_not_told_once_more(tmp_path: Path, server: WandbServer) -> None:
    for first_epoch in (0, 1):
        reporter = WandbReporter()
        reporter.on_run_start(run_start(tmp_path, first_epoch=first_epoch))
        report(reporter, range(first_epoch, 3))
        reporter.on_run_end(RunEnd("interrupted", None))
    (run,) = server.runs.values()
    assert epochs_of(run.history) == [0, 1, 2]
    assert steps_of(run.history) == [2, 4, 6]


@pytest.mark.usefixtures("unreachable")
def test_auto_goes_offline_where_the_server_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reporter = WandbReporter()
    reporter.on_run_start(run_start(tmp_path))
    report(reporter, range(1))
    reporter.on_run_end(RunEnd("completed", None))
    assert epochs_of(rows(tmp_path)) == [0]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("wandb      offline: Failed to authenticate with http://127.0.0.1")
    assert line.endswith(f"to upload it: wandb sync {tmp_path / 'exp' / 'wandb'}")


def test_auto_goes_offline_where_the_server_refuses_the_run(tmp_path: Path, server: WandbServer) -> None:
    server.refuses_runs = True
    reporter = WandbReporter()
    reporter.on_run_start(run_start(tmp_path))
    report(reporter, range(1))
    reporter.on_run_end(RunEnd("completed", None))
    assert epochs_of(rows(tmp_path)) == [0]


@pytest.mark.usefixtures("unreachable")
def test_online_says_before_the_run_begins_that_the_server_is_not_there() -> None:
    with pytest.raises(MaskkitError, match="mode=online of reporter wandb: Failed to authenticate") as caught:
        WandbReporter(mode="online")
    assert "wandb login" in caught.value.hint


@pytest.mark.parametrize("mode", ["auto", "online"])
def test_without_a_key_nobody_is_asked(
    tmp_path: Path, logged_out: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: Mode
) -> None:
    logged_out.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    if mode == "online":
        with pytest.raises(MaskkitError, match="no API key"):
            WandbReporter(mode=mode)
        return
    reporter = WandbReporter(mode=mode)
    reporter.on_run_start(run_start(tmp_path))
    reporter.on_run_end(RunEnd("completed", None))
    assert "offline: no API key" in capsys.readouterr().out


def test_a_log_cut_anywhere_is_read_up_to_the_cut(tmp_path: Path, logged_out: pytest.MonkeyPatch) -> None:
    """Many rows, so that records are split over the log's blocks of 32 KiB."""
    del logged_out
    reporter = WandbReporter(mode="offline")
    reporter.on_run_start(run_start(tmp_path))
    for epoch in range(300):
        reporter.on_epoch_end(epoch_end(epoch))
    reporter.on_run_end(RunEnd("completed", None))
    (log,) = logs_of(tmp_path / "exp" / "wandb")
    content = log.read_bytes()
    assert len(content) > 3 * 32 * 1024
    assert epochs_of(rows(tmp_path)) == list(range(300))
    for cut in [*range(0, len(content), 1999), *range(32 * 1024 - 20, 32 * 1024 + 20)]:
        log.write_bytes(content[:cut])
        found = epochs_of(rows(tmp_path))
        assert found == list(range(len(found))), cut


def test_what_wandb_lost_is_sent_when_the_run_goes_on(tmp_path: Path, logged_out: pytest.MonkeyPatch) -> None:
    """As by a kill, or a power cut in the middle of a line of the journal."""
    del logged_out
    first = WandbReporter(mode="offline")
    first.on_run_start(run_start(tmp_path))
    report(first, range(3))
    first.on_run_end(RunEnd("interrupted", None))
    (log,) = logs_of(tmp_path / "exp" / "wandb")
    log.write_bytes(log.read_bytes()[:2500])
    kept = epochs_of(rows(tmp_path))
    assert 2 not in kept
    with (tmp_path / "exp" / "wandb" / "rows.jsonl").open("a", encoding="utf-8") as journal:
        journal.write('{"epoch": 3, "val')
    second = WandbReporter(mode="offline")
    second.on_run_start(run_start(tmp_path, first_epoch=3))
    report(second, range(3, 4))
    second.on_run_end(RunEnd("completed", None))
    assert sorted(epochs_of(rows(tmp_path))) == [0, 1, 2, 3]
    assert sorted(steps_of(rows(tmp_path))) == [2, 4, 6, 8]


LISTED = """
import sys
from maskkit.cli.shell import main
assert main(["list-plugins", "--plugin=wandb"]) == 0
assert not {"torch", "wandb", "numpy"} & set(sys.modules), "loaded"
"""


def test_listing_it_loads_neither_torch_nor_wandb(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LISTED], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "wandb  maskkit-wandb" in done.stdout


def test_every_contract_of_maskkit_is_kept(maskkit_check: Check, logged_out: pytest.MonkeyPatch) -> None:
    del logged_out
    maskkit_check()
