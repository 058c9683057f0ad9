"""A checkpoint is one safetensors file: tensors under a prefix, plain values as JSON in its metadata."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from maskkit.errors import CheckpointError
from maskkit.files import replacing

__all__ = ["Checkpoint", "find_checkpoint"]

_FORMAT = "1"


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a network, and a description of everything that using them again needs."""

    weights: Mapping[str, Tensor]
    description: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write the file beside `path` and rename it there, so that a kill leaves the old one or the new one.

        Raises:
            CheckpointError: it cannot be written, as on a full disk; the old one stays.
        """
        tensors = {f"model.{name}": value.detach().cpu().contiguous().clone() for name, value in self.weights.items()}
        metadata = {"maskkit": _FORMAT, "description": json.dumps(self.description)}
        try:
            with replacing(path) as temporary:
                save_file(tensors, temporary, metadata)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"the checkpoint {path} cannot be written: {error}") from error

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint.

        Raises:
            CheckpointError: the file is damaged, no checkpoint of maskkit, or of a newer form.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("maskkit") != _FORMAT:
                    raise CheckpointError(f"{path} is no checkpoint of this maskkit (form {metadata.get('maskkit')!r})")
                weights = {name.removeprefix("model."): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                description = json.loads(metadata["description"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise CheckpointError(f"the checkpoint {path} cannot be read: {error}") from error
        return cls(weights, description)


def find_checkpoint(run: Path, which: str) -> Path:
    """Return the file of a run folder's checkpoint "best" or "last", or `run` itself when it is such a file.

    Raises:
        CheckpointError: there is none.
    """
    if run.is_file():
        return run
    if not run.is_dir():
        raise CheckpointError(
            f"there is no run folder or checkpoint {run}", hint="A run folder lies below runs/ or --model_dir."
        )
    path = run / "checkpoints" / f"{which}.safetensors"
    if not path.is_file():
        raise CheckpointError(
            f"{run} has no {which} checkpoint: {path} is missing", hint="Was the run stopped in its first epoch?"
        )
    return path
