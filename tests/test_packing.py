"""Any state that torch's parts give comes back as it was, through the JSON and the tensors of a checkpoint."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler

from maskkit.engine.checkpoint import Checkpoint
from maskkit.engine.packing import pack, unpack
from maskkit.errors import CheckpointError

plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5)
keys = st.text(max_size=3) | st.integers(0, 30)
tensors = st.lists(st.floats(width=32, allow_nan=False), max_size=4).map(torch.tensor)
counters = st.dictionaries(st.integers(0, 99), st.integers(1, 3), max_size=3).map(Counter)
states = st.recursive(
    plain | tensors | counters,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=10,
)


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


@given(state=states)
@settings(max_examples=150, deadline=None)
def test_a_nested_state_comes_back_through_json(state: Any) -> None:
    structure, held = pack(state, "part")
    assert all(name.startswith("part") for name in held)
    assert_same(unpack(json.loads(json.dumps(structure)), held), state)


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [2, 2, 5]),
        lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=1),
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3),
        lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20),
    ],
)
def test_an_optimizer_and_its_schedule_come_back_from_a_file(make: Any, tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters(), amsgrad=True)
    scheduler = make(optimizer)
    for step in range(4):
        network(torch.randn(5, 3)).sum().backward()
        optimizer.step()
        scheduler.step(*([0.5 * step] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []))
    state = {
        "model": dict(network.state_dict()),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
    }
    Checkpoint(state, {}).save(tmp_path / "last.safetensors")
    found = Checkpoint.load(tmp_path / "last.safetensors").state
    for part, expected in state.items():
        assert_same(found[part], expected)


def test_keys_that_read_alike_keep_their_tensors_apart() -> None:
    state = {1: torch.zeros(1), "1": torch.ones(1), "a": {"b": torch.full((1,), 2.0)}, "a.b": torch.full((1,), 3.0)}
    assert_same(unpack(*pack(state, "model")), state)


def test_numbers_of_numpy_become_plain_ones_and_infinity_stays() -> None:
    structure, _ = pack({"best": -math.inf, "lr": np.float64(0.1), "steps": np.int64(3)}, "state")
    assert unpack(json.loads(json.dumps(structure)), {}) == {"best": -math.inf, "lr": 0.1, "steps": 3}


def test_what_no_file_can_hold_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"cannot hold scheduler\.lr_lambdas\.0, which is <function") as caught:
        pack({"lr_lambdas": [test_what_no_file_can_hold_is_named]}, "scheduler")
    assert "tensors, numbers and texts" in caught.value.hint
