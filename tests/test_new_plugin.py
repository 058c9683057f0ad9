"""New plugins: what the templates make is whole, clean and importable, and names that would do harm are refused."""

import importlib
import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import ROOT, Runner, run
from hypothesis import given, settings
from hypothesis import strategies as st

import maskkit as package
from maskkit.plugin.discovery import State, discover
from maskkit.plugin.hookspecs import KINDS
from maskkit.plugin.new_package import TEMPLATES, render_package, write_package

LONGEST = "maskkit-" + "long-" * 6 + "er"
PRINTED = """\
wrote maskkit-poly: a loss named poly
  maskkit-poly/.gitignore
  maskkit-poly/README.md
  maskkit-poly/pyproject.toml
  maskkit-poly/tests/test_maskkit_poly.py
  maskkit-poly/maskkit_poly/__init__.py
  maskkit-poly/maskkit_poly/py.typed
  maskkit-poly/maskkit_poly/losses.py
next:
  pip install -e ./maskkit-poly
  maskkit check-plugin ./maskkit-poly
  maskkit train --criterion=poly --epochs=1
"""

name_parts = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,6}", fullmatch=True)
kinds = st.sampled_from(list(KINDS))


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of all files of a folder by their paths in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write(name: str, kind: str, folder: Path) -> Path:
    """Write a package into a folder of its name."""
    write_package(render_package(name, kind).files, folder / name)
    return folder / name


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let the packages of a folder be imported, and forget them afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                del sys.modules[name]


