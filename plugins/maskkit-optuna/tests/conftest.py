"""What the tests share: the installed command, photos to learn from, and databases."""

import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.exceptions import ExperimentalWarning
from PIL import Image
from postgresql import postgresql

SHOTS = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")
TINY = ("--epochs=1", "--classification=mask", "--resize=16", "--batch_size=16", "--num_workers=0", "--reporters=csv")

Start = Callable[..., "subprocess.Popen[str]"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "filterwarnings", f"ignore::{ExperimentalWarning.__module__}.{ExperimentalWarning.__name__}"
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which nothing of the user's is touched."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MASKKIT_", "SM_", "NNI_"))}
    cache = kept.get("MPLCONFIGDIR") or str(Path.home() / ".cache" / "matplotlib")  # building it takes long
    home = str(tmp_path_factory.mktemp("cache"))
    return kept | {"XDG_CACHE_HOME": home, "MPLCONFIGDIR": cache, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small photos whose masks anybody can tell apart."""
    folder = tmp_path_factory.mktemp("faces") / "images"
    draws = np.random.default_rng(0)
    for number in range(15):
        profile = folder / f"{number:06}_{('male', 'female')[number % 2]}_Asian_{(20, 40, 60)[number % 3]}"
        profile.mkdir(parents=True)
        for position, shot in enumerate(SHOTS):
            pixels = draws.normal(40 + 60 * max(0, position - 4), 40, (40, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(profile / f"{shot}.png")
    return folder


@pytest.fixture
def tune(environment: dict[str, str], faces: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a `maskkit tune` of tiny trainings in an empty folder; what is left of it is killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, is_resume: bool = False) -> "subprocess.Popen[str]":
        flags = [] if is_resume else [*TINY, f"--data_dir={faces}", "--engine=optuna"]
        given = {word.partition("=")[0] for word in words}
        line = [*(flag for flag in flags if flag.partition("=")[0] not in given), *words]
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "maskkit", "tune", *line],
                cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process: "subprocess.Popen[str]", seconds: float = 500) -> str:
    """Wait until a search has ended well, and return what it printed."""
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == 0, out + err
    return out


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def wait_for(what: Callable[[], Any], seconds: float = 240) -> Any:
    """Ask again and again until the answer is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, f"{what} stayed {answer!r} for {seconds} s"
        time.sleep(0.2)
    return answer


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'searches.db'}"
        return
    with postgresql() as url:
        yield url
