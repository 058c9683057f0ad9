"""Every component in the box keeps the contracts that the kit asks of strangers: a new one is tested by being there."""

import pytest

from maskkit.plugin.discovery import discover
from maskkit.plugin.hookspecs import KINDS
from maskkit.testing import Check, checks_of

CHECKS = checks_of("maskkit")


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_what_is_in_the_box_keeps_the_contracts(check: Check) -> None:
    check()


def test_every_component_in_the_box_is_checked_by_its_own_contract() -> None:
    (box,) = (plugin for plugin in discover({"MASKKIT_DISABLE_PLUGINS": "*"}) if plugin.is_builtin)
    names = {f"{kind} {component.name}" for kind, offered in box.components.items() for component in offered}
    assert {check.subject for check in CHECKS} == names | {"package"}
    shared = {check.name for check in CHECKS if check.subject == "model BaseModel"}
    shared &= {check.name for check in CHECKS if check.subject == "vote soft"}
    for kind in set(KINDS) & set(box.components):
        own = {check.name for check in CHECKS if check.subject.startswith(f"{kind} ")} - shared
        assert len(own) >= 3, kind
