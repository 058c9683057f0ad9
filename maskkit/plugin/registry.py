"""The names of everything that the plugins offer: who owns each, which are in conflict, and what is near a typo."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from maskkit.errors import PluginError, UnknownNameError, nearest
from maskkit.plugin.component import Component, load_target
from maskkit.plugin.discovery import Plugin, State, discover
from maskkit.plugin.hookspecs import KINDS

__all__ = ["Offer", "Registry", "plugins_named"]


@dataclass(frozen=True)
class Offer:
    """A component with its kind and the plugin that offers it."""

    kind: str
    component: Component
    plugin: Plugin

    def load(self) -> Any:
        """Import and return the factory.

        Raises:
            PluginError: the import fails; the owner is named.
        """
        try:
            return load_target(self.component.target)
        except Exception as error:
            owner = f"{self.plugin.distribution} {self.plugin.version}"
            raise PluginError(
                f"{self.kind} {self.component.name!r} of {owner} cannot be loaded from {self.component.target}:"
                f" {self._cause(error)}",
                hint=f"Mend or uninstall it, or switch it off: MASKKIT_DISABLE_PLUGINS={self.plugin.name}",
            ) from error

    def failure(self, error: Exception) -> PluginError:
        """Return what to raise when the component fails with `error`: the owner is named."""
        owner = f"{self.plugin.distribution} {self.plugin.version}"
        return PluginError(
            f"{self.kind} {self.component.name} of {owner} failed: {self._cause(error)}",
            hint=f"--debug shows where; MASKKIT_DISABLE_PLUGINS={self.plugin.name} does without this plugin.",
        )

    def _cause(self, error: Exception) -> str:
        from maskkit.plugin.causes import cause_of  # a few milliseconds that a start without a failure need not spend

        return cause_of(error, self.plugin.distribution)


class Registry:
    """All offers of all plugins; built once by a command and passed down.

    `commands` are the names of maskkit's own, which no plugin can take.
    """

    def __init__(self, plugins: Iterable[Plugin], commands: Collection[str] = ()) -> None:
        found = list(plugins)
        self._commands = list(commands)
        self._owners = _owners(found)
        self.plugins = [self._with_conflicts(plugin, found) for plugin in found]

    @classmethod
    def discovered(cls, commands: Collection[str] = ()) -> "Registry":
        """Return the registry of what is installed."""
        return cls(discover(), commands)

    def names(self, kind: str) -> list[str]:
        """Return every name of a kind as it can be typed: `plugin:Name` where a bare one would be ambiguous."""
        spelled = list(self._commands) if kind == "command" else []
        for name, owners in self._owners[kind].items():
            winner = self._winner(kind, name, owners)
            spelled += [name] if winner else []
            spelled += [_spelling(plugin, name, owners) for plugin in owners if plugin is not winner]
        return spelled

    def find(self, kind: str, name: str) -> Offer:
        """Return the offer that `name`, `plugin:name` or `distribution:name` stands for.

        Raises:
            UnknownNameError: nobody offers it, or several do and the name does not say which.
        """
        prefix, _, bare = name.rpartition(":")
        owners = self._owners[kind].get(bare, [])
        if prefix:
            owners = _meant(prefix, owners)
        winner = _winner(owners) if prefix else self._winner(kind, bare, owners)
        if winner:
            component = next(one for one in winner.components[kind] if one.name == bare)
            return Offer(kind, component, winner)
        if len(owners) > 1:
            spellings = " or ".join(_spelling(plugin, bare, owners) for plugin in owners)
            raise UnknownNameError(f"{len(owners)} plugins offer a {kind} named {bare!r}", hint=f"Say {spellings}.")
        raise UnknownNameError(f"unknown {kind} {name!r}", hint=self._advice(kind, name))

    def plain(self, kind: str, name: str) -> str:
        """Return `builtin:Name` as `Name`, the same since names in the box are reserved, and any other as given."""
        prefix, _, bare = name.rpartition(":")
        owners = _meant(prefix, self._owners[kind].get(bare, []))
        return bare if any(owner.is_builtin for owner in owners) else name

    def _winner(self, kind: str, name: str, owners: list[Plugin]) -> Plugin | None:
        """Return whose the bare name is, if anybody's."""
        return None if kind == "command" and name in self._commands else _winner(owners)

    def _with_conflicts(self, plugin: Plugin, plugins: list[Plugin]) -> Plugin:
        """Return the plugin in the state CONFLICT when its name or one of its components' is not its own alone."""
        well = [other for other in plugins if other.state is State.OK]
        twins = [other for other in well if other is not plugin and other.name == plugin.name]
        if plugin.is_builtin or plugin.state is not State.OK:
            return plugin
        causes = [f"the plugin name {plugin.name!r} is used by {twins[0].distribution} too"] if twins else []
        for kind, components in plugin.components.items():
            for component in components:
                owners = self._owners[kind][component.name]
                rivals = [other.distribution for other in owners if other is not plugin]
                if kind == "command" and component.name in self._commands:
                    rivals.insert(0, "maskkit")
                if rivals:
                    spelling = _spelling(plugin, component.name, owners)
                    causes.append(f"{kind} {component.name!r} is offered by {rivals[0]} too; say {spelling}")
        return replace(plugin, state=State.CONFLICT, cause="; ".join(causes)) if causes else plugin

    def _advice(self, kind: str, name: str) -> str:
        valid = self.names(kind)
        near = nearest(name, valid) or nearest(name.rpartition(":")[2], valid)
        advice = f"Did you mean {near}?\n" if near else ""
        advice += f"{'Commands' if kind == 'command' else 'Valid'}: {', '.join(valid)}."
        unwell = [plugin for plugin in self.plugins if plugin.state in {State.BROKEN, State.DISABLED}]
        if unwell:
            advice += "\nNot available: " + "; ".join(f"{plugin.name} ({plugin.cause})" for plugin in unwell) + "."
        return advice


