"""Plugins and maskkits of different ages: older plugins go on, and one that is too new for this maskkit says so."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Runner
from refusals import write_files

import maskkit as package

HERE = package.__version__
ASKED = f"; this is maskkit {HERE}, is the plugin made for a newer one?"
NEEDED = f"; it needs maskkit>=9, and this is {HERE}"

HEALTHY = """
from maskkit import Component, hookimpl

@hookimpl
def maskkit_losses():
    yield Component(name='{name}', target='guest_{name}_losses:loss', summary='A loss')
"""
NAMED = HEALTHY.replace("import Component", "import {wanted}, Component")
HOOKED = HEALTHY.replace("maskkit_losses", "{wanted}")
FIELD = HEALTHY.replace("summary='A loss'", "{wanted}")
ARGUMENT = HEALTHY.replace("maskkit_losses()", "maskkit_losses(year)").replace("='{name}'", "=f'{name}_{{year}}'")
RAISING = HEALTHY.replace("yield", "raise RuntimeError('no licence')\n    yield")

# By plugin: its source, and how its cause ends.
TOO_NEW = {
    "name": (NAMED.replace("{wanted}", "Novelty"), ASKED),
    "attribute": ("import maskkit\n" + HEALTHY + "\nmaskkit.Novelty", ASKED),
    "label": ("from maskkit.labels import Novelty", ASKED),
    "module": ("import maskkit.novelties\n" + HEALTHY, ASKED),
    "hook": (HOOKED.replace("{wanted}", "maskkit_novelties"), ASKED),
    "field": (FIELD.replace("{wanted}", "summary='A loss', novelty=1"), ASKED),
    "argument": (ARGUMENT, ASKED),
}
SLIPS = {
    "slip_name": (NAMED.replace("{wanted}", "Reporters"), "; did you mean Reporter?"),
    "slip_error": ("from maskkit.errors import DataErorr", "; did you mean DataError?"),
    "slip_hook": (HOOKED.replace("{wanted}", "maskkit_lossess"), "; did you mean maskkit_losses?"),
    "slip_prefix": (HOOKED.replace("{wanted}", "losses"), "; did you mean maskkit_losses?"),
    "slip_field": (FIELD.replace("{wanted}", "sumary='A loss'"), "; did you mean summary?"),
}
# What has nothing to do with the version, and the whole cause.
OTHERS = {
    "raising": (RAISING, "RuntimeError: no licence"),
    "stranger": ("import maskkit_is_absent", "ModuleNotFoundError: No module named 'maskkit_is_absent'"),
    "own": (
        "def make(size): ...\nmake(novelty=1)",
        "TypeError: make() got an unexpected keyword argument 'novelty'",
    ),
}
# By plugin: its source, what it requires, and how its cause ends.
REQUIRING = {
    "requiring": (RAISING, "maskkit>=9", f"RuntimeError: no licence{NEEDED}"),
    "requiring_slip": (HOOKED.replace("{wanted}", "maskkit_lossess"), "torch\nRequires-Dist: maskkit>=9", NEEDED),
    "requiring_old": (
        RAISING,
        "Maskkit<0.0.9; python_version >= '3'",
        f"RuntimeError: no licence; it needs maskkit<0.0.9, and this is {HERE}",
    ),
    "requiring_this": (RAISING, f"maskkit>={HERE}", "RuntimeError: no licence"),
    "requiring_extra": (RAISING, "maskkit>=9; extra == 'future'", "RuntimeError: no licence"),
    "requiring_nonsense": (RAISING, "maskkit>>9", "RuntimeError: no licence"),
    "requiring_other": (RAISING, "maskkit-hello>=9", "RuntimeError: no licence"),
}
CAUSES = {name: cause for name, (_, cause) in (TOO_NEW | SLIPS | OTHERS).items()}
CAUSES |= {name: cause for name, (_, _, cause) in REQUIRING.items()}


def write_plugin(place: Path, name: str, source: str, requires: str = "") -> None:
    facts = f"Metadata-Version: 2.1\nName: guest-{name}\nVersion: 1.0\n"
    write_files(
        place,
        {
            f"guest_{name}.py": source.replace("{name}", name).replace("{{year}}", "{year}"),
            f"guest_{name}-1.0.dist-info/METADATA": facts + (f"Requires-Dist: {requires}\n" if requires else ""),
            f"guest_{name}-1.0.dist-info/entry_points.txt": f"[maskkit]\n{name} = guest_{name}\n",
        },
    )


def environment_of(*places: Path) -> dict[str, str]:
    """Return the environment in which what lies in some folders is installed."""
    path = os.pathsep.join(filter(None, [*map(str, places), os.environ.get("PYTHONPATH")]))
    return {"MASKKIT_DISABLE_PLUGINS": "", "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of all plugins, with some that work."""
    folder = tmp_path_factory.mktemp("guests")
    for name, (source, _) in (TOO_NEW | SLIPS | OTHERS).items():
        write_plugin(folder, name, source)
    for name, (source, requires, _) in REQUIRING.items():
        write_plugin(folder, name, source, requires)
    write_plugin(folder, "older", HEALTHY)
    write_plugin(folder, "well", HEALTHY, "maskkit>=9")
    write_files(folder, {"guest_older_losses.py": "from maskkit import Novelty"})
    return folder


