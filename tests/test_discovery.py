"""Who owns which name: the registry of what plugins offer, and the discovery that keeps one plugin from another."""

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from conftest import Runner
from hypothesis import given
from hypothesis import strategies as st

from maskkit.errors import PluginError, UnknownNameError
from maskkit.plugin.component import Component
from maskkit.plugin.discovery import BUILTIN, Plugin, State, discover
from maskkit.plugin.hookspecs import KINDS
from maskkit.plugin.registry import Registry, plugins_named


def component(name: str, target: str = "json:loads") -> Component:
    return Component(name=name, target=target, summary=f"The one called {name}")


def plugin(name: str, distribution: str, *, kind: str = "loss", names: Iterable[str] = ()) -> Plugin:
    offered = {kind: tuple(map(component, names))}
    return Plugin(name, distribution, "1.0", State.OK, components=offered)


BOX = plugin(BUILTIN, "maskkit", names=["focal", "f1"])
HELLO = plugin("hello", "maskkit-hello", names=["poly1"])
FORK = plugin("fork", "hello-fork", names=["poly1", "poly2"])


def owner(registry: Registry, name: str, kind: str = "loss") -> str:
    return registry.find(kind, name).plugin.distribution


def refusal_of(registry: Registry, name: str, kind: str = "loss") -> UnknownNameError:
    with pytest.raises(UnknownNameError) as caught:
        registry.find(kind, name)
    return caught.value


def states(registry: Registry) -> dict[str, State]:
    return {one.distribution: one.state for one in registry.plugins}


def cause_of(registry: Registry, distribution: str) -> str:
    return next(one.cause for one in registry.plugins if one.distribution == distribution)


def test_a_name_of_one_owner_stands_alone_or_with_plugin_or_distribution() -> None:
    registry = Registry([BOX, HELLO])
    assert registry.names("loss") == ["focal", "f1", "poly1"]
    for spelled in ("poly1", "hello:poly1", "maskkit-hello:poly1"):
        assert owner(registry, spelled) == "maskkit-hello"
    assert owner(registry, "builtin:focal") == owner(registry, "maskkit:focal") == "maskkit"
    assert set(states(registry).values()) == {State.OK}


def test_an_offer_knows_its_kind_and_its_record() -> None:
    offer = Registry([BOX, HELLO]).find("loss", "poly1")
    assert (offer.kind, offer.component.summary) == ("loss", "The one called poly1")


HANGING = """
import time
for _ in range(100):
    try:
        time.sleep(1)
    except Exception:
        pass
"""


