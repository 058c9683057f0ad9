"""What a document shows: its blocks, its commands with the lines below them, and files with their contents."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conftest import Overlay, run

_NUMBER = re.compile(r"\d+([.,]\d+)*(e-\d+)?")
_FILE = re.compile(r"^`([^`\n]+)`:?\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Shown:
    """A command of a document and the lines shown below it."""

    command: str
    output: list[str]


def blocks(language: str, text: str) -> list[str]:
    """Return the contents of the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def shown_files(text: str) -> dict[str, str]:
    """Return the files that a document shows whole, by the path that stands in a line of its own above each."""
    return dict(_FILE.findall(text))


def shown_commands(text: str) -> Iterator[Shown]:
    """Yield the commands of the console blocks in turn."""
    for block in blocks("console", text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *output = part.splitlines()
            yield Shown(command, output)


def plain(line: str) -> str:
    """Return a line without its numbers and the widths that follow, the mark of a best epoch, the machine, the user."""
    if line.startswith("device"):
        return "device"
    line = re.sub(r"\S+/maskkit/drawn-faces-\S+", "CACHE", line)
    return " ".join(_NUMBER.sub("#", line).removesuffix("  best").replace("─", "").replace("━", "").split())


def assert_happens(shown: Shown, overlay: Overlay, folder: Path) -> None:
    """Run a command in a folder and assert that it prints every line shown, but for the numbers.

    `..` stands for lines that are left out. Only packages from their folders are installed, without network.
    """
    printed = "".join(_run(shlex.split(command), overlay, folder) for command in shown.command.split(" && "))
    actual = {plain(line) for line in printed.splitlines()}
    missing = [line for line in shown.output if line != ".." and plain(line) not in actual]
    assert not missing, f"{shown.command} no longer prints {missing}, but:\n{printed}"


def _run(command: list[str], overlay: Overlay, folder: Path) -> str:
    program, *words = command
    if program == "pip":
        packages = [folder / word.partition("[")[0] for word in words if word.startswith("./")]
        if packages:
            overlay.install(*(["--editable"] if "-e" in words else []), *packages)
        return ""
    if program == "maskkit":
        done = overlay.module("maskkit", *words, cwd=folder)
    else:
        done = run(*({"pytest": (overlay.python, "-m", "pytest")}.get(program, (program,))), *words, cwd=folder)
    assert done.code == 0, done.out + done.err
    return done.err + done.out
