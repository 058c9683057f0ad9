"""Names of new plugins: those that would do harm, or that somebody has, are refused before anything is written."""

import sys
from pathlib import Path

import pytest
from conftest import Runner
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.utils import InvalidName, canonicalize_name

import maskkit as package
from maskkit.cli.catalogue import RESERVED
from maskkit.errors import UsageError
from maskkit.plugin.component import Component
from maskkit.plugin.discovery import Plugin, State
from maskkit.plugin.hookspecs import KINDS
from maskkit.plugin.new_package import check_names_are_free, render_package
from maskkit.plugin.registry import Registry


@settings(max_examples=300, deadline=None)
@given(
    name=st.text(st.characters(max_codepoint=0x2FF) | st.sampled_from("K_-./ ") | st.characters()),
    kind=st.sampled_from(list(KINDS)),
)
def test_no_name_is_taken_that_a_package_or_a_module_cannot_have(name: str, kind: str) -> None:
    try:
        canonicalize_name(name, validate=True)
    except InvalidName:
        with pytest.raises(UsageError):
            render_package(name, kind)
        return
    try:
        values = render_package(name, kind).values
    except UsageError:
        return
    assert values["module"].isidentifier()
    assert values["module"] not in sys.stdlib_module_names


REFUSED = [
    ("", "'' is no name of a package"),
    ("-poly", "'-poly' is no flag"),
    ("poly-", "'poly-' is no name of a package"),
    ("a/b", "'a/b' is no name of a package"),
    ("../b", "'../b' is no name of a package"),
    ("a b", "'a b' is no name of a package"),
    ("얼굴", "is no name of a package"),
    ("x" * 41, "is no name of a package"),
    ("3d", "Python cannot import a module named '3d'"),
    ("maskkit-3d", "component name '3d': letters, digits, '_', '-' and '.', a letter first"),
    ("lambda", "Python cannot import a module named 'lambda'"),
    ("maskkit", "the module 'maskkit' would hide that of maskkit itself"),
    ("Json", "the module 'json' would hide that of the standard library"),
    ("tests", "the folder 'tests' of a package holds something else than its module"),
    ("dist", "the folder 'dist' of a package holds something else than its module"),
    ("Torch", "Torch "),
    ("scikit-learn", "scikit-learn "),
    ("sklearn", "a module 'sklearn' can be imported already"),
    ("maskkit-focal", f"maskkit {package.__version__} already offers a loss named 'focal'"),
    ("maskkit-Focal", f"maskkit {package.__version__} already offers a loss named 'focal'"),
    ("maskkit-builtin", f"the plugin of maskkit {package.__version__} is already named 'builtin'"),
]


@pytest.mark.parametrize(("name", "complaint"), REFUSED)
def test_a_name_that_would_do_harm_is_refused_and_nothing_written(
    maskkit: Runner, tmp_path: Path, name: str, complaint: str
) -> None:
    done = maskkit("new-plugin", name, "--kind=loss")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert complaint in done.err.splitlines()[0]
    assert len(done.err.splitlines()) == 2  # the second says what to type
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kind", "complaint"),
    [
        ("maskkit-train", "command", "maskkit itself has a command named 'train'"),
        ("maskkit-list_plugins", "command", "maskkit itself has a command named 'list_plugins'"),
        ("maskkit-help", "command", "maskkit itself has a command named 'help'"),
        ("maskkit-share-out", "command", "guest-share 1.2 already offers a command named 'share-out'"),
        ("maskkit-poly", "loss", "guest-share 1.2 already offers a loss named 'poly'"),
        ("maskkit-share", "vote", "the plugin of guest-share 1.2 is already named 'share'"),
    ],
)
def test_a_name_that_something_installed_has_is_refused_with_its_owner(name: str, kind: str, complaint: str) -> None:
    with pytest.raises(UsageError) as refusal:
        check_names_are_free(render_package(name, kind).values, guests())
    assert refusal.value.message == complaint
    assert f"maskkit new-plugin maskkit-my-{name.removeprefix('maskkit-')} --kind={kind}" in refusal.value.hint


@pytest.mark.parametrize(("name", "kind"), [("maskkit-poly", "vote"), ("maskkit-train", "model"), ("help", "mix")])
def test_the_name_of_another_kind_is_free(name: str, kind: str) -> None:
    check_names_are_free(render_package(name, kind).values, guests())


def guests() -> Registry:
    """Return a registry with a plugin that offers a command and a loss."""
    target, summary = "guest:make", "Something"
    components = {
        "command": (Component(name="share-out", target=target, summary=summary),),
        "loss": (Component(name="poly", target=target, summary=summary),),
    }
    return Registry([Plugin("share", "guest-share", "1.2", State.OK, components=components)], RESERVED)


def test_the_name_that_a_refusal_advises_is_free(maskkit: Runner, tmp_path: Path) -> None:
    for name in ("maskkit-focal", "maskkit-3d", "lambda"):
        advice = maskkit("new-plugin", name, "--kind=loss").err.splitlines()[1]
        words = advice.partition("maskkit ")[2].split()
        done = maskkit(*words)
        assert done.code == 0, done.err
    assert {path.name for path in tmp_path.iterdir()} == {"maskkit-my-focal", "maskkit-my-3d", "maskkit-my-lambda"}
