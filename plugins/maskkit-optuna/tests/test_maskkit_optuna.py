"""What the engine refuses, and the contracts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from maskkit.testing import Check


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--tuner=TPEE"], 2, "--engine=optuna has no tuner 'TPEE'\n  Did you mean TPE?"),
        (["--port=6000"], 2, "tuner optuna has no option 'port'"),
        (["--engine_args=pruner=mean"], 2, "option pruner of tuner optuna must be one of: none, median, Hyperband"),
        (["--engine_args=study=a b"], 2, "study must be letters, digits"),
        (["--engine_args=heartbeat=0"], 2, "heartbeat must be at least 1"),
        (["--engine_args=objectives=f1+seconds,pruner=median"], 2, "pruner must be none with these objectives"),
        (["--engine_args=objectives=f1+seconds", "--tuner=CMA-ES"], 2, "objectives must be f1 for --tuner=CMA-ES"),
        (["--engine_args=storage=faces.db"], 2, "option storage of tuner optuna is no URL of a database"),
        (
            ["--engine_args=storage=mysql://u:secret@h/x"],
            2,
            "takes SQLite in a file, or PostgreSQL; received mysql",
        ),
        (["--engine_args=storage=sqlite:////dev/null/x.db"], 1, "/dev/null/x.db cannot be opened"),
        (
            ["--engine_args=storage=postgresql://u:secret@127.0.0.1:1/x"],
            1,
            "postgresql://u:***@127.0.0.1:1/x cannot be",
        ),
        (["--tuner=Grid"], 2, "lr has no end of values, which --tuner=Grid cannot try"),
        (["--tuner=Grid", "--space=large.json"], 2, "the space has 1,000,000 points, and --tuner=Grid takes 100,000"),
        (["--tuner=Hyperband", "--space=epochs.json"], 2, "epochs is what Hyperband shortens itself"),
        (["--resume=absent"], 1, "--resume=absent: runs/absent/search.json cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    environment: dict[str, str], tmp_path: Path, words: list[str], code: int, sentence: str
) -> None:
    (tmp_path / "lr.json").write_text(json.dumps({"lr": {"_type": "uniform", "_value": [0.1, 1]}}))
    whole = {"_type": "randint", "_value": [1, 1001]}
    (tmp_path / "large.json").write_text(json.dumps({"seed": whole, "patience": whole}))
    (tmp_path / "epochs.json").write_text(json.dumps({"epochs": whole}))
    is_new = not words[0].startswith("--resume")
    engine = ["--engine=optuna"] if is_new else []
    space = ["--space=lr.json"] if is_new and not any(word.startswith("--space") for word in words) else []
    line = [sys.executable, "-m", "maskkit", "tune", *engine, *space, *words]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert f"error: {sentence}" in done.stderr or sentence in done.stderr
    assert not (tmp_path / "runs").exists()


def test_it_keeps_the_contracts(maskkit_check: Check) -> None:
    maskkit_check()