def test_a_plugin_that_hangs_is_given_up_and_the_others_go_on(maskkit: Runner, tmp_path: Path) -> None:
    facts = tmp_path / "guest_hanging-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Name: guest-hanging\nVersion: 1.0\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text("[maskkit]\nhanging = guest_hanging\n", encoding="utf-8")
    (tmp_path / "guest_hanging.py").write_text(HANGING, encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    env = {"MASKKIT_DISABLE_PLUGINS": "", "MASKKIT_PLUGIN_TIMEOUT": "0.3", "PYTHONPATH": path}
    shown = maskkit("list-plugins", "--format=json", env=env, timeout=60)
    assert shown.code == 0, shown.err
    by_name = {record["name"]: record for record in json.loads(shown.out)}
    assert by_name["hanging"]["state"] == "BROKEN"
    assert (
        by_name["hanging"]["cause"] == "GivenUp: no answer within 0.3 s; MASKKIT_PLUGIN_TIMEOUT=0.6 would wait longer"
    )
    assert "guest_hanging.py" in by_name["hanging"]["traceback"]
    assert by_name["builtin"]["state"] == "OK"


@pytest.mark.parametrize("facts", [None, b"", b"\xff\xfe", b"Name: guest-nameless\n"])
def test_a_plugin_whose_metadata_are_damaged_is_listed_and_so_are_the_others(
    maskkit: Runner, tmp_path: Path, facts: bytes | None
) -> None:
    folder = tmp_path / "guest_nameless-1.0.dist-info"
    folder.mkdir()
    if facts is not None:
        (folder / "METADATA").write_bytes(facts)
    (folder / "entry_points.txt").write_text("[maskkit]\nnameless = guest_absent\n", encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    shown = maskkit("list-plugins", "--format=json", env={"MASKKIT_DISABLE_PLUGINS": "", "PYTHONPATH": path})
    assert shown.code == 0, shown.err
    by_name = {record["name"]: record for record in json.loads(shown.out)}
    name = "guest-nameless" if facts and facts.startswith(b"Name") else "unknown"
    assert (by_name["nameless"]["distribution"], by_name["nameless"]["version"]) == (name, "unknown")
    assert by_name["nameless"]["cause"].startswith("ModuleNotFoundError: No module named 'guest_absent': its entry")
    assert by_name["builtin"]["state"] == "OK"


def test_one_name_in_two_kinds_is_no_conflict() -> None:
    registry = Registry([BOX, plugin("guest", "guest", kind="model", names=["focal"])])
    assert owner(registry, "focal") == "maskkit"
    assert owner(registry, "focal", kind="model") == "guest"
    assert states(registry)["guest"] is State.OK


def test_two_guests_with_one_name_keep_it_with_a_prefix_and_the_bare_name_is_refused() -> None:
    registry = Registry([BOX, FORK, HELLO])
    assert registry.names("loss") == ["focal", "f1", "fork:poly1", "hello:poly1", "poly2"]
    assert owner(registry, "fork:poly1") == "hello-fork"
    assert owner(registry, "hello:poly1") == "maskkit-hello"
    refusal = refusal_of(registry, "poly1")
    assert refusal.message == "2 plugins offer a loss named 'poly1'"
    assert refusal.hint == "Say fork:poly1 or hello:poly1."


def test_dashes_and_underscores_of_a_command_are_the_same_name() -> None:
    dash = plugin("dash", "guest-dash", kind="command", names=["foo-bar", "list_plugins"])
    line = plugin("line", "guest-line", kind="command", names=["foo_bar"])
    registry = Registry([BOX, dash, line], ["list-plugins", "help"])
    assert registry.names("command") == ["list-plugins", "help", "dash:foo-bar", "line:foo_bar", "dash:list_plugins"]
    assert refusal_of(registry, "foo-bar", "command").hint == "Say dash:foo-bar or line:foo_bar."
    assert owner(registry, "line:foo-bar", "command") == "guest-line"
    assert "command 'list_plugins' is offered by maskkit too; say dash:list_plugins" in cause_of(registry, "guest-dash")
    assert cause_of(registry, "guest-line") == "command 'foo_bar' is offered by guest-dash too; say line:foo_bar"


def test_one_of_two_plugins_of_a_distribution_is_found_again() -> None:
    registry = Registry([plugin("a", "twins", names=["x"]), plugin("b", "twins", names=["x"])])
    assert registry.find_again("loss", "x", distribution="twins", plugin="b").plugin.name == "b"
    with pytest.raises(UnknownNameError, match="2 plugins offer"):
        registry.find_again("loss", "x", distribution="twins", plugin="c")
    alone = Registry([plugin("renamed", "twins", names=["x"])])
    assert alone.find_again("loss", "x", distribution="twins", plugin="b").plugin.name == "renamed"


def test_both_guests_in_conflict_are_told_how_to_be_called() -> None:
    registry = Registry([BOX, FORK, HELLO])
    assert states(registry) == {"maskkit": State.OK, "hello-fork": State.CONFLICT, "maskkit-hello": State.CONFLICT}
    assert cause_of(registry, "hello-fork") == "loss 'poly1' is offered by maskkit-hello too; say fork:poly1"
    assert cause_of(registry, "maskkit-hello") == "loss 'poly1' is offered by hello-fork too; say hello:poly1"


def test_names_in_the_box_are_reserved_and_the_guest_stays_within_reach() -> None:
    registry = Registry([BOX, plugin("guest", "guest-losses", names=["focal"])])
    assert owner(registry, "focal") == "maskkit"
    assert owner(registry, "guest:focal") == "guest-losses"
    assert registry.names("loss") == ["focal", "guest:focal", "f1"]
    assert states(registry) == {"maskkit": State.OK, "guest-losses": State.CONFLICT}
    assert cause_of(registry, "guest-losses") == "loss 'focal' is offered by maskkit too; say guest:focal"


def test_a_prefix_is_left_out_where_it_says_nothing_now_or_after_another_install() -> None:
    registry = Registry([BOX, HELLO, plugin("guest", "guest-losses", names=["focal"])])
    assert [registry.plain("loss", f"{prefix}:focal") for prefix in (BUILTIN, "maskkit")] == ["focal", "focal"]
    for name in ("focal", "guest:focal", "poly1", "hello:poly1"):
        assert registry.plain("loss", name) == name


def test_two_distributions_of_one_plugin_name_are_told_apart_by_distribution() -> None:
    registry = Registry([BOX, HELLO, plugin("hello", "hello-fork", names=["poly1"])])
    assert registry.names("loss")[2:] == ["maskkit-hello:poly1", "hello-fork:poly1"]
    assert owner(registry, "hello-fork:poly1") == "hello-fork"
    assert owner(registry, "maskkit-hello:poly1") == "maskkit-hello"
    assert refusal_of(registry, "hello:poly1").hint == "Say maskkit-hello:poly1 or hello-fork:poly1."
    assert cause_of(registry, "hello-fork").startswith("the plugin name 'hello' is used by maskkit-hello too; ")


def test_a_shared_plugin_name_is_a_conflict_even_without_a_shared_component() -> None:
    registry = Registry([BOX, HELLO, plugin("hello", "hello-fork", names=["poly9"])])
    assert states(registry)["hello-fork"] is State.CONFLICT
    assert owner(registry, "poly9") == owner(registry, "hello:poly9") == "hello-fork"


def test_a_distribution_called_like_the_plugin_of_another_hides_nobody() -> None:
    registry = Registry([BOX, plugin("hello", "hello", names=["poly1"]), plugin("hello", "fork", names=["poly1"])])
    assert owner(registry, "hello:poly1") == "hello"
    assert owner(registry, "fork:poly1") == "fork"


def test_a_guest_that_calls_itself_builtin_takes_nothing_over() -> None:
    registry = Registry([BOX, plugin(BUILTIN, "impostor", names=["focal"])])
    assert owner(registry, "focal") == owner(registry, "builtin:focal") == "maskkit"
    assert owner(registry, "impostor:focal") == "impostor"
    assert states(registry) == {"maskkit": State.OK, "impostor": State.CONFLICT}


@pytest.mark.parametrize("state", [State.BROKEN, State.DISABLED, State.EMPTY])
def test_a_twin_that_is_not_well_keeps_its_state_and_is_in_nobodys_way(state: State) -> None:
    registry = Registry([BOX, Plugin("hello", "old-hello", "0.1", state, "the cause"), HELLO])
    assert states(registry) == {"maskkit": State.OK, "old-hello": state, "maskkit-hello": State.OK}
    assert cause_of(registry, "old-hello") == "the cause"
    assert owner(registry, "hello:poly1") == "maskkit-hello"


@pytest.mark.parametrize(
    ("name", "near"),
    [("focl", "focal"), ("FOCAL", "focal"), ("poly-1", "poly1"), ("hello:poly", "poly1"), ("f-1", "f1")],
)
def test_an_unknown_name_suggests_the_nearest_and_lists_all(name: str, near: str) -> None:
    refusal = refusal_of(Registry([BOX, HELLO]), name)
    assert refusal.message == f"unknown loss {name!r}"
    assert refusal.hint == f"Did you mean {near}?\nValid: focal, f1, poly1."


def test_a_name_near_none_lists_all() -> None:
    assert refusal_of(Registry([BOX]), "zzz").hint == "Valid: focal, f1."


def test_a_prefix_that_does_not_offer_the_name_is_refused() -> None:
    registry = Registry([BOX, HELLO])
    for name in ("builtin:poly1", "hello:focal", "nobody:focal", ":zzz"):
        assert refusal_of(registry, name).message == f"unknown loss {name!r}"


def test_an_unknown_name_says_which_plugins_are_not_available() -> None:
    broken = Plugin("guest", "guest-losses", "1.0", State.BROKEN, "ImportError: no torch")
    off = Plugin("other", "other", "1.0", State.DISABLED, "switched off")
    assert refusal_of(Registry([BOX, broken, off]), "poly9").hint.endswith(
        "\nNot available: guest (ImportError: no torch); other (switched off)."
    )


def test_a_factory_that_cannot_be_imported_names_its_owner() -> None:
    bad = component("bad", "maskkit_absent.losses:Bad")
    registry = Registry([BOX, replace(HELLO, components={"loss": (bad,)})])
    with pytest.raises(PluginError) as caught:
        registry.find("loss", "bad").load()
    assert caught.value.message.startswith(
        "loss 'bad' of maskkit-hello 1.0 cannot be loaded from maskkit_absent.losses:Bad: ModuleNotFoundError: "
    )
    assert caught.value.hint.endswith("MASKKIT_DISABLE_PLUGINS=hello")


def test_a_factory_that_is_not_in_its_module_is_refused() -> None:
    bad = component("bad", "json:lodas")
    with pytest.raises(PluginError, match="AttributeError"):
        Registry([replace(HELLO, components={"loss": (bad,)})]).find("loss", "bad").load()


def test_a_factory_is_imported_when_it_is_used() -> None:
    import json

    assert Registry([HELLO]).find("loss", "poly1").load() is json.loads


labels = st.sampled_from(["a", "b", "c", BUILTIN])
offers = st.dictionaries(
    st.sampled_from(["loss", "model"]),
    st.lists(st.sampled_from(["focal", "f1", "poly1", "poly2"]), min_size=1, unique=True),
    min_size=1,
)


@st.composite
def guests(draw: st.DrawFn) -> list[Plugin]:
    """Draw plugins of distributions that differ, with names and components that may not."""
    found = []
    for distribution in draw(st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=4, unique=True)):
        offered = {kind: tuple(map(component, names)) for kind, names in draw(offers).items()}
        found.append(Plugin(draw(labels), distribution, "1.0", State.OK, components=offered))
    return found


def offered(plugins: Iterable[Plugin]) -> set[tuple[str, str, str]]:
    return {
        (one.distribution, kind, part.name)
        for one in plugins
        for kind, parts in one.components.items()
        for part in parts
    }


@given(guests())
def test_everything_offered_is_within_reach_by_exactly_one_listed_name(found: list[Plugin]) -> None:
    registry = Registry([BOX, *found])
    reached = [
        (owner(registry, name, kind), kind, name.rpartition(":")[2]) for kind in KINDS for name in registry.names(kind)
    ]
    assert len(reached) == len(set(reached))
    assert set(reached) == offered([BOX, *found])


@given(guests())
def test_a_bare_name_is_the_boxs_or_of_its_only_owner_or_refused_with_names_that_work(found: list[Plugin]) -> None:
    registry = Registry([BOX, *found])
    for _, kind, name in offered([BOX, *found]):
        owners = {distribution for distribution, *what in offered([BOX, *found]) if what == [kind, name]}
        if "maskkit" in owners:
            assert owner(registry, name, kind) == "maskkit"
        elif len(owners) == 1:
            assert {owner(registry, name, kind)} == owners
        else:
            spellings = refusal_of(registry, name, kind).hint.removeprefix("Say ").removesuffix(".").split(" or ")
            assert sorted(owner(registry, spelled, kind) for spelled in spellings) == sorted(owners)


@given(guests())
def test_a_guest_is_in_conflict_exactly_when_it_shares_a_name(found: list[Plugin]) -> None:
    everyone = [BOX, *found]
    for one in Registry(everyone).plugins[1:]:
        others = [other for other in everyone if other.distribution != one.distribution]
        shares_name = one.name in {other.name for other in others}
        theirs = {(kind, name) for _, kind, name in offered(others)}
        shares_component = not theirs.isdisjoint((kind, name) for _, kind, name in offered([one]))
        assert (one.state is State.CONFLICT) == (shares_name or shares_component)


def test_what_is_in_the_box_is_found_first_and_well() -> None:
    first, *_ = discover({"MASKKIT_DISABLE_PLUGINS": "*"})
    assert (first.name, first.distribution, first.state, first.cause) == (BUILTIN, "maskkit", State.OK, "")
    assert set(first.components) == set(KINDS) - {"command"}  # its own are in the catalogue of the command line


@pytest.mark.parametrize("disabled", ["*", "builtin", "maskkit", " builtin , * "])
def test_what_is_in_the_box_cannot_be_switched_off(disabled: str) -> None:
    assert discover({"MASKKIT_DISABLE_PLUGINS": disabled})[0].state is State.OK


def test_everything_in_the_box_can_be_imported() -> None:
    registry = Registry(discover({"MASKKIT_DISABLE_PLUGINS": "*"}))
    for kind in KINDS:
        for name in registry.names(kind):
            assert callable(registry.find(kind, name).load())


@pytest.mark.parametrize("name", ["", "1st", "a:b", "a b", "-x", "ä", "a\n"])
def test_a_component_with_a_name_that_cannot_be_typed_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="component name"):
        component(name)