def plugins_named(name: str, plugins: Sequence[Plugin]) -> list[Plugin]:
    """Return the plugins of that name, or of that distribution.

    Raises:
        UnknownNameError: there is none.
    """
    found = [plugin for plugin in plugins if name in {plugin.name, plugin.distribution}]
    if not found:
        names = [plugin.name for plugin in plugins]
        near = nearest(name, [*names, *(plugin.distribution for plugin in plugins)])
        advice = f"Did you mean {near}?" if near else f"Installed: {', '.join(names)}."
        raise UnknownNameError(f"no plugin {name!r} is installed", hint=advice)
    return found


def _owners(plugins: list[Plugin]) -> dict[str, dict[str, list[Plugin]]]:
    """Return, by kind and name, the plugins that offer it."""
    owners: dict[str, dict[str, list[Plugin]]] = {kind: defaultdict(list) for kind in KINDS}
    for plugin in plugins:
        for kind, components in plugin.components.items():
            for component in components:
                owners[kind][component.name].append(plugin)
    return owners


def _winner(owners: list[Plugin]) -> Plugin | None:
    """Return whose the bare name is: the only owner's, or maskkit's own, since names in the box are reserved."""
    if len(owners) == 1:
        return owners[0]
    return next((plugin for plugin in owners if plugin.is_builtin), None)


def _meant(prefix: str, owners: list[Plugin]) -> list[Plugin]:
    """Return whom a prefix means: maskkit's own, else the owner of that distribution, else those of that name."""
    own = [plugin for plugin in owners if plugin.is_builtin and plugin.name == prefix]
    by_distribution = [plugin for plugin in owners if plugin.distribution == prefix]
    return own or by_distribution or [plugin for plugin in owners if plugin.name == prefix]


def _spelling(plugin: Plugin, name: str, owners: list[Plugin]) -> str:
    """Return the spelling that means this owner alone: by its plugin name or, where unclear, its distribution."""
    taken = {label for other in owners if other is not plugin for label in (other.name, other.distribution)}
    is_clear = plugin.is_builtin or plugin.name not in taken
    return f"{plugin.name if is_clear else plugin.distribution}:{name}"
