"""How `list-plugins` shows what is installed."""

import json
from collections.abc import Sequence
from typing import Any

from maskkit.plugin.discovery import Plugin, State

__all__ = ["is_unwell", "print_json", "print_table"]

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
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for plugin in plugins:
        title = f"{plugin.name}  {plugin.distribution} {plugin.version}  "
        console.print(Text(title, style="bold") + Text(plugin.state, style=_COLORS[plugin.state]))
        if plugin.cause:
            console.print(Text(f"  {plugin.cause}"))
        for offered, components in _selected(plugin, kind).items():
            console.print(Text(f"  {offered}", style="cyan"))
            for component in components:
                console.print(Text(f"    {component.name:<28}{component.summary}"))


def _selected(plugin: Plugin, kind: str) -> dict[str, Any]:
    return {name: found for name, found in plugin.components.items() if kind in {"all", name}}


def _record(plugin: Plugin, kind: str) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": str(plugin.state),
        "cause": plugin.cause,
        "components": [
            {"kind": offered, "name": one.name, "summary": one.summary, "target": one.target}
            for offered, components in _selected(plugin, kind).items()
            for one in components
        ],
    }
