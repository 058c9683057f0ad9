"""The plugin to check: one that is installed, or a folder with a pyproject.toml, which need not be."""

import importlib
import os
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from maskkit.cli.catalogue import RESERVED
from maskkit.errors import UsageError
from maskkit.plugin.discovery import DISABLE_VARIABLE, Plugin, discover, identity_of, plain_name
from maskkit.plugin.hookspecs import ENTRY_POINT_GROUP
from maskkit.plugin.registry import Registry, plugins_named

__all__ = ["Guest", "Package", "find_package"]


@dataclass(frozen=True)
class Guest:
    """A plugin with the entry point that it was found by, and the folder that was checked, when it was one.

    installed: the entry points that pip knows of the same distribution.
    """

    plugin: Plugin
    entry: EntryPoint
    folder: Path | None
    installed: tuple[EntryPoint, ...]


@dataclass(frozen=True)
class Package:
    """The plugins to check, and the registry of all that they meet."""

    guests: tuple[Guest, ...]
    registry: Registry


class _Folder(Distribution):
    """A distribution as a pyproject.toml describes it, before anything is built."""

    def __init__(self, folder: Path, project: Mapping[str, Any]) -> None:
        self._folder, self._project = folder, project

    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA":
            return "".join(f"{name}: {value}\n" for name, value in self._facts())
        if filename == "entry_points.txt":
            entries = self._project["entry-points"][ENTRY_POINT_GROUP]
            return "\n".join([f"[{ENTRY_POINT_GROUP}]", *(f"{name} = {value}" for name, value in entries.items())])
        return None

    def locate_file(self, path: Any) -> Any:
        return self._folder / path

    def _facts(self) -> Iterable[tuple[str, str]]:
        project = self._project
        yield "Metadata-Version", "2.2"
        yield "Name", project["name"]
        yield "Version", project.get("version", "dynamic")
        if "description" in project:
            yield "Summary", " ".join(project["description"].split())
        if "requires-python" in project:
            yield "Requires-Python", project["requires-python"]
        yield from (("Requires-Dist", needed) for needed in project.get("dependencies", ()))
        yield from (("Dynamic", name) for name in project.get("dynamic", ()))


def find_package(word: str | Path, *, root: Path | None = None) -> Package:
    """Return the plugins of a folder, or the installed ones of that plugin or distribution.

    A word with a slash or of a folder with a pyproject.toml is a path, relative to `root`; so is any other folder
    unless it is called like an installed plugin. The folder, or its `src`, is put first on `sys.path`.

    Raises:
        UsageError: the folder holds no plugin.
        UnknownNameError: no plugin of that name is installed.
    """
    installed = list(entry_points(group=ENTRY_POINT_GROUP))
    wanted = plain_name(str(word))
    named = [entry for entry in installed if wanted in {plain_name(entry.name), plain_name(_distribution(entry))}]
    folder = (root or Path.cwd()) / word
    is_path = isinstance(word, Path) or os.sep in word or (folder / "pyproject.toml").is_file()
    if is_path or (folder.is_dir() and not named):
        own = _entries_of(folder)
        others = [one for one in installed if _canonical(one) != _canonical(own[0])]
    else:
        own, others = named, [entry for entry in installed if entry not in named]
    # Whoever checks a plugin wants it checked, also where it is switched off.
    environment = {name: value for name, value in os.environ.items() if name != DISABLE_VARIABLE}
    found = [plugin for entry in own for plugin in discover(environment, [entry])] + discover(entries=others)
    if not own:
        plugins_named(str(word), found)
    registry = Registry(found, RESERVED)
    # The registry knows the same plugins in the same order, with their conflicts.
    judged = zip(registry.plugins, own, strict=False)
    place = folder.resolve() if own and own is not named else None
    twins = tuple(entry for entry in installed if _canonical(entry) == _canonical(own[0]))
    return Package(tuple(Guest(plugin, entry, place, twins) for plugin, entry in judged), registry)


def _entries_of(folder: Path) -> list[EntryPoint]:
    """Return the entry points that a folder declares, which can be imported from now on.

    Raises:
        UsageError: it declares none.
    """
    project = _project_of(folder)
    declared = project.get("entry-points", {}).get(ENTRY_POINT_GROUP)
    if not declared or not isinstance(declared, Mapping):
        raise UsageError(
            f"{folder / 'pyproject.toml'} declares no plugin",
            hint=f'Add [project.entry-points.{ENTRY_POINT_GROUP}] with a line such as: hello = "maskkit_hello"',
        )
    folder = folder.resolve()
    for home in map(str, (folder, folder / "src")):
        if home not in sys.path:
            sys.path.insert(0, home)
    importlib.invalidate_caches()
    return list(_Folder(folder, project).entry_points)


def _project_of(folder: Path) -> Mapping[str, Any]:
    path = folder / "pyproject.toml"
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="Name the folder of a package, or an installed plugin."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML: {error}", hint="pip could not read it either.") from error
    if not isinstance(project, Mapping) or not isinstance(project.get("name"), str):
        raise UsageError(f"{path} has no [project] table with a name", hint="A plugin is a package; give it a name.")
    return project


def _distribution(entry: EntryPoint) -> str:
    name, _ = identity_of(entry)
    return name


def _canonical(entry: EntryPoint) -> str:
    return canonicalize_name(_distribution(entry))
