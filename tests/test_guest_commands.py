"""A command of a plugin has help, checks and exit codes like those in the box, and cannot take the name of one."""

from pathlib import Path

import pytest
from conftest import Overlay
from forked import Outcome

pytestmark = pytest.mark.slow

OFFERS = """
from maskkit import Component, hookimpl

@hookimpl
def maskkit_commands():
    for name in "bake pack-up train fail refuse leave misplaced untold absent mutable silent list_plugins".split():
        target = f"guest_kitchen.work:{name.replace('-', '_')}"
        yield Component(name=name, target=target, summary=f"Does what {name} says")
"""
WORK = '''
from pathlib import Path
from typing import Annotated, Literal

from maskkit.errors import DataError

def bake(
    what: Annotated[str, "What to bake."],
    tin: Annotated[Path | None, "Where to put it."] = None,
    /,
    *,
    degrees: Annotated[int, "How hot the oven is."] = 180,
    heat: Annotated[Literal["top", "both"], "Where the heat comes from."] = "both",
    is_timed: Annotated[bool, "Whether a bell rings."] = False,
    shares: Annotated[tuple[float, ...], "How it is cut."] = (),
) -> None:
    """Bake something.

    maskkit bake bread --degrees=220
    """
    print(repr((what, tin, degrees, heat, is_timed, shares)))

def pack_up(first: Annotated[str, "What goes in first."], /, *rest: Annotated[Path, "What follows."]) -> int:
    print(repr((first, rest)))
    return len(rest)

def train() -> None:
    print("another training")

def fail(*, size: Annotated[int, "How large."]) -> None:
    raise ZeroDivisionError("nothing to divide")

def refuse() -> None:
    raise DataError("the oven is cold", hint="Heat it.")

def leave() -> str:
    return "done"

def misplaced(size: Annotated[int, "How large."]) -> None:
    pass

def untold(*, size: int = 3) -> None:
    pass

def list_plugins(*, options: Annotated[dict, "Some."] = {"a": 1}) -> None:
    print(options)

def silent(*, size: Annotated[int, ""] = 3) -> None:
    pass

def mutable(*, sizes: Annotated[list[int], "How large."] = []) -> None:
    pass
'''
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "guest-kitchen"
version = "1.2.3"

