"""All checks of a plugin, gathered from the module of each kind; these are imported when a plugin has need of them."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from maskkit.testing.check import Check

if TYPE_CHECKING:
    from maskkit.testing.candidate import Candidate
    from maskkit.testing.packages import Package

__all__ = ["checks_of", "checks_of_package"]


def checks_of(name_or_path: str | Path, *, data_dir: Path | None = None, root: Path | None = None) -> list[Check]:
    """Return all checks of a plugin: one that is installed, or a folder with a pyproject.toml, relative to `root`.

    data_dir: where its data sets find images; else they get a tiny folder in the competition's layout.

    Raises:
        UsageError: the folder holds no plugin, or no plugin of that name is installed.
    """
    from maskkit.testing.packages import find_package

    return list(checks_of_package(find_package(name_or_path, root=root), data_dir))


def checks_of_package(package: "Package", data_dir: Path | None) -> Iterator[Check]:
    """Yield the checks of each plugin of a package: first those of the package, then those of its components."""
    from maskkit.plugin.registry import Offer
    from maskkit.testing import package_checks
    from maskkit.testing.candidate import Candidate

    for guest in package.guests:
        subject = "package" if len(package.guests) == 1 else f"plugin {guest.plugin.name}"
        for name, check_package in package_checks.CHECKS.items():
            yield Check(subject, name, partial(check_package, guest))
        for kind, components in guest.plugin.components.items():
            for component in components:
                candidate = Candidate(Offer(kind, component, guest.plugin), package.registry, data_dir)
                for name, check in _checks_of_kind(kind).items():
                    yield Check(f"{kind} {component.name}", name, partial(check, candidate))


def _checks_of_kind(kind: str) -> "dict[str, Callable[[Candidate], None]]":
    """Return, by what is true of every good component of a kind, the functions that find it out."""
    from maskkit.testing import record, signature

    by_signature = {} if kind == "command" else signature.CHECKS  # the form of a command is another
    by_contract: dict[str, Callable[[Candidate], None]] = import_module(f"maskkit.testing.{kind}").CHECKS
    return record.CHECKS | by_signature | by_contract
