"""What TensorBoard reads of a run: curves, flags, images and the plan, and one curve of a run that went on."""

import io
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import run as run_command
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import STORE_EVERYTHING_SIZE_GUIDANCE, EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import api_pb2, metadata
from test_reporters import end_of, rows_of, start, tell
from test_trainer import run, write_profiles

from maskkit import EpochEnd, Mistake, RunEnd, StepEnd
from maskkit.builtin.tensorboard_reporter import TensorBoardReporter
from maskkit.config import TrainConfig
from maskkit.flags import as_json
from maskkit.labels import VIEWS
from maskkit.reporting.events import METRIC_COLUMNS

CLASSES = ("one", "two")
BEST = ("best/f1_macro", "best/accuracy", "best/loss")
HPARAMS = (metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG)

Curves = dict[str, list[tuple[int, float]]]


def read(run_dir: Path) -> EventAccumulator:
    return EventAccumulator(str(run_dir / "tensorboard"), size_guidance=STORE_EVERYTHING_SIZE_GUIDANCE).Reload()


def curves(run_dir: Path) -> Curves:
    """Return the points of each curve as TensorBoard reads them, doubled ones too."""
    events = read(run_dir)
    return {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}


def name_in_tensorboard(column: str) -> str:
    part, _, figure = column.partition("_")
    return f"{part}/{figure}" if part in {"train", "valid"} else f"run/{column}"


def result_of(epoch: int, *, is_best: bool = False, mistakes: tuple[Mistake, ...] = ()) -> EpochEnd:
    """Return figures that tell the epochs apart."""
    counts = np.array([[3, 1], [epoch, 2]])
    figures = end_of(epoch, is_best=is_best, train_loss=epoch + 0.5, valid_f1_macro=epoch / 8)
    return replace(figures, counts=counts, class_f1=(epoch / 4, 0.75), mistakes=mistakes)


def write(run_dir: Path, epochs: range, *, first_epoch: int = 0) -> TensorBoardReporter:
    """Write some epochs of two steps; whether the run then ends or is killed is up to the caller."""
    while any(f".{int(time.time())}." in path.name for path in run_dir.rglob("*tfevents*")):
        time.sleep(0.05)  # files are read in the order of their names, which tell the second
    reporter = TensorBoardReporter()
    reporter.on_run_start(start(run_dir, epochs=epochs.stop, first_epoch=first_epoch))
    for epoch in epochs:
        for step in (1, 2):
            reporter.on_step_end(StepEnd(epoch, step, 2 * epoch + step, 10.0 * epoch + step, 0.001))
        reporter.on_epoch_end(result_of(epoch, is_best=True))
    return reporter


def hparams_of(run_dir: Path) -> tuple[api_pb2.Experiment, dict[str, Any], int]:
    """Return the columns, the values and the status of a run."""
    events = read(run_dir)
    experiment, begun, ended = (events.SummaryMetadata(tag).plugin_data.content for tag in HPARAMS)
    values = metadata.parse_session_start_info_plugin_data(begun).hparams
    return (
        metadata.parse_experiment_plugin_data(experiment),
        {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()},
        metadata.parse_session_end_info_plugin_data(ended).status,
    )


@pytest.mark.parametrize("view", ["multi", "gender"])
def test_tensorboard_reads_the_same_figures_as_metrics_csv(tmp_path: Path, view: str) -> None:
    """A real run of two epochs, three steps each."""
    folder = run(
        write_profiles(tmp_path),
        tmp_path,
        classification=view,
        reporters=("tensorboard", "csv"),
        epochs=2,
        log_interval=2,
    )
    found, rows = curves(folder), rows_of(folder / "metrics.csv")
    columns = [name for name in METRIC_COLUMNS if name != "epoch" and rows[0][name]]
    assert len(columns) == (11 if view == "multi" else 9)
    f1s = {f"f1/{name}" for name in VIEWS[view].classes}
    assert set(found) == {"step/loss", "step/lr", *map(name_in_tensorboard, columns), *f1s, *BEST}
    for column in columns:
        steps, values = zip(*found[name_in_tensorboard(column)], strict=True)
        assert steps == (0, 1)
        assert values == pytest.approx([float(row[column]) for row in rows], rel=1e-6)
    assert [step for step, _ in found["step/loss"]] == [2, 3, 5, 6]
    means = np.mean([[value for _, value in found[name]] for name in f1s], axis=0)
    assert means == pytest.approx([float(row["valid_f1_macro"]) for row in rows], rel=1e-5)


def test_the_best_so_far_moves_with_better_epochs_only(tmp_path: Path) -> None:
    results = [end_of(0, is_best=True), end_of(1, valid_f1_macro=0.0625), end_of(2, is_best=True, valid_f1_macro=0.25)]
    tell(TensorBoardReporter(), tmp_path, results, RunEnd("completed", results[2]))
    assert curves(tmp_path)["best/f1_macro"] == [(0, 0.125), (2, 0.25)]


