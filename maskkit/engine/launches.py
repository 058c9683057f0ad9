"""The run of a launch of torchrun, found again when torchrun begins its processes again."""

import json
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import Any

__all__ = ["is_done", "unfinished_run"]

_FILE = "config.json"


def unfinished_run(runs: Path, name: str, launch: str) -> Path | None:
    """Return the folder of the run that a launch began and that is not done yet; None where there is none."""
    for folder in sorted(runs.glob(f"{escape(name)}*")):
        content = _content(folder)
        if content.get("decisions", {}).get("launch") == launch and not is_done(folder):
            return folder
    return None


def is_done(run_dir: Path) -> bool:
    """Return whether a run, or one of all folds, has written all its predictions."""
    content = _content(run_dir)
    if not content:
        return False
    values, decisions = content["values"], content["decisions"]
    is_of_folds = values.get("folds") is not None and values.get("fold") is None
    names = ["oof_soft.csv" if is_of_folds else "valid_soft.csv"]
    names += ["eval_soft.csv"] if decisions.get("eval_dir") else []
    return all((run_dir / "predictions" / name).is_file() for name in names)


def _content(run_dir: Path) -> Mapping[str, Any]:
    """Return what a run's config.json holds, nothing where it is none."""
    try:
        content: Any = json.loads((run_dir / _FILE).read_text(encoding="utf-8"))
        return content if {**content["values"], **content["decisions"]} else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
