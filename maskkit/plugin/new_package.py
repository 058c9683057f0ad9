"""Writing a new plugin: a package that installs, is typed and is tested, rendered from the templates beside this file.

They are one template of copier (https://copier.readthedocs.io), which makes the same files of them. Its questions, and
the values computed from the answers, stand in `copier.yml`: YAML in the form of JSON, so that json can read it.
"""

import json
import keyword
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from maskkit.errors import MaskkitError, UsageError
from maskkit.plugin.component import Component
from maskkit.plugin.registry import Registry, same_name

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["TEMPLATES", "NewPackage", "check_names_are_free", "render_package", "write_package"]

TEMPLATES = Path(__file__).with_name("templates")

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_LONGEST = 40  # for which the lines of the templates and of list-plugins leave room
_SUFFIX = ".jinja"
_BESIDE_MODULE = {"build", "dist", "runs", "tests"}  # folders of the package itself


@dataclass(frozen=True)
class NewPackage:
    """A package before it is written: its names, its files by their paths, and how it is used.

    `commands` takes the folder of the package as a shell would, and gives what to type next, a command a line.
    """

    values: Mapping[str, str]
    files: Mapping[str, str]
    commands: Callable[[str], str]

    def next_steps(self, folder: Path) -> list[str]:
        """Return what to type once the package is written to `folder`."""
        place = shlex.quote(str(folder) if folder.is_absolute() else f"./{folder}")
        return self.commands(place).splitlines()


def render_package(name: str, kind: str) -> NewPackage:
    """Return the package of that name for one component of a kind.

    Raises:
        UsageError: no package, module or component can have such a name.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        form = f"letters and digits, with '-', '_' and '.' between them, {_LONGEST} characters at most"
        raise UsageError(f"{name!r} is no name of a package", hint=f"It has {form}, such as maskkit-poly.")
    settings = json.loads((TEMPLATES / "copier.yml").read_text(encoding="utf-8"))
    environment = _environment(settings["_envops"])
    values = {"name": name, "kind": kind}
    for key, question in settings.items():
        if not key.startswith("_") and key not in values:
            values[key] = environment.from_string(question["default"]).render(values)
    _check_names(values)
    files = dict(_render_files(environment, TEMPLATES / settings["_subdirectory"], values))
    commands = environment.get_template(f"commands{_SUFFIX}").make_module(values)
    return NewPackage(values, files, vars(commands)["next_steps"])


def check_names_are_free(values: Mapping[str, str], registry: Registry) -> None:
    """Refuse a component, plugin, module or distribution that is installed already.

    Raises:
        UsageError: it says who has the name.
    """
    kind, component = values["kind"], values["component"]
    for other in registry.plugins:
        owner = f"{other.distribution} {other.version}"
        for one in other.components.get(kind, ()):
            if _are_same(kind, one.name, component):
                raise _taken(f"{owner} already offers {values['a_kind']} named {one.name!r}", values)
        if other.name == values["plugin"]:
            raise _taken(f"the plugin of {owner} is already named {other.name!r}", values)
    if kind == "command" and any(_are_same(kind, name, component) for name in registry.names("command")):
        raise _taken(f"maskkit itself has a command named {component!r}", values)
    with suppress(PackageNotFoundError):
        raise _taken(f"{values['name']} {version(values['name'])} is installed already", values)
    if find_spec(values["module"]) is not None:
        raise _taken(f"a module {values['module']!r} can be imported already", values)


def write_package(files: Mapping[str, str], folder: Path) -> None:
    """Write the files into a folder that is new, or empty: all of them, or none.

    Raises:
        UsageError: something is there already.
        MaskkitError: the folder cannot be written.
    """
    target = folder.resolve()
    _check_target(folder, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{target.name[:100]}.", dir=target.parent) as beside:
            home = Path(beside, target.name)
            for path, text in files.items():
                (home / path).parent.mkdir(parents=True, exist_ok=True)
                (home / path).write_text(text, encoding="utf-8")
            home.rename(target)
    except OSError as error:
        raise MaskkitError(f"cannot write {folder}: {error.strerror}") from error


def _environment(options: Mapping[str, bool]) -> "Environment":
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    return SandboxedEnvironment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, **options)


def _render_files(environment: "Environment", home: Path, values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield path and text of each file; as in copier, one whose path has an empty part is left out."""
    for source in sorted(path for path in home.rglob("*") if path.is_file()):
        parts = [environment.from_string(part).render(values) for part in source.relative_to(home).parts]
        if not all(parts):
            continue
        text = source.read_text(encoding="utf-8")
        if source.name.endswith(_SUFFIX):
            text = environment.get_template(source.relative_to(TEMPLATES).as_posix()).render(values)
        yield "/".join(parts).removesuffix(_SUFFIX), text


def _check_names(values: Mapping[str, str]) -> None:
    """Refuse names that Python or maskkit keeps for itself."""
    module = values["module"]
    if not module.isidentifier() or keyword.iskeyword(module):
        raise _taken(f"Python cannot import a module named {module!r}", values)
    if module == "maskkit" or module in sys.stdlib_module_names:
        owner = "maskkit itself" if module == "maskkit" else "the standard library"
        raise _taken(f"the module {module!r} would hide that of {owner}", values)
    if module in _BESIDE_MODULE:
        raise _taken(f"the folder {module!r} of a package holds something else than its module", values)
    try:
        Component(name=values["component"], target="a:b", summary="c")
    except ValueError as error:
        raise _taken(str(error), values) from error


def _check_target(folder: Path, target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{folder} is there already", hint="Name another place: --out=FOLDER")
    if target == Path.cwd():
        raise UsageError("the package would replace the folder that you are in", hint="Go to the one above: cd ..")


def _are_same(kind: str, one: str, other: str) -> bool:
    """Return whether people could take one name for the other; dashes and underscores of a command are the same."""
    return same_name(kind, one).casefold() == same_name(kind, other).casefold()


def _taken(message: str, values: Mapping[str, str]) -> UsageError:
    advice = f"maskkit new-plugin maskkit-my-{values['plugin']} --kind={values['kind']}"
    return UsageError(message, hint=f"Choose another name, such as: {advice}")
