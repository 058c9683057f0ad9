"""The kit for plugin authors: every contract of maskkit as checks, for pytest and for `maskkit check-plugin`.

In the pyproject.toml of a plugin:

    [tool.pytest.ini_options]
    addopts = "-p maskkit.testing"
    maskkit_plugin = "."

And its test, which pytest runs once for each check:

    from maskkit.testing import Check

    def test_it_keeps_the_contracts(maskkit_check: Check) -> None:
        maskkit_check()
"""

from maskkit.testing.check import Check, CheckError
from maskkit.testing.collecting import checks_of
from maskkit.testing.pytest_hooks import pytest_addoption, pytest_generate_tests

__all__ = ["Check", "CheckError", "checks_of", "pytest_addoption", "pytest_generate_tests"]