def test_a_run_that_fails_leaves_what_was_reported(tmp_path: Path) -> None:
    reporter = TensorBoardReporter()
    reporter.on_run_start(start(tmp_path))
    reporter.on_step_end(StepEnd(0, 1, 1, 2.5, 0.001))
    reporter.on_run_end(RunEnd("failed", None, "the loss became nan"))
    assert curves(tmp_path)["step/loss"] == [(1, 2.5)]
    assert hparams_of(tmp_path)[2] == api_pb2.STATUS_FAILURE
    assert read(tmp_path).Tags()["images"] == []


def test_all_runs_have_the_same_columns_of_flags_whatever_their_values(tmp_path: Path) -> None:
    """TensorBoard takes the columns from any one of the runs, and fails at a text in a column of numbers."""
    flags: dict[str, dict[str, Any]] = {
        "plain": {},
        "other": {"clip_norm": 1.5, "lr_decay_step": 7, "pretrained": True, "model_args": {"a": ["b"] * 50}},
    }
    found = {}
    for name, changes in flags.items():
        reporter = TensorBoardReporter()
        reporter.on_run_start(replace(start(tmp_path / name), config=as_json(TrainConfig(**changes))))
        reporter.on_run_end(RunEnd("stopped early", None))
        found[name] = hparams_of(tmp_path / name)
    (columns, plain, status), (same_columns, other, _) = found["plain"], found["other"]
    assert columns == same_columns
    assert [metric.name.tag for metric in columns.metric_infos] == list(BEST)
    assert status == api_pb2.STATUS_SUCCESS
    assert plain["lr"] == 0.001
    assert plain["model"] == "BaseModel"
    assert plain["resize"] == "[128, 96]"
    assert (plain["pretrained"], other["pretrained"]) == ("auto", "true")
    assert "clip_norm" not in plain
    assert (other["clip_norm"], other["lr_decay_step"]) == (1.5, 7)
    assert other["model_args"].startswith('{"a": ["b", "b", ')
    assert {"name", "data_dir", "num_workers"}.isdisjoint(plain)
    types = {column.name: column.type for column in columns.hparam_infos}
    for name, value in [*plain.items(), *other.items()]:
        assert len(str(value)) <= 60
        kind = api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64
        assert types[name] == kind


@pytest.mark.parametrize("status", ["completed", "stopped early", "interrupted", "failed"])
def test_however_a_run_ends_the_confusion_and_the_mistakes_of_its_best_epoch_are_shown(
    tmp_path: Path, status: Any
) -> None:
    Image.new("RGB", (30, 40), "red").save(tmp_path / "red.png")
    mistakes = (Mistake(str(tmp_path / "red.png"), 0, 1, 0.97), Mistake(str(tmp_path / "gone.png"), 1, 0, 0.5))
    reporter = write(tmp_path, range(3))
    reporter.on_run_end(RunEnd(status, result_of(1, is_best=True, mistakes=mistakes)))
    events = read(tmp_path)
    assert events.Tags()["images"] == ["best/confusion", "best/mistakes"]
    for tag in events.Tags()["images"]:
        (shown,) = events.Images(tag)
        assert shown.step == 1
        with Image.open(io.BytesIO(shown.encoded_image_string)) as picture:
            assert picture.size == (shown.width, shown.height)
            is_red = (np.asarray(picture.convert("RGB")) == (255, 0, 0)).all(axis=2)
            assert is_red.any() == (tag == "best/mistakes")


def test_without_a_mistake_there_is_no_grid_of_them(tmp_path: Path) -> None:
    write(tmp_path, range(1)).on_run_end(RunEnd("completed", result_of(0, is_best=True)))
    assert read(tmp_path).Tags()["images"] == ["best/confusion"]


