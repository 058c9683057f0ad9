"""The names of everything that the plugins offer: who owns each, which are in conflict, and what is near a typo."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from maskkit.errors import PluginError, UnknownNameError, nearest
from maskkit.plugin.component import Component, load_target
from maskkit.plugin.discovery import Plugin, State, discover, plain_name
from maskkit.plugin.hookspecs import KINDS

__all__ = ["Offer", "Registry", "plugins_named", "same_name"]


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

    def failure(self, error: BaseException) -> PluginError:
        """Return what to raise when the component fails with `error`: the owner is named."""
        owner = f"{self.plugin.distribution} {self.plugin.version}"
        return PluginError(
            f"{self.kind} {self.component.name} of {owner} failed: {self._cause(error)}",
            hint=f"--debug shows where; MASKKIT_DISABLE_PLUGINS={self.plugin.name} does without this plugin.",
        )

    def _cause(self, error: BaseException) -> str:
        from maskkit.plugin.causes import cause_of  # a few milliseconds that a start without a failure need not spend

        return cause_of(error, self.plugin.distribution)


class Registry:
    """All offers of all plugins; built once by a command and passed down.

    `commands` are the names of maskkit's own, which no plugin can take.
    """

    def __init__(self, plugins: Iterable[Plugin], commands: Collection[str] = ()) -> None:
        found = list(plugins)
        self._commands = list(commands)
        self._offers = _offers(found)
        self.plugins = [self._with_conflicts(plugin, found) for plugin in found]

    @classmethod
    def discovered(cls, commands: Collection[str] = ()) -> "Registry":
        """Return the registry of what is installed."""
        return cls(discover(), commands)

    def names(self, kind: str) -> list[str]:
        """Return every name of a kind as it can be typed: `plugin:Name` where a bare one would be ambiguous."""
        spelled = list(self._commands) if kind == "command" else []
        for offers in self._offers[kind].values():
            winner = self._winner(offers)
            spelled += [winner.component.name] if winner else []
            spelled += [_spelling(offer, offers) for offer in offers if offer is not winner]
        return spelled

    def find(self, kind: str, name: str) -> Offer:
        """Return the offer that `name`, `plugin:name` or `distribution:name` stands for.

        Raises:
            UnknownNameError: nobody offers it, or several do and the name does not say which.
        """
        prefix, _, bare = name.rpartition(":")
        offers = self._offers[kind].get(same_name(kind, bare), [])
        if prefix:
            offers = _meant(prefix, offers)
        winner = _winner(offers) if prefix else self._winner(offers)
        if winner:
            return winner
        if len(offers) > 1:
            spellings = " or ".join(_spelling(offer, offers) for offer in offers)
            raise UnknownNameError(f"{len(offers)} plugins offer a {kind} named {bare!r}", hint=f"Say {spellings}.")
        raise UnknownNameError(f"unknown {kind} {name!r}", hint=self._advice(kind, name))

    def find_again(self, kind: str, name: str, *, distribution: str, plugin: str) -> Offer:
        """Return the offer of a distribution, of that plugin of it where several of its plugins offer the name.

        Raises:
            UnknownNameError: the distribution does not offer it.
        """
        offers = [offer for offer in self._offers[kind].get(same_name(kind, name), []) if offer.plugin.name == plugin]
        exact = [offer for offer in offers if offer.plugin.distribution == distribution]
        return exact[0] if exact else self.find(kind, f"{distribution}:{name}")

    def plain(self, kind: str, name: str) -> str:
        """Return `builtin:Name` as `Name`, the same since names in the box are reserved, and any other as given."""
        prefix, _, bare = name.rpartition(":")
        offers = _meant(prefix, self._offers[kind].get(same_name(kind, bare), []))
        return bare if any(offer.plugin.is_builtin for offer in offers) else name

    def _winner(self, offers: list[Offer]) -> Offer | None:
        """Return whose the bare name is, if anybody's."""
        return None if any(map(self._is_own_command, offers)) else _winner(offers)

    def _is_own_command(self, offer: Offer) -> bool:
        return offer.kind == "command" and same_name("command", offer.component.name) in self._commands

    def _with_conflicts(self, plugin: Plugin, plugins: list[Plugin]) -> Plugin:
        """Return the plugin in the state CONFLICT when its name or one of its components' is not its own alone."""
        well = [other for other in plugins if other.state is State.OK]
        twins = [other for other in well if other is not plugin and other.name == plugin.name]
        if plugin.is_builtin or plugin.state is not State.OK:
            return plugin
        causes = [f"the plugin name {plugin.name!r} is used by {twins[0].distribution} too"] if twins else []
        for kind, named in self._offers.items():
            for offers in named.values():
                causes += [
                    f"{kind} {offer.component.name!r} is offered by {rival} too; say {_spelling(offer, offers)}"
                    for offer in offers
                    if offer.plugin is plugin
                    for rival in self._rivals(offer, offers)[:1]
                ]
        return replace(plugin, state=State.CONFLICT, cause="; ".join(causes)) if causes else plugin

    def _rivals(self, offer: Offer, offers: list[Offer]) -> list[str]:
        """Return the distributions that offer the same name."""
        own = ["maskkit"] if self._is_own_command(offer) else []
        return own + [other.plugin.distribution for other in offers if other.plugin is not offer.plugin]

    def _advice(self, kind: str, name: str) -> str:
        valid = self.names(kind)
        near = nearest(name, valid) or nearest(name.rpartition(":")[2], valid)
        advice = f"Did you mean {near}?\n" if near else ""
        advice += f"{'Commands' if kind == 'command' else 'Valid'}: {', '.join(valid)}."
        return advice + self.not_available()

    def not_available(self) -> str:
        """Return a line on the plugins that are installed and offer nothing now, "" when all do."""
        silent = {State.BROKEN, State.DISABLED, State.EMPTY}
        unwell = [f"{plugin.name} ({plugin.cause})" for plugin in self.plugins if plugin.state in silent]
        return f"\nNot available: {'; '.join(unwell)}." if unwell else ""


