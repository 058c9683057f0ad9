"""What plugins/README.md shows is done, from mkdir to pip install, and prints what is shown."""

from pathlib import Path

import pytest
from conftest import ROOT, Overlay
from shown import assert_happens, shown_commands, shown_files

from maskkit.plugin.hookspecs import KINDS

MANUAL = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_everything_shown_happens_as_shown(overlay: Overlay, tmp_path: Path) -> None:
    for shown in shown_commands(MANUAL):
        assert_happens(shown, overlay, tmp_path)
        if shown.command.startswith("mkdir"):
            for path, text in shown_files(MANUAL).items():
                (tmp_path / path).write_text(text, encoding="utf-8")


def test_every_kind_is_named() -> None:
    for kind in KINDS:
        assert f"`{kind}`" in MANUAL
