"""What the tests share: the installed command, a small data set, and environments to install plugins into."""

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import Outcome, run_forked
from PIL import Image
from xdist.scheduler import LoadScopeScheduling

# Small tensors gain nothing from threads, and spinning ones would take the cores from the processes under test.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent
SHOTS = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")
REAL_FACES = ROOT.parent / "shared" / "faces"
USING_TORCH = {"train", "predict", "check-plugin", "find-lr"}

Runner = Callable[..., Outcome]

# The tests that take longest begin first, so that none is left running alone at the end.
FIRST = ("test_plugin_packages", "test_readme", "test_nni_local", "test_nni_remote", "test_tune", "test_write_a_plugin")
# Modules that share something that takes long to make: one process runs all of their tests.
WHOLE = {
    "test_check_plugin",
    "test_nni_local",
    "test_new_plugin_installed",
    "test_plugin_survival",
    "test_plugins_installed",
    "test_tensorboard_served",
    "test_wrong_training_inputs",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> tuple[int, bool]:
        name = item.path.stem
        return FIRST.index(name) if name in FIRST else len(FIRST), item.get_closest_marker("slow") is None

    items.sort(key=turn)


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out single tests, but the modules of `WHOLE` whole; groups of xdist 3.8 are lost with pytest 9.2."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return path if Path(path).stem in WHOLE else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _Scheduling(config, log)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which only what is in the box is found, and nothing of the user's is touched."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MASKKIT_", "SM_", "NNI_"))}
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # so that faces are drawn once for all
    return kept | {
        "XDG_CACHE_HOME": str(shared / "cache"),
        "TORCH_HOME": str(tmp_path_factory.mktemp("torch")),
        "MASKKIT_DISABLE_PLUGINS": "*",
        "COLUMNS": "100",
        "OMP_NUM_THREADS": "1",
    }


def run(
    *words: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> Outcome:
    """Run a command to its end."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=dict(env) if env is not None else None,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def maskkit(environment: dict[str, str], tmp_path: Path) -> Runner:
    """Run the installed command in an empty folder, forked where it loads torch: `maskkit("train", "--epochs=1")`."""

    def start(
        *words: str | Path, env: Mapping[str, str] | None = None, cwd: Path = tmp_path, timeout: float = 300
    ) -> Outcome:
        if words and words[0] in USING_TORCH:
            return run_forked(cwd, *words, env=environment | dict(env or {}), seconds=timeout)
        command = Path(sysconfig.get_path("scripts")) / "maskkit"
        return run(command, *words, cwd=cwd, env=environment | dict(env or {}), timeout=timeout)

    return start


@pytest.fixture(scope="session")
def drawn_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small drawn data set in the competition's layout: 30 people to train on, 6 to predict."""
    from maskkit.builtin.drawn_faces import draw_faces

    folder = tmp_path_factory.mktemp("drawn") / "faces"
    draw_faces(folder, people=30, eval_people=6, seed=1)
    return folder


@pytest.fixture(scope="session")
def train_images(drawn_root: Path) -> Path:
    """The folder that `--data_dir` names."""
    return drawn_root / "train" / "images"


def write_faces(folder: Path, people: int) -> Path:
    """Write small photos, seven of each person, noise around a grey of their class, and return their folder."""
    draws = np.random.default_rng(0)
    for number in range(people):
        gender, age = number % 2, (20, 40, 60)[number % 3]
        profile = folder / f"{number:06}_{('male', 'female')[gender]}_Asian_{age}"
        profile.mkdir(parents=True)
        for position, shot in enumerate(SHOTS):
            grey = 40 + 60 * max(0, position - 4) + 20 * gender + age // 3
            pixels = draws.normal(grey, 40, (40, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(profile / f"{shot}.png")
    return folder


class Overlay:
    """A virtual environment on top of the one that runs the tests, to install packages into without their needs."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        self.cache = Path(environment["XDG_CACHE_HOME"])
        found = run(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        parent = sysconfig.get_path("purelib")
        Path(found.out.strip(), "parent.pth").write_text(
            f"import site; site.addsitedir({parent!r})\n", encoding="utf-8"
        )
        self.environment = {name: value for name, value in environment.items() if name != "MASKKIT_DISABLE_PLUGINS"}

    def install(self, *packages: Path | str) -> None:
        """Install packages with the real pip, from their folders, without network."""
        pip: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            self.python,
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        done = run(*pip, "--no-deps", "--no-build-isolation", "--no-index", *packages, env=self.environment)
        assert done.code == 0, done.out + done.err

    def maskkit(self, *words: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> Outcome:
        """Run maskkit with what is installed here, forked where it loads torch."""
        if words[0] in USING_TORCH:
            return self.forked("maskkit", *words, cwd=cwd, env=env)
        return self.module("maskkit", *words, cwd=cwd, env=env)

    def forked(self, program: str, *words: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> Outcome:
        """Run maskkit or pytest with what is installed here, forked."""
        return run_forked(cwd, *words, env=self.environment | dict(env or {}), python=self.python, program=program)

    def module(
        self, name: str, *words: str | Path, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 600
    ) -> Outcome:
        """Run an installed module as a program of its own."""
        return run(self.python, "-m", name, *words, cwd=cwd, env=self.environment | dict(env or {}), timeout=timeout)


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Overlay:
    """An environment of the test module's own."""
    return Overlay(tmp_path_factory.mktemp("overlay") / "env", environment)
