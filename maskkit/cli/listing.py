"""How `list-plugins` shows what is installed."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from maskkit.plugin.discovery import Plugin, State

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["is_unwell", "print_in_full", "print_json", "print_table"]

_COLORS = {
    State.OK: "green",
    State.DISABLED: "dim",
    State.EMPTY: "yellow",
    State.CONFLICT: "yellow",
    State.BROKEN: "red",
}


def is_unwell(plugin: Plugin) -> bool:
    """Return whether somebody should look at the plugin: broken, in conflict or empty."""
    return plugin.state in {State.BROKEN, State.CONFLICT, State.EMPTY}


def print_json(plugins: Sequence[Plugin], kind: str) -> None:
    """Print a list of objects, one a plugin."""
    print(json.dumps([_record(plugin, kind) for plugin in plugins], indent=2))


def print_table(plugins: Sequence[Plugin], kind: str) -> None:
    """Print each plugin in a line, its cause when there is one, and below it what it offers, by kind."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for plugin in plugins:
        _print_plugin(console, plugin, kind)


def print_in_full(plugins: Sequence[Plugin], kind: str) -> None:
    """Print plugins with the files of their modules, the targets of their components, and what broke them."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for plugin in plugins:
        _print_plugin(console, plugin, kind, in_full=True)
        if plugin.traceback:
            console.print(Text(plugin.traceback.rstrip()))


def _print_plugin(console: "Console", plugin: Plugin, kind: str, *, in_full: bool = False) -> None:
    from rich.text import Text

    title = f"{plugin.name}  {plugin.distribution} {plugin.version}  "
    console.print(Text(title, style="bold") + Text(plugin.state, style=_COLORS[plugin.state]))
    if plugin.cause:
        console.print(Text(f"  {plugin.cause}"))
    if in_full and plugin.file:
        console.print(Text(f"  {plugin.file}"))
    for offered, components in _selected(plugin, kind).items():
        console.print(Text(f"  {offered}", style="cyan"))
        for component in components:
            console.print(Text(f"    {component.name:<27} {component.summary}"))
            if in_full:
                console.print(Text(f"    {'':<28}{component.target}", style="dim"))


def _selected(plugin: Plugin, kind: str) -> dict[str, Any]:
    return {name: found for name, found in plugin.components.items() if kind in {"all", name}}


def _record(plugin: Plugin, kind: str) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": str(plugin.state),
        "cause": plugin.cause,
        "file": plugin.file,
        "traceback": plugin.traceback,
        "components": [
            {"kind": offered, "name": one.name, "summary": one.summary, "target": one.target}
            for offered, components in _selected(plugin, kind).items()
            for one in components
        ],
    }
