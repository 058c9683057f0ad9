"""How far a command has come is told in lines where there is no terminal, and only where it takes long."""

import pytest

from maskkit import progress


def test_what_is_soon_done_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.showing_progress() as progress_of:
        told = progress_of("reading", "bytes")
        for done in range(1, 101):
            told(done, 100)
    assert capsys.readouterr() == ("", "")


def test_what_takes_long_prints_lines_to_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0)
    with progress.showing_progress() as progress_of:
        told = progress_of("reading", "bytes")
        told(1_000, 2_000)
        told(2_000, 2_000)
    assert capsys.readouterr() == ("", "reading: 1,000 of 2,000 bytes\nreading: 2,000 of 2,000 bytes\n")