def declared(folder: Path) -> list[EntryPoint]:
    """Return the entry points that the pyproject.toml of a package declares."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [EntryPoint(name, value, "maskkit") for name, value in project["entry-points"]["maskkit"].items()]


@pytest.mark.parametrize("kind", KINDS)
def test_copier_makes_the_same_files(kind: str, tmp_path: Path) -> None:
    from copier import run_copy

    for name in ("maskkit-poly", "Maskkit_Poly.Two", "other"):
        ours = write(name, kind, tmp_path)
        theirs = tmp_path / f"copied-{name}"
        run_copy(str(TEMPLATES), theirs, data={"name": name, "kind": kind}, defaults=True, quiet=True)
        assert files_of(theirs) == files_of(ours)


def test_the_questions_are_those_of_this_version_of_maskkit() -> None:
    questions = json.loads((TEMPLATES / "copier.yml").read_text(encoding="utf-8"))
    assert questions["kind"]["choices"] == list(KINDS)
    assert package.__version__.startswith(f"{questions['maskkit_version']['default']}.")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a1", "maskkit-poly", LONGEST])
def test_the_code_has_no_fault_for_ruff_and_the_form_that_it_gives(name: str, kind: str, tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    folder = write(name, kind, tmp_path)
    for check in (("check",), ("format", "--check")):
        done = run(sys.executable, "-m", "ruff", *check, "--isolated", "--no-cache", ".", cwd=folder)
        assert done.code == 0, done.out + done.err


@pytest.mark.slow
def test_the_code_has_no_fault_for_strict_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    pytest.importorskip("maskkit.testing")
    together = tmp_path / "together"
    for kind in KINDS:
        folder = write(f"maskkit-typed-{kind}", kind, tmp_path)
        shutil.copytree(folder / f"maskkit_typed_{kind}", together / f"maskkit_typed_{kind}")
        shutil.copytree(folder / "tests", together, dirs_exist_ok=True)
    shutil.copy(tmp_path / "maskkit-typed-augmentation" / "pyproject.toml", together)  # with what it tells mypy
    assert len([*together.glob("test_*.py")]) == len(KINDS)
    words = ("-m", "mypy", "--strict", f"--cache-dir={tmp_path / 'cache'}", ".")
    done = run(sys.executable, *words, cwd=together, env={**os.environ, "MYPYPATH": str(ROOT)})
    assert done.code == 0, done.out + done.err


@settings(max_examples=60, deadline=None)
@given(
    prefix=st.sampled_from(["maskkit-", "Maskkit_", "own."]),
    parts=st.lists(name_parts, min_size=1, max_size=3),
    between=st.sampled_from(["-", "_", ".", "--"]),
    kind=kinds,
)
def test_any_valid_name_gives_a_plugin_that_is_found_well(
    prefix: str, parts: list[str], between: str, kind: str
) -> None:
    name = prefix + between.join(parts)
    with TemporaryDirectory() as place:
        folder = write(name, kind, Path(place))
        with importable(folder):
            (plugin,) = discover({}, declared(folder))
            assert (plugin.state, plugin.cause) == (State.OK, "")
            assert list(plugin.components) == [kind]
            (component,) = plugin.components[kind]
            home = component.target.partition(":")[0]
            spec = find_spec(home)
        assert component.name == plugin.name.replace("-", "_")
        assert spec is not None
        assert str(spec.origin).startswith(str(folder))
        assert (folder / plugin.file).is_file()


def test_it_prints_the_files_and_what_to_type_next(maskkit: Runner, tmp_path: Path) -> None:
    done = maskkit("new-plugin", "maskkit-poly", "--kind=loss")
    assert (done.code, done.out, done.err) == (0, PRINTED, "")
    listed = re.findall("^  maskkit-poly/(.+)$", done.out, re.MULTILINE)
    assert sorted(listed) == sorted(files_of(tmp_path / "maskkit-poly"))


def test_the_kind_must_be_given_and_be_one(maskkit: Runner, tmp_path: Path) -> None:
    for words in ((), ("--kind=losss",)):
        done = maskkit("new-plugin", "maskkit-poly", *words)
        assert done.code == 2
        assert all(kind in done.err for kind in KINDS)
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_written_to_another_folder_new_or_empty(maskkit: Runner, tmp_path: Path) -> None:
    (tmp_path / "my plugins" / "empty").mkdir(parents=True)
    for place in ("my plugins/empty", tmp_path / "my plugins" / "new"):
        done = maskkit("new-plugin", "maskkit-faces", "--kind=dataset", f"--out={place}")
        assert done.code == 0, done.err
        typed = f"'./{place}'" if isinstance(place, str) else f"'{place}'"
        assert f"  pip install -e {typed}\n  maskkit check-plugin {typed} --data_dir={typed}/tests/faces\n" in done.out
        assert f" --data_dir={typed}/tests/faces --epochs=1\n" in done.out
    assert files_of(tmp_path / "my plugins" / "empty") == files_of(tmp_path / "my plugins" / "new")
    assert len(list((tmp_path / "my plugins").iterdir())) == 2


def test_the_folders_have_the_usual_rights(tmp_path: Path) -> None:
    (tmp_path / "usual").mkdir()
    home = write("maskkit-poly", "loss", tmp_path)
    assert home.stat().st_mode == (home / "tests").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_place_in_folders_that_are_not_there_yet_is_made(maskkit: Runner, tmp_path: Path) -> None:
    done = maskkit("new-plugin", "maskkit-poly", "--kind=loss", "--out=absent/new")
    assert done.code == 0, done.err
    assert "  pip install -e ./absent/new\n" in done.out
    assert (tmp_path / "absent" / "new" / "pyproject.toml").is_file()


def test_a_place_that_is_taken_is_refused_and_left_as_it_is(maskkit: Runner, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "here").mkdir()
    before = files_of(tmp_path)
    for place, folder, complaint in (
        ("full", tmp_path, "full is there already"),
        ("full/mine.txt", tmp_path, "full/mine.txt is there already"),
        (".", tmp_path / "here", "the package would replace the folder that you are in"),
    ):
        done = maskkit("new-plugin", "maskkit-poly", "--kind=loss", f"--out={place}", cwd=folder)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"error: {complaint}")
    assert files_of(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "here"]


def test_a_disk_that_fails_halfway_leaves_nothing(environment: Mapping[str, str], tmp_path: Path) -> None:
    # A limit on the size of files lets the short files be written and the long ones fail.
    line = f"ulimit -f 1; exec {sys.executable} -m maskkit new-plugin maskkit-poly --kind=loss"
    done = run("bash", "-c", line, cwd=tmp_path, env=environment)
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: cannot write maskkit-poly: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_writing_a_package_loads_nothing_heavy(environment: Mapping[str, str], tmp_path: Path) -> None:
    code = """
import sys
from maskkit.cli.shell import main
assert main(["new-plugin", "maskkit-poly", "--kind=model"]) == 0
print("loaded:", *{"torch", "numpy", "pandas"} & set(sys.modules))
"""
    done = run(sys.executable, "-c", code, cwd=tmp_path, env=environment)
    assert done.out.splitlines()[-1] == "loaded:", done.err


@pytest.mark.slow
def test_a_wheel_holds_the_templates(tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    done = run(*pip, f"--wheel-dir={tmp_path}", ROOT)
    assert done.code == 0, done.err
    (wheel,) = tmp_path.glob("maskkit-*.whl")
    unpacked = tmp_path / "unpacked"
    assert run(sys.executable, "-m", "zipfile", "-e", wheel, unpacked).code == 0
    assert files_of(unpacked / "maskkit" / "plugin" / "templates") == files_of(TEMPLATES)