[project.entry-points.maskkit]
kitchen = "guest_kitchen"
"""


@pytest.fixture(scope="module")
def kitchen(overlay: Overlay, tmp_path_factory: pytest.TempPathFactory) -> Overlay:
    """An environment with a plugin of good and bad commands."""
    home = tmp_path_factory.mktemp("packages") / "guest-kitchen"
    (home / "guest_kitchen").mkdir(parents=True)
    (home / "guest_kitchen" / "__init__.py").write_text(OFFERS, encoding="utf-8")
    (home / "guest_kitchen" / "work.py").write_text(WORK, encoding="utf-8")
    (home / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    overlay.install(home)
    return overlay


def assert_refused(done: Outcome, code: int, *parts: str) -> None:
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    for part in parts:
        assert part in done.err


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("bake bread", "('bread', None, 180, 'both', False, ())"),
        ("bake bread tin/a --degrees=1_0", None),
        (
            "bake 7.30 tin/a --degrees 220 --heat=TOP --is-timed --shares=.5,.25",
            "('7.30', PosixPath('tin/a'), 220, 'top', True, (0.5, 0.25))",
        ),
        ("kitchen:bake bread --no-is_timed", "('bread', None, 180, 'both', False, ())"),
        ("guest-kitchen:bake None", "('None', None, 180, 'both', False, ())"),
        ("kitchen:train", "another training"),
        ("kitchen:pack_up a", "('a', ())"),
        ("kitchen:list-plugins", "{'a': 1}"),
        ("kitchen:list-plugins --options=b=2", "{'b': 2}"),
    ],
)
def test_words_and_flags_arrive_as_declared(kitchen: Overlay, tmp_path: Path, line: str, printed: str | None) -> None:
    done = kitchen.maskkit(*line.split(), cwd=tmp_path)
    if printed is None:
        assert_refused(done, 2, "--degrees must be a whole number; received '1_0'")
    else:
        assert (done.code, done.out, done.err) == (0, f"{printed}\n", "")


@pytest.mark.parametrize("name", ["pack-up", "pack_up"])
def test_words_may_go_on_and_the_exit_code_is_what_is_returned(kitchen: Overlay, tmp_path: Path, name: str) -> None:
    done = kitchen.maskkit(name, "a", "b", "c", cwd=tmp_path)
    assert (done.code, done.out) == (2, "('a', (PosixPath('b'), PosixPath('c')))\n")
    alone = kitchen.maskkit(name, "a", cwd=tmp_path)
    assert (alone.code, alone.out) == (0, "('a', ())\n")


@pytest.mark.parametrize(
    ("line", "code", "parts"),
    [
        ("bake", 2, ["WHAT is missing: What to bake.", "Type: maskkit bake WHAT TIN"]),
        ("bake bread tin more", 2, ["unexpected word 'more'", "maskkit bake --help"]),
        ("bake bread --degres=3", 2, ["unknown flag --degres", "Did you mean --degrees?"]),
        ("bake bread --degrees=warm", 2, ["--degrees must be a whole number; received 'warm'"]),
        ("bake bread --heat=below", 2, ["--heat must be one of: top, both"]),
        ("bake bread --degrees", 2, ["--degrees needs a value", "Type --degrees=INT. How hot the oven is."]),
        ("bake bread --degrees=1 --degrees=2", 2, ["--degrees is given twice"]),
        ("pack-up", 2, ["FIRST is missing: What goes in first."]),
        ("fail", 2, ["--size is missing: How large."]),
        ("fail --size=1", 1, ["command fail of guest-kitchen 1.2.3 failed: ZeroDivisionError: nothing to divide"]),
        ("refuse", 1, ["error: the oven is cold\n  Heat it.\n"]),
        ("leave", 1, ["an exit code is a number from 0 to 255, or None; it gave 'done'"]),
        ("misplaced", 1, ["size must be positional-only, to be a word, or keyword-only, to be a flag"]),
        ("untold", 1, ["size must be annotated with a type and a sentence"]),
        ("absent", 1, ["command 'absent' of guest-kitchen 1.2.3 cannot be loaded", "AttributeError"]),
        ("mutable", 1, ["text cannot be turned into the type of sizes, list[int]; use bool, int, float, str, Path"]),
        ("silent", 1, ["the sentence of size is empty"]),
        (
            "bakke bread",
            2,
            ["unknown command 'bakke'", "Did you mean bake?", "train, tune, find-lr, predict", "kitchen:train"],
        ),
    ],
)
def test_what_is_wrong_is_told(kitchen: Overlay, tmp_path: Path, line: str, code: int, parts: list[str]) -> None:
    assert_refused(kitchen.maskkit(*line.split(), cwd=tmp_path), code, *parts)


def test_the_help_shows_words_flags_defaults_and_the_example(kitchen: Overlay, tmp_path: Path) -> None:
    done = kitchen.maskkit("bake", "--help", cwd=tmp_path)
    assert done.code == 0, done.err
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines[0] == "Does what bake says"
    for line in (
        "Usage: maskkit bake WHAT TIN [--flag=value ..]",
        "maskkit bake bread --degrees=220",
        "WHAT What to bake.",
        "--degrees=INT How hot the oven is. Default: 180.",
        "--heat=top|both Where the heat comes from. Default: both.",
        "--is_timed=true|false Whether a bell rings. Default: false.",
        "--shares=FLOAT,.. How it is cut. Default: none.",
    ):
        assert line in lines


def test_the_overview_lists_the_commands_of_plugins_as_they_can_be_typed(kitchen: Overlay, tmp_path: Path) -> None:
    done = kitchen.maskkit("--help", cwd=tmp_path)
    own, _, guests = done.out.partition("Commands of plugins:\n")
    assert "\n  train         Train a model" in own
    assert guests.splitlines()[0] == "  bake          Does what bake says"
    assert "  kitchen:train Does what train says" in guests.splitlines()


def test_the_name_of_a_command_in_the_box_stays_its_own(kitchen: Overlay, tmp_path: Path) -> None:
    done = kitchen.maskkit("train", "--epochs=none", cwd=tmp_path)
    assert_refused(done, 2, "--epochs must be a whole number")
    listed = kitchen.maskkit("list-plugins", "--plugin=kitchen", "--kind=command", cwd=tmp_path)
    assert "kitchen  guest-kitchen 1.2.3  CONFLICT" in listed.out
    assert "command 'train' is offered by maskkit too; say kitchen:train" in listed.out


def test_a_command_of_a_plugin_that_is_switched_off_is_unknown_and_told_why(kitchen: Overlay, tmp_path: Path) -> None:
    done = kitchen.maskkit("bake", "bread", cwd=tmp_path, env={"MASKKIT_DISABLE_PLUGINS": "kitchen"})
    assert_refused(done, 2, "unknown command 'bake'", "kitchen (switched off by MASKKIT_DISABLE_PLUGINS)")
    assert (
        "Commands of plugins" not in kitchen.maskkit("--help", cwd=tmp_path, env={"MASKKIT_DISABLE_PLUGINS": "*"}).out
    )
