"""Where a run starts: at nothing, or where one that stopped left off."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from maskkit.config import TrainConfig
from maskkit.engine.agreement import share_steps
from maskkit.engine.checkpoint import Checkpoint, checkpoint_path
from maskkit.engine.distributed import ALONE, World
from maskkit.engine.progress import Progress
from maskkit.engine.record import History, Record, read_record
from maskkit.engine.run_folder import locked
from maskkit.errors import CheckpointError, UsageError

__all__ = ["Start", "Stopped", "flags_given", "last_start", "take_up"]

_MAY_DIFFER = (
    "epochs",
    "patience",
    "data_dir",
    "split_file",
    "relabel",
    "eval_dir",
    "num_workers",
    "cache",
    "device",
    "precision",
    "compile",
    "reporters",
    "reporters_args",
    "profile",
)


@dataclass(frozen=True)
class Start:
    """The state to start from, None at nothing, and how far it had come; `lengthened` when `--epochs` changed since."""

    state: Mapping[str, Any] | None = None
    progress: Progress = field(default_factory=Progress)
    lengthened: bool = False


@dataclass(frozen=True)
class Stopped:
    """A run that goes on: its config with the flags that may differ, what it recorded, and where it starts."""

    config: TrainConfig
    origins: Mapping[str, str]
    record: Record
    start: Start

    @property
    def history(self) -> History:
        """What happened to it so far, this start included."""
        before = self.record.history
        return replace(before, resumed_after=[*before.resumed_after, self.start.progress.epochs_done])


def last_start(run_dir: Path, config: TrainConfig) -> Start:
    """Return the start at the last checkpoint of a run, at nothing when it has none yet.

    Whether the run was lengthened is asked of the checkpoint: config.json may tell a length that none has learned of.

    Raises:
        CheckpointError: it is damaged, or holds weights alone.
    """
    path = checkpoint_path(run_dir, "last")
    if not path.is_file():
        return Start()
    checkpoint = Checkpoint.load(path)
    try:
        progress = Progress.from_state(checkpoint.state["progress"])
        return Start(checkpoint.state, progress, lengthened=checkpoint.description["epochs"] != config.epochs)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"no run can go on from {path}: it lacks {error}") from error


@contextmanager
def take_up(
    run_dir: Path, config: TrainConfig, origins: Mapping[str, str], *, world: World = ALONE
) -> Iterator[Stopped]:
    """Yield a run that stopped, locked, with the flags of `config` that were given anew.

    Of several processes the first one locks it. If they are others than before, they take the same steps.

    Raises:
        UsageError: a flag was given that a run cannot change on its way.
        CheckpointError: the folder is no run, is damaged, or another process is training in it.
    """
    given = flags_given(run_dir, origins)
    record = read_record(run_dir)
    with locked(run_dir) if world.is_first else nullcontext():
        if world.is_first:
            for leftover in run_dir.rglob(".*.tmp"):  # of a process that was killed while it wrote
                leftover.unlink()
        changes: dict[str, Any] = {name: getattr(config, name) for name in given}
        if "reporters" in changes:  # the options of those that left go with them
            kept = {name: one for name, one in record.config.reporters_args.items() if name in changes["reporters"]}
            changes.setdefault("reporters_args", kept)
        continued = share_steps(replace(record.config, **changes), record.num_processes, world)
        start = last_start(run_dir, continued)
        _check_length(run_dir, continued, start)
        sources = record.origins | dict.fromkeys(given, "flag, on resuming")
        yield Stopped(continued, sources, record, start)


def flags_given(run_dir: Path, origins: Mapping[str, str]) -> list[str]:
    """Return the names of the flags that were given anew to a run that goes on.

    Raises:
        UsageError: one of them is none that a run can change on its way, or a file of flags was given too.
    """
    given = [name for name, origin in origins.items() if origin == "flag" and name != "resume"]
    files = {origin for origin in origins.values() if origin not in {"flag", "default"}}
    if files:
        source = files.pop()
        other = source.replace("preset ", "--preset=") if source.startswith("preset ") else f"--config={source}"
        raise UsageError(f"--resume={run_dir} and {other} exclude each other", hint="A run keeps its own config.json.")
    fixed = [name for name in given if name not in _MAY_DIFFER]
    if fixed:
        raise UsageError(
            f"--resume={run_dir} goes on as the run began; it cannot take {', '.join(f'--{name}' for name in fixed)}",
            hint=f"It takes {', '.join(f'--{name}' for name in _MAY_DIFFER)}; for anything else start a new run.",
        )
    return given


def _check_length(run_dir: Path, config: TrainConfig, start: Start) -> None:
    """Refuse a length that cannot be meant: shorter than what is done, or longer when no patience is left."""
    done = start.progress.epochs_done
    if config.epochs < done:
        raise UsageError(f"--epochs={config.epochs}: {run_dir} has {done} epochs behind it already")
    if start.lengthened and 0 < config.patience <= start.progress.epochs_without_better:
        raise UsageError(
            f"{run_dir} stopped early: {start.progress.epochs_without_better} epochs brought nothing better",
            hint=f"To go on, give it more --patience than {config.patience}, or --patience=0.",
        )