def listed(maskkit: Runner, env: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return what `list-plugins` says of each plugin."""
    done = maskkit("list-plugins", "--format=json", env=env)
    assert (done.code, done.err) == (0, "")
    return {record["name"]: record for record in json.loads(done.out)}


def test_a_cause_tells_of_the_version_where_it_may_lie_behind_it_and_nowhere_else(maskkit: Runner, place: Path) -> None:
    found = listed(maskkit, environment_of(place))
    assert {name for name, record in found.items() if record["state"] == "BROKEN"} == set(CAUSES)
    for name, cause in CAUSES.items():
        assert found[name]["cause"].endswith(cause)
        assert found[name]["cause"].count("; ") == cause.count("; ")
    for name in OTHERS:
        assert found[name]["cause"] == CAUSES[name]
    for name in TOO_NEW.keys() - {"argument"}:
        assert re.search("novelt(y|ies)", found[name]["cause"], re.IGNORECASE)
    assert "{'year'}" in found["argument"]["cause"]


def test_a_plugin_that_works_is_well_whatever_it_requires(maskkit: Runner, place: Path) -> None:
    found = listed(maskkit, environment_of(place))["well"]
    assert (found["state"], found["cause"]) == ("OK", "")


def test_a_component_that_cannot_be_loaded_tells_of_the_version_too(maskkit: Runner, place: Path) -> None:
    done = maskkit("train", "--criterion=older", "--criterion_args=x=1", env=environment_of(place))
    assert done.code == 1
    assert "loss 'older' of guest-older 1.0 cannot be loaded from guest_older_losses:loss: ImportError:" in done.err
    assert f"{ASKED}\n" in done.err


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path.name} no longer holds {before!r} once"
    path.write_text(text.replace(before, after), encoding="utf-8")


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a maskkit to come: a hook has gained an argument, and a record a field."""
    folder = tmp_path_factory.mktemp("newer")
    home = folder / "maskkit"
    shutil.copytree(Path(package.__file__).parent, home, ignore=shutil.ignore_patterns("__pycache__"))
    change(home / "__init__.py", f'__version__ = "{HERE}"', '__version__ = "9.0"')
    change(home / "plugin" / "hookspecs.py", "\ndef maskkit_losses()", "\ndef maskkit_losses(year: int)")
    change(home / "plugin" / "discovery.py", "caller()", "caller(year=2031)")
    change(home / "plugin" / "component.py", "    has_weights: bool", "    novelty: int = 0\n    has_weights: bool")
    return folder


def test_an_older_plugin_goes_on_when_a_hook_gains_an_argument_and_a_record_a_field(
    maskkit: Runner, place: Path, newer: Path
) -> None:
    found = listed(maskkit, environment_of(newer, place))
    for name, offered in {
        "older": "older",
        "well": "well",
        "argument": "argument_2031",
        "field": "field",
        "builtin": "focal",
    }.items():
        assert found[name]["state"] == "OK", found[name]
        assert offered in {component["name"] for component in found[name]["components"]}
    assert found["requiring"]["cause"] == "RuntimeError: no licence"
    assert found["hook"]["cause"].endswith("; this is maskkit 9.0, is the plugin made for a newer one?")
