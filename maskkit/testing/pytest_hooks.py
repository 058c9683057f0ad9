"""The hooks by which pytest hands a test the checks of a plugin, one after the other."""

from typing import TYPE_CHECKING

from maskkit.errors import MaskkitError
from maskkit.testing.collecting import checks_of

if TYPE_CHECKING:
    import pytest

__all__ = ["pytest_addoption", "pytest_generate_tests"]

_FIXTURE = "maskkit_check"


def pytest_addoption(parser: "pytest.Parser") -> None:
    """Declare what pyproject.toml may say."""
    parser.addini("maskkit_plugin", "The plugin to check: its name, or a folder relative to pytest's root.", default="")
    parser.addini("maskkit_data_dir", "A folder for its data sets, relative to pytest's root.", default="")


def pytest_generate_tests(metafunc: "pytest.Metafunc") -> None:
    """Run a test that asks for `maskkit_check` once for each check of the plugin."""
    if _FIXTURE not in metafunc.fixturenames:
        return
    import pytest

    plugin, data_dir = (str(metafunc.config.getini(name)) for name in ("maskkit_plugin", "maskkit_data_dir"))
    root = metafunc.config.rootpath
    if not plugin:
        raise pytest.Collector.CollectError(
            'which plugin is to be checked? Say maskkit_plugin = "." below [tool.pytest.ini_options],'
            " or the name of an installed one."
        )
    try:
        checks = checks_of(plugin, data_dir=root / data_dir if data_dir else None, root=root)
    except MaskkitError as error:
        raise pytest.Collector.CollectError(f"maskkit_plugin = {plugin!r}: {error}") from error
    metafunc.parametrize(_FIXTURE, checks, ids=str)
