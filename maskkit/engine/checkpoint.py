"""A checkpoint is one safetensors file: tensors under a prefix, plain values as JSON in its metadata."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from maskkit.engine.packing import pack, unpack
from maskkit.errors import CheckpointError
from maskkit.files import replacing

__all__ = ["Checkpoint", "checkpoint_path", "find_checkpoint", "find_checkpoints"]

_FORMAT = "2"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training by its parts, and a description of everything that using it again needs.

    `state["model"]` are the weights; the best epoch has nothing else, the last one all that going on needs.
    """

    state: Mapping[str, Any]
    description: Mapping[str, Any]

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The weights of the network, by their names in its state_dict."""
        weights: Mapping[str, Tensor] = self.state["model"]
        return weights

    def save(self, path: Path) -> None:
        """Write the file beside `path` and rename it there, so that a kill leaves the old one or the new one.

        Raises:
            CheckpointError: it cannot be written, as on a full disk, or a state cannot be held; the old one stays.
        """
        structures: dict[str, Any] = {}
        tensors: dict[str, Tensor] = {}
        for part, state in self.state.items():
            structures[part], found = pack(state, part)
            # Every tensor on its own memory: safetensors refuses those that share it, as tied weights do.
            tensors |= {name: tensor.detach().cpu().contiguous().clone() for name, tensor in found.items()}
        metadata = {
            "maskkit": _FORMAT,
            "state": json.dumps(structures),
            "description": json.dumps(self.description),
        }
        try:
            with replacing(path) as temporary:
                save_file(tensors, temporary, metadata)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"the checkpoint {path} cannot be written: {error}") from error

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint.

        Raises:
            CheckpointError: the file is damaged, no checkpoint of maskkit, or of another form.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("maskkit") != _FORMAT:
                    raise CheckpointError(f"{path} is no checkpoint of this maskkit (form {metadata.get('maskkit')!r})")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
            structures = json.loads(metadata["state"])
            state = {part: unpack(structure, tensors) for part, structure in structures.items()}
            description = dict(json.loads(metadata["description"]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint {path} cannot be read: {error}") from error
        return cls(state, description)


def checkpoint_path(run_dir: Path, which: str) -> Path:
    """Return where a run keeps its checkpoint "best" or "last"."""
    return run_dir / "checkpoints" / f"{which}.safetensors"


def find_checkpoints(run: Path, which: str) -> list[Path]:
    """Return the file of a run's checkpoint "best" or "last", or those of every fold of a training of folds.

    Raises:
        CheckpointError: one is missing, or it cannot be told how many there should be.
    """
    if not (run / "fold-0").is_dir():
        return [find_checkpoint(run, which)]
    path = run / "config.json"
    try:
        num_folds = int(json.loads(path.read_text(encoding="utf-8"))["values"]["folds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} does not tell how many folds there are: {error}") from error
    missing = [
        f"fold-{fold}" for fold in range(num_folds) if not checkpoint_path(run / f"fold-{fold}", which).is_file()
    ]
    if missing:
        raise CheckpointError(
            f"{run} has no {which} checkpoint of {', '.join(missing)}",
            hint=f"Train what is left: maskkit train --resume={shlex.quote(str(run))}",
        )
    return [checkpoint_path(run / f"fold-{fold}", which) for fold in range(num_folds)]


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
    path = checkpoint_path(run, which)
    if (run / "fold-0").is_dir():
        raise CheckpointError(f"{run} holds a run for each fold", hint=f"Name one of them, such as {run / 'fold-0'}.")
    if not path.is_file():
        raise CheckpointError(
            f"{run} has no {which} checkpoint: {path} is missing", hint="Was the run stopped in its first epoch?"
        )
    return path