ONLY_AT_THE_END = """
import sys
from pathlib import Path
from test_tensorboard import result_of, write
from maskkit import RunEnd

reporter = write(Path("run"), range(1))
assert "matplotlib" not in sys.modules
reporter.on_run_end(RunEnd("completed", result_of(0, is_best=True)))
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""


def test_matplotlib_is_loaded_at_the_end_and_without_its_screens(environment: dict[str, str], tmp_path: Path) -> None:
    found = {"PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])}
    done = run_command(sys.executable, "-c", ONLY_AT_THE_END, env=environment | found, cwd=tmp_path)
    assert done.code == 0, done.err


def expected(num_epochs: int, num_steps: int) -> Curves:
    """Return the curves of so many whole epochs and steps, by hand."""
    epochs = range(num_epochs)
    found = {
        "step/loss": [(step, 10.0 * ((step - 1) // 2) + (step - 1) % 2 + 1) for step in range(1, num_steps + 1)],
        "train/loss": [(epoch, epoch + 0.5) for epoch in epochs],
        "f1/one": [(epoch, epoch / 4) for epoch in epochs],
        "best/f1_macro": [(epoch, epoch / 8) for epoch in epochs],
    }
    return {name: points for name, points in found.items() if points}


def some(found: Curves) -> Curves:
    return {name: points for name, points in found.items() if name in expected(1, 1)}


@pytest.mark.parametrize("first_epoch", [0, 1, 2, 3])
@pytest.mark.parametrize("is_killed", [True, False])
def test_a_run_that_goes_on_has_one_curve(tmp_path: Path, first_epoch: int, *, is_killed: bool) -> None:
    """It wrote three epochs, and the first step of a fourth, before it ended."""
    reporter = write(tmp_path, range(3))
    reporter.on_step_end(StepEnd(3, 1, 7, -1.0, 0.001))
    reporter.on_epoch_end(end_of(3, train_loss=-1.0))
    if not is_killed:
        reporter.on_run_end(RunEnd("interrupted", result_of(2, is_best=True)))
    write(tmp_path, range(first_epoch, 5), first_epoch=first_epoch).on_run_end(RunEnd("completed", result_of(4)))
    found = curves(tmp_path)
    assert some(found) == expected(5, 10)
    assert found["valid/loss"] == [(epoch, 2.25) for epoch in range(5)]
    assert [image.step for image in read(tmp_path).Images("best/confusion")] == [4]
    assert [one.step for one in read(tmp_path).Tensors("plan/text_summary")] == [0]
    assert hparams_of(tmp_path)[2] == api_pb2.STATUS_SUCCESS
    written = [value.tag for event in events_of(tmp_path) for value in event.summary.value]
    assert all(written.count(tag) == 1 for tag in HPARAMS)


def test_a_run_may_go_on_many_times(tmp_path: Path) -> None:
    for first_epoch in range(5):
        write(tmp_path, range(first_epoch, first_epoch + 3), first_epoch=first_epoch)
    assert some(curves(tmp_path)) == expected(7, 14)


def records_of(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the end and the data of each record: its length in 8 bytes, 4 of checksum, the data, 4 of checksum."""
    begin = 0
    while begin < len(content):
        (length,) = struct.unpack_from("<Q", content, begin)
        yield begin + 16 + length, content[begin + 12 : begin + 12 + length]
        begin += 16 + length


def events_of(run_dir: Path) -> list[Event]:
    files = sorted((run_dir / "tensorboard").iterdir())
    return [Event.FromString(data) for file in files for _, data in records_of(file.read_bytes())]


def test_a_file_cut_anywhere_loses_only_the_record_that_was_cut(tmp_path: Path) -> None:
    """Cut within the length, its checksum, the data and its checksum of every record, and between records."""
    write(tmp_path / "whole", range(2)).on_run_end(RunEnd("completed", None))
    (file,) = (tmp_path / "whole" / "tensorboard").iterdir()
    content = file.read_bytes()
    records = list(records_of(content))
    begins = [0, *(end for end, _ in records)]
    places = [0, 1, 8, 10, 12, 13]
    cuts = {begin + place for begin in begins for place in places} | {end - 2 for end, _ in records}
    for cut in sorted(cut for cut in cuts if cut <= len(content)):
        run_dir = tmp_path / "cut"
        (run_dir / "tensorboard").mkdir(parents=True)
        (run_dir / "tensorboard" / file.name).write_bytes(content[:cut])
        reporter = TensorBoardReporter()
        reporter.on_run_start(start(run_dir, first_epoch=2))
        reporter.on_run_end(RunEnd("interrupted", None))
        whole = [Event.FromString(data) for end, data in records if end <= cut]
        left = [
            (value.tag, event.step, value.simple_value)
            for event in whole
            for value in event.summary.value
            if value.HasField("simple_value")
        ]
        found = [(name, step, value) for name, points in curves(run_dir).items() for step, value in points]
        assert sorted(found) == sorted(left), f"cut at {cut}"
        shutil.rmtree(run_dir)


def test_a_file_in_which_nothing_is_left_goes(tmp_path: Path) -> None:
    write(tmp_path, range(1))
    (old,) = (tmp_path / "tensorboard").iterdir()
    write(tmp_path, range(1)).on_run_end(RunEnd("completed", None))
    (new,) = (tmp_path / "tensorboard").iterdir()
    assert new != old
    assert some(curves(tmp_path)) == expected(1, 2)


def test_what_a_rewriting_that_was_killed_left_is_not_read_beside_the_file_itself(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    (old,) = (tmp_path / "tensorboard").iterdir()
    shutil.copy(old, old.with_name(f".{old.name}.abc.tmp"))
    write(tmp_path, range(1, 2), first_epoch=1).on_run_end(RunEnd("completed", None))
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    assert some(curves(tmp_path)) == expected(2, 4)
