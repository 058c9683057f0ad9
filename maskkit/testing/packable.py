"""Whether a state can be kept."""

from collections.abc import Mapping
from typing import Any

from maskkit.engine.packing import pack
from maskkit.errors import CheckpointError
from maskkit.testing.check import CheckError

__all__ = ["expect_packable"]


def expect_packable(state: Mapping[str, Any], name: str) -> None:
    """Raise CheckError unless a state_dict fits into a checkpoint, where it goes by that name."""
    try:
        pack(state, name)
    except CheckpointError as error:
        raise CheckError(f"its state_dict must fit into a checkpoint: {error.message}; {error.hint}") from error