def plugins_named(name: str, plugins: Sequence[Plugin]) -> list[Plugin]:
    """Return the plugins of that name, or of that distribution.

    Raises:
        UnknownNameError: there is none.
    """
    wanted = plain_name(name)
    found = [plugin for plugin in plugins if wanted in {plain_name(plugin.name), plain_name(plugin.distribution)}]
    if not found:
        names = [plugin.name for plugin in plugins]
        near = nearest(name, [*names, *(plugin.distribution for plugin in plugins)])
        advice = f"Did you mean {near}?" if near else f"Installed: {', '.join(names)}."
        raise UnknownNameError(f"no plugin {name!r} is installed", hint=advice)
    return found


def same_name(kind: str, name: str) -> str:
    """Return what is equal for all spellings of a name: dashes and underscores of a command are the same."""
    return name.replace("_", "-") if kind == "command" else name


def _offers(plugins: list[Plugin]) -> dict[str, dict[str, list[Offer]]]:
    """Return, by kind and name, who offers it."""
    offers: dict[str, dict[str, list[Offer]]] = {kind: defaultdict(list) for kind in KINDS}
    for plugin in plugins:
        for kind, components in plugin.components.items():
            for component in components:
                offers[kind][same_name(kind, component.name)].append(Offer(kind, component, plugin))
    return offers


def _winner(offers: list[Offer]) -> Offer | None:
    """Return whose the bare name is: the only owner's, or maskkit's own, since names in the box are reserved."""
    if len(offers) == 1:
        return offers[0]
    return next((offer for offer in offers if offer.plugin.is_builtin), None)


def _meant(prefix: str, offers: list[Offer]) -> list[Offer]:
    """Return what a prefix means: maskkit's own, else that of the distribution, else those of plugins of that name."""
    own = [offer for offer in offers if offer.plugin.is_builtin and offer.plugin.name == prefix]
    by_distribution = [offer for offer in offers if plain_name(offer.plugin.distribution) == plain_name(prefix)]
    return own or by_distribution or [offer for offer in offers if offer.plugin.name == prefix]


def _spelling(offer: Offer, offers: list[Offer]) -> str:
    """Return the spelling that means this offer alone: by its plugin's name or, where unclear, its distribution."""
    plugin = offer.plugin
    others = [other.plugin for other in offers if other.plugin is not plugin]
    taken = {label for other in others for label in (other.name, other.distribution)}
    is_clear = plugin.is_builtin or plugin.name not in taken
    return f"{plugin.name if is_clear else plugin.distribution}:{offer.component.name}"
