"""Finding plugins one entry point at a time, so that what breaks one leaves the others alive."""

import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

import pluggy

from maskkit.plugin import hookspecs
from maskkit.plugin.component import Component
from maskkit.plugin.watching import time_limit, traced

__all__ = ["BUILTIN", "DISABLE_VARIABLE", "Plugin", "State", "discover", "identity_of", "plain_name"]

DISABLE_VARIABLE = "MASKKIT_DISABLE_PLUGINS"
BUILTIN = "builtin"
"""The name of the plugin that ships in the box."""


class State(StrEnum):
    """What became of a plugin: OK, its import or hooks failed, switched off, its names are taken, nothing offered."""

    OK = "OK"
    BROKEN = "BROKEN"
    DISABLED = "DISABLED"
    CONFLICT = "CONFLICT"
    EMPTY = "EMPTY"


@dataclass(frozen=True)
class Plugin:
    """An installed plugin, what became of it, and what it offers by kind.

    file: where its module stands, "" when that cannot be told; traceback: of what broke it.
    """

    name: str
    distribution: str
    version: str
    state: State
    cause: str = ""
    components: Mapping[str, tuple[Component, ...]] = field(default_factory=dict)
    file: str = ""
    traceback: str = ""

    @property
    def is_builtin(self) -> bool:
        return self.name == BUILTIN and self.distribution == "maskkit"


def discover(environment: Mapping[str, str] = os.environ, entries: Iterable[EntryPoint] | None = None) -> list[Plugin]:
    """Return the plugins of the entry points, of all that are installed by default: maskkit's own, then by name."""
    disabled = {plain_name(name) for name in environment.get(DISABLE_VARIABLE, "").split(",") if name.strip()}
    entries = entry_points(group=hookspecs.ENTRY_POINT_GROUP) if entries is None else entries
    plugins = [_examine(entry, disabled, environment) for entry in entries]
    return sorted(plugins, key=lambda plugin: (not plugin.is_builtin, plugin.name, plugin.distribution))


def _examine(entry: EntryPoint, disabled: set[str], environment: Mapping[str, str]) -> Plugin:
    distribution, version = identity_of(entry)

    def found(state: State, cause: str = "", **details: Any) -> Plugin:
        return Plugin(entry.name, distribution, version, state, cause, file=_file(entry), **details)

    is_builtin = entry.name == BUILTIN and distribution == "maskkit"
    if not is_builtin and disabled & {"*", plain_name(entry.name), plain_name(distribution)}:
        return found(State.DISABLED, f"switched off by {DISABLE_VARIABLE}")
    try:
        # What it prints must not mix with what maskkit prints for programs.
        with redirect_stdout(sys.stderr), time_limit(environment):
            components = _collect(entry, environment)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  a plugin may raise anything, SystemExit at import included
        from maskkit.plugin.causes import cause_of

        return found(State.BROKEN, cause_of(error, distribution), traceback="".join(traceback.format_exception(error)))
    if not components:
        return found(State.EMPTY, _why_empty(entry))
    return found(State.OK, components=components)


def _collect(entry: EntryPoint, environment: Mapping[str, str]) -> dict[str, tuple[Component, ...]]:
    """Import one plugin and call its hooks, in a manager of its own so that nobody else is in the way."""
    manager = pluggy.PluginManager("maskkit")
    manager.add_hookspecs(hookspecs)
    with traced(entry.name, "import", environment):
        module = _load(entry)
    manager.register(module, name=entry.name)
    manager.check_pending()  # without it a misspelled hook goes unnoticed
    offered = {}
    for kind, hook in hookspecs.KINDS.items():
        caller = getattr(manager.hook, hook.__name__)
        if not caller.get_hookimpls():
            continue
        with traced(entry.name, hook.__name__, environment):
            components = tuple(component for answer in caller() for component in _checked(hook.__name__, answer))
        if components:
            offered[kind] = components
    return offered


def _load(entry: EntryPoint) -> Any:
    """Import what an entry point names.

    Raises:
        ValueError: it is no name of a module.
        ModuleNotFoundError: there is no such module; the entry point is shown, which may have changed since pip saw it.
    """
    shown = f'its entry point says {entry.name} = "{entry.value}"'
    if not entry.pattern.match(entry.value):
        raise ValueError(f"{shown}, and a module's name has letters, digits and '_' alone")
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        if error.name is None or not f"{entry.module}.".startswith(f"{error.name}."):
            raise
        raise ModuleNotFoundError(f"{error}: {shown}; when pyproject.toml changed, run pip install again") from error


def identity_of(entry: EntryPoint) -> tuple[str, str]:
    """Return the name and the version of the distribution of an entry point, "unknown" where it does not tell them."""
    name = version = "unknown"
    if entry.dist:
        with suppress(OSError, ValueError):  # a file that cannot be read, or is no text
            facts = entry.dist.metadata  # read anew each time that it is asked for, so asked once
            name, version = (facts.get_all(key, ["unknown"])[0] for key in ("Name", "Version"))
    return name, version


def plain_name(name: str) -> str:
    """Return what is equal for all spellings of a distribution's name, as pip has it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _file(entry: EntryPoint) -> str:
    """Return the file of an entry point's module or, when it was not imported, of the package that it lies in."""
    try:
        spec = getattr(sys.modules.get(entry.module), "__spec__", None)
        spec = spec or find_spec(entry.module.partition(".")[0])  # a dotted name would import its package
    except (ImportError, ValueError, AttributeError):
        return ""
    return (spec.origin if spec else "") or ""


def _checked(hook: str, answer: object) -> list[Component]:
    if not isinstance(answer, Iterable):
        raise TypeError(f"{hook} must return an iterable of Components, but gave {answer!r}")
    components = list(answer)
    for component in components:
        if not isinstance(component, Component):
            raise TypeError(f"{hook} must return Components, but gave {component!r}")
    names = [component.name for component in components]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{hook} offers {', '.join(twice)} twice")
    return components


def _why_empty(entry: EntryPoint) -> str:
    module = sys.modules.get(entry.module)
    unmarked = sorted(name for name in vars(module) if name.startswith("maskkit_")) if module else []
    if unmarked:
        return f"offers nothing: is @hookimpl missing, or the answer empty, at {', '.join(unmarked)}?"
    return f"offers nothing: {entry.module} implements no hook of maskkit"
