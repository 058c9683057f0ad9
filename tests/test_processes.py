"""Which process this is, what the processes of a training share out, and when torchrun has begun again."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskkit.config import TrainConfig
from maskkit.data.order import num_steps, split_epoch
from maskkit.engine.agreement import share_steps
from maskkit.engine.device import choose_device, choose_workers, usable_cores
from maskkit.engine.distributed import ALONE, World
from maskkit.engine.launches import is_done, unfinished_run
from maskkit.errors import CheckpointError, ProcessError, UsageError
from maskkit.processes import Place, launch_key, place_in

TOLD = {"MASTER_ADDR": "localhost", "MASTER_PORT": "1", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
COUNTS = st.integers(1, 6)


def test_the_environment_tells_the_place() -> None:
    assert place_in(TOLD | {"LOCAL_WORLD_SIZE": "4"}) == Place(rank=5, size=8, local_rank=1, local_size=4)
    assert place_in({}) == Place()
    assert place_in({"RANK": "1", "WORLD_SIZE": "2"}) == Place(), "another program's"
    assert place_in(TOLD | {"RANK": "one"}) == Place()
    assert Place().is_first
    assert Place().is_alone
    assert not Place(1, 2).is_first


@settings(deadline=None)
@given(st.integers(2, 300), st.integers(1, 9), COUNTS, COUNTS)
def test_processes_share_each_step_of_one_process(
    num_rows: int, batch_size: int, accumulate: int, num_processes: int
) -> None:
    """Every step has the same rows as with one process that accumulates as many batches; nobody has an empty one."""
    order = torch.randperm(num_rows)
    steps = split_epoch(order, batch_size, accumulate, num_processes)
    of_one = split_epoch(order, batch_size, accumulate * num_processes)
    assert [torch.cat(parts).tolist() for parts in steps] == [torch.cat(parts).tolist() for parts in of_one]
    assert torch.cat([rows for parts in steps for rows in parts]).tolist() == order.tolist()
    num_batches = accumulate * num_processes
    assert len(steps) == num_steps(num_rows, batch_size * num_batches, at_least=2 * num_batches)
    for parts in steps:
        dealt = [World(Place(rank, num_processes)).deal(parts) for rank in range(num_processes)]
        assert len({len(mine) for mine in dealt}) == 1, "a process would wait for another for ever"
        sizes = [len(rows) for rows in parts]
        assert max(sizes) - min(sizes) <= 1
        if num_rows >= 2 * num_processes and batch_size > 1:
            assert min(sizes) >= 2, "a batch norm cannot learn from one image"
    for parts in steps[:-1]:
        assert [len(rows) for rows in parts] == [batch_size] * num_batches


@given(COUNTS, COUNTS, COUNTS)
def test_other_processes_take_the_same_steps_or_none(accumulate: int, before: int, now: int) -> None:
    world = World(Place(0, now))
    config = TrainConfig(accumulate=accumulate)
    if accumulate * before % now:
        with pytest.raises(CheckpointError, match=f"which {now} processes cannot share evenly"):
            share_steps(config, before, world)
    else:
        assert share_steps(config, before, world).accumulate * now == accumulate * before


def test_each_process_takes_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", Place(3, 4, 1, 2)) == torch.device("cuda", 1)
    assert choose_device("cpu", Place(3, 4, 1, 2)) == torch.device("cpu")
    with pytest.raises(UsageError, match="each of several processes takes a GPU of its own"):
        choose_device("cuda:1", Place(3, 4, 1, 2))
    with pytest.raises(ProcessError, match="4 processes on this machine need a GPU each, and there are 2"):
        choose_device("cuda", Place(3, 4, 3, 4))


def test_processes_of_a_machine_share_its_cores() -> None:
    cpu = torch.device("cpu")
    assert choose_workers("auto", cpu, Place(0, 8, 0, usable_cores())) == 0
    assert choose_workers(3, cpu, Place(0, 8, 0, 8)) == 3


def test_a_process_alone_needs_no_other() -> None:
    tensor = torch.tensor([1.5, 2.5])
    assert ALONE.sum(tensor) is tensor
    assert ALONE.told_by_first({"a": [1, None]}) == {"a": [1, None]}
    assert ALONE.smallest(3) == 3
    assert ALONE.deal([1, 2, 3]) == [1, 2, 3]
    with pytest.raises(RuntimeError, match="gloo"), ALONE.explaining_loss():
        raise RuntimeError("gloo")


def test_a_launch_is_known_by_its_id_and_what_it_asks_for() -> None:
    asked = {"epochs": 3}
    assert launch_key(asked, {}) is None
    named = launch_key(asked, {"TORCHELASTIC_RUN_ID": "job-7"})
    assert named == launch_key(asked, {"TORCHELASTIC_RUN_ID": "job-7", "TORCHELASTIC_RESTART_COUNT": "2"})
    assert named != launch_key(asked, {"TORCHELASTIC_RUN_ID": "job-8"})
    assert named != launch_key({"epochs": 4}, {"TORCHELASTIC_RUN_ID": "job-7"})
    nameless = launch_key(asked, {"TORCHELASTIC_RUN_ID": "none"})
    assert nameless == launch_key(asked, {"TORCHELASTIC_RUN_ID": "none"}), "it is this process's parent's"
    assert nameless != named


def test_only_a_run_of_the_launch_that_is_not_done_is_found(tmp_path: Path) -> None:
    def write(name: str, launch: str | None, *written: str, folds: int | None = None) -> Path:
        folder = tmp_path / name
        (folder / "predictions").mkdir(parents=True)
        decisions = {"launch": launch, "eval_dir": None}
        (folder / "config.json").write_text(json.dumps({"values": {"folds": folds}, "decisions": decisions}))
        for file in written:
            (folder / "predictions" / file).touch()
        return folder

    done = write("exp", "a", "valid_soft.csv")
    write("exp-2", "b")
    begun = write("exp-3", "a")
    of_folds = write("exp-4", "c", "valid_soft.csv", folds=5)
    (tmp_path / "exp-5").mkdir()
    (tmp_path / "exp-6").write_text("no folder")
    assert is_done(done)
    assert not is_done(begun)
    assert unfinished_run(tmp_path, "exp", "a") == begun
    assert unfinished_run(tmp_path, "exp", "c") == of_folds
    assert unfinished_run(tmp_path, "exp", "d") is None
    assert unfinished_run(tmp_path / "nowhere", "exp", "a") is None
    assert unfinished_run(tmp_path, "[e]xp", "a") is None
