"""The packages in plugins/: each installs alone, keeps every contract and passes its tests; together they get on."""

import re
import shutil
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Overlay, run, write_faces
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

FOLDERS = {path.parent.name: path.parent for path in sorted((ROOT / "plugins").glob("*/pyproject.toml"))}
TRIED = {"dashboard", "postgresql"}
BUILT = ("build", "dist", "*.egg-info", "__pycache__", ".*_cache")


@cache
def project(name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = tomllib.loads((FOLDERS[name] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def needs(name: str) -> list[Requirement]:
    """Return what a package requires beside maskkit."""
    found = [Requirement(text) for text in project(name)["dependencies"]]
    return [one for one in found if one.name != "maskkit"]


def may_need(name: str) -> list[Requirement]:
    """Return what the extras of a package bring that its tests try."""
    extras: Mapping[str, list[str]] = project(name).get("optional-dependencies", {})
    return [Requirement(text) for extra, texts in extras.items() if extra in TRIED for text in texts]


def skip_without_its_libraries(name: str) -> None:
    for one in needs(name):
        try:
            found = version(one.name)
        except PackageNotFoundError:
            pytest.skip(f"{one.name} is not installed, so {name} was not tried")
        assert found in one.specifier, f"{name} requires {one}, but {found} is installed"


def install(overlay: Overlay, name: str, place: Path) -> Path:
    """Install a copy of a package from a folder of its own, and return that folder."""
    folder = place / name
    shutil.copytree(FOLDERS[name], folder, ignore=shutil.ignore_patterns(*BUILT))
    overlay.install(folder)
    return folder


def test_the_extra_for_the_packages_asks_for_what_they_ask_for() -> None:
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = {Requirement(text).name for text in ours["dependencies"]}
    wanted = {str(one) for name in FOLDERS for one in [*needs(name), *may_need(name)] if one.name not in own}
    extra = {Requirement(text) for text in ours["optional-dependencies"]["packages"]}
    assert wanted == {str(one) for one in extra}


@pytest.mark.parametrize("name", FOLDERS)
def test_it_installs_alone_keeps_every_contract_and_passes_its_own_tests(
    name: str, environment: dict[str, str], tmp_path: Path
) -> None:
    skip_without_its_libraries(name)
    overlay = Overlay(tmp_path / "env", environment)
    folder = install(overlay, name, tmp_path)
    (entry,) = project(name)["entry-points"]["maskkit"]
    check = overlay.maskkit("check-plugin", entry, cwd=tmp_path)
    assert check.code == 0, check.out + check.err
    assert re.search(r"\d+ checks: (\d+) passed, 0 failed$", check.out.strip()), check.out
    tests = overlay.module("pytest", "-q", "-p", "no:cacheprovider", cwd=folder, timeout=3600)
    assert tests.code == 0, tests.out + tests.err


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Overlay:
    """An environment with every package whose libraries are there."""
    place = tmp_path_factory.mktemp("together")
    overlay = Overlay(place / "env", environment)
    for name in FOLDERS:
        skip_without_its_libraries(name)
        install(overlay, name, place)
    return overlay


def test_together_they_are_well_and_load_nothing_heavy(together: Overlay, tmp_path: Path) -> None:
    listed = together.maskkit("list-plugins", "--strict", cwd=tmp_path)
    assert listed.code == 0, listed.out + listed.err
    for name in FOLDERS:
        assert f"{name} {project(name)['version']}  OK" in listed.out
    alone = loaded_by_listing(together, {"MASKKIT_DISABLE_PLUGINS": "*"})
    own = {name.replace("-", "_") for name in FOLDERS}
    assert {name for name in loaded_by_listing(together) - alone if name not in sys.stdlib_module_names} == own


def loaded_by_listing(overlay: Overlay, environment: Mapping[str, str] | None = None) -> set[str]:
    """Return the packages that are imported when `maskkit list-plugins` has run."""
    code = (
        "import sys; from maskkit.cli.shell import main; assert main(['list-plugins']) == 0;"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = run(overlay.python, "-c", code, env=overlay.environment | dict(environment or {}))
    return {*done.out.splitlines()[-1].split()}


def test_without_one_of_them_runs_that_do_not_use_it_go_on_and_one_that_does_says_what_to_install(
    environment: dict[str, str], tmp_path: Path
) -> None:
    name = "maskkit-efficientnet-lite"
    skip_without_its_libraries(name)
    overlay = Overlay(tmp_path / "env", environment)
    install(overlay, name, tmp_path)
    images = write_faces(tmp_path / "images", 12)
    flags = [f"--data_dir={images}", "--epochs=1", "--resize=32", "--num_workers=0", "--reporters=csv"]
    for model in ("BaseModel", "Efficientnet_lite0"):
        done = overlay.maskkit("train", *flags, f"--model={model}", f"--name={model}", cwd=tmp_path)
        assert done.code == 0, done.out + done.err
    removed = run("pip", "--python", overlay.python, "uninstall", "--yes", "--quiet", name)
    assert removed.code == 0, removed.err
    words = [f"--images={images / '000000_male_Asian_20'}", "--out=answers"]
    assert overlay.maskkit("predict", "runs/BaseModel", *words, cwd=tmp_path).code == 0
    assert overlay.maskkit("train", "--resume=runs/BaseModel", "--epochs=2", cwd=tmp_path).code == 0
    gone = overlay.maskkit("predict", "runs/Efficientnet_lite0", *words, cwd=tmp_path)
    assert gone.code == 1
    assert f"the run needs the model Efficientnet_lite0 of {name} {project(name)['version']}, which is not" in gone.err