@pytest.mark.parametrize("target", ["", "module", "module:", ":factory", "module.factory", "a:b.c", "a b:c", "a:b\n"])
def test_a_component_whose_target_is_no_place_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        component("poly1", target)


@pytest.mark.parametrize("summary", ["", "  ", "two\nlines"])
def test_a_component_needs_one_line_of_summary(summary: str) -> None:
    with pytest.raises(ValueError, match="must be one line"):
        Component(name="poly1", target="a:b", summary=summary)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"mean": 0.5}, "mean must be three numbers from 0 to 1"),
        ({"mean": (128.0, 128.0, 128.0)}, "mean must be three numbers from 0 to 1"),
        ({"mean": ("a", "b", "c")}, "mean must be three numbers"),
        ({"std": (0, 0, 0)}, "std must be three numbers from 1e-06 to 1"),
        ({"std": (1, 2)}, "std must be three numbers"),
        ({"size": 224}, r"size must be \(height, width\); received 224"),
        ({"size": (224.0, 224.0)}, "size must be"),
        ({"size": (0, 10)}, "size must be"),
    ],
)
def test_a_component_with_figures_that_no_network_can_use_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Component(name="net", target="a:b", summary="A network", **fields)
    Component(name="net", target="a:b", summary="A network", mean=(0, 0.5, 1), std=(0.2, 1, 1), size=(224, 192))


def test_an_entry_point_that_leads_nowhere_is_shown() -> None:
    for value, told in (
        ("maskkit_is_absent", "ModuleNotFoundError: No module named 'maskkit_is_absent': its entry point says lost ="),
        (
            "json.is_absent",
            'its entry point says lost = "json.is_absent"; when pyproject.toml changed, run pip install',
        ),
        ("maskkit-is-absent", 'ValueError: its entry point says lost = "maskkit-is-absent", and a module\'s name has'),
    ):
        (found,) = discover({}, [EntryPoint("lost", value, "maskkit")])
        assert found.state is State.BROKEN
        assert told in found.cause


@pytest.mark.parametrize("name", ["Maskkit.Cap_Plug", "maskkit-cap-plug", "MASKKIT_CAP.PLUG"])
def test_a_distribution_is_known_by_every_spelling_of_its_name(name: str) -> None:
    guest = plugin("cap", "Maskkit.Cap_Plug", names=["poly1"])
    assert plugins_named(name, [BOX, guest]) == [guest]
    assert owner(Registry([BOX, guest]), f"{name}:poly1") == "Maskkit.Cap_Plug"
