"""config.json: what a run was asked for and what it decided, so that it can be replayed and taken up again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import maskkit
from maskkit.config import TrainConfig
from maskkit.engine.plan import Plan
from maskkit.engine.run_folder import hash_of, samples_table, write_bad_images, write_relabelled, write_samples
from maskkit.errors import CheckpointError, UsageError
from maskkit.files import write_text
from maskkit.flags import Layer, as_json, build

__all__ = ["History", "Record", "read_record", "write_record"]

_FILE = "config.json"


@dataclass
class History:
    """What happened to a run on its way: the epochs after which it was taken up again, and how its batches shrank.

    launch: the key of the launch of torchrun that began it, None without one.
    """

    resumed_after: list[int] = field(default_factory=list)
    smaller_batches: list[str] = field(default_factory=list)
    launch: str | None = None


@dataclass(frozen=True)
class Record:
    """What config.json holds; the components by kind, with what finding them again needs."""

    config: TrainConfig
    origins: dict[str, str]
    device: str
    precision: str
    depthwise_by_detours: bool
    samples_hash: str
    num_processes: int
    components: list[tuple[str, Mapping[str, Any]]]
    history: History


def write_record(run_dir: Path, plan: Plan, history: History) -> None:
    """Write config.json, samples.csv and, when there is what they tell, bad_images.csv and relabelled.csv."""
    table = samples_table(plan.samples, plan.folds)
    decisions = {
        "dataset": plan.parts["dataset"].component.name,
        "data_dir": _absolute(plan.sources.data_dir),
        "eval_dir": _absolute(plan.sources.eval_dir),
        "samples_sha256": hash_of(table),
        "relabelled": len(plan.sources.relabelled),
        "bad_images": len(plan.sources.bad_images),
        "device": str(plan.device),
        "precision": plan.precision.name,
        "precision_reason": plan.precision.reason,
        "depthwise_by_detours": plan.precision.depthwise_by_detours,
        "num_processes": plan.world.size,
        "launch": history.launch,
        "num_threads": torch.get_num_threads(),
        "num_workers": plan.num_workers,
        "cache": plan.cache,
        "pretrained": plan.pretrained,
        "resumed_after": history.resumed_after,
        "smaller_batches": history.smaller_batches,
        "notice": plan.samples.notice,
    }
    content = {
        "maskkit": maskkit.__version__,
        "torch": torch.__version__,
        "values": as_json(plan.config),
        "origins": dict(plan.origins),
        "decisions": decisions,
        "components": {kind: part.record for kind, part in plan.parts.items()},
        "losses": [part.record for _, part in plan.losses],
        "reporters": [part.record for part in plan.reporters.values()],
    }
    write_samples(run_dir, table)
    write_bad_images(run_dir, plan.sources.bad_images)
    write_relabelled(run_dir, plan.sources.relabelled)
    write_text(run_dir / _FILE, json.dumps(content, indent=2) + "\n")


def read_record(run_dir: Path) -> Record:
    """Return what a run was asked for and decided.

    Raises:
        CheckpointError: the folder is no run folder, or its config.json is damaged.
    """
    path = run_dir / _FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config, _ = build(TrainConfig, [Layer(str(path), content["values"], is_file=True)])
        decisions: Mapping[str, Any] = content["decisions"]
        history = History(list(decisions["resumed_after"]), list(decisions["smaller_batches"]), decisions.get("launch"))
        return Record(
            config=config,
            origins=dict(content["origins"]),
            device=decisions["device"],
            precision=decisions["precision"],
            depthwise_by_detours=decisions["depthwise_by_detours"],
            samples_hash=decisions["samples_sha256"],
            num_processes=int(decisions.get("num_processes", 1)),
            components=[
                *content["components"].items(),
                *(("loss", one) for one in content["losses"]),
                *(("reporter", one) for one in content["reporters"]),
            ],
            history=history,
        )
    except OSError as error:
        raise CheckpointError(
            f"--resume={run_dir}: {path} cannot be read: {error.strerror}",
            hint="Name the folder of a run, as runs/exp; one that was killed at its very start has to be started anew.",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise CheckpointError(f"--resume={run_dir}: {path} is damaged: {error}") from error


def _absolute(path: Path | None) -> str | None:
    return str(path.absolute()) if path else None
