"""How long people wait before anything happens: `python tests/benchmarks/start_up.py --peers=FOLDER/bin`.

The commands take turns, each a process of its own. `--peers` names the folder of two other tools with plugins, as
`python -m venv FOLDER && FOLDER/bin/pip install datasette llm` makes it; without it they are left out.

train: from the command to the beginning of the first step, on as many images as `--images` says; `first` when their
    headers were never read before, `again` when they were.
"""

import argparse
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

# The helpers of the tests stand one folder up.
sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import SHOTS, Overlay
from crowd import make_package

LEAVE = """
import os
from maskkit import Component, Reporter, hookimpl

@hookimpl
def maskkit_reporters():
    yield Component(name="leave", target="guest_leaving:Leave", summary="Leaves when the first epoch begins")

class Leave(Reporter):
    def on_epoch_start(self, event):
        os._exit(0)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each command")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--peers", type=Path, help="folder of the programs datasette and llm")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        times = measure(commands(folder, arguments.images, arguments.peers), folder, arguments.rounds)
    table = Table(title=f"start-up, medians of {arguments.rounds} turns", title_justify="left")
    for column in ("command", "seconds", "from", "to"):
        table.add_column(column, justify="left" if column == "command" else "right")
    for command, found in times.items():
        table.add_row(command, *(f"{seconds:.2f}" for seconds in (statistics.median(found), min(found), max(found))))
    bare, again = times["import torch, torchvision"], times["train, again"]
    more = statistics.median(one - other for one, other in zip(again, bare, strict=True))
    Console().print(table, f"train, again, beyond the import: {more:.2f} s")


def commands(folder: Path, num_images: int, peers: Path | None) -> dict[str, list[str]]:
    """Return what is measured, by how the table calls it."""
    maskkit = str(Path(sysconfig.get_path("scripts"), "maskkit"))
    found = {"maskkit --help": [maskkit, "--help"], "maskkit list-plugins": [maskkit, "list-plugins"]}
    if peers is not None:
        found |= {f"{peer} plugins": [str(peers / peer), "plugins"] for peer in ("datasette", "llm")}
    environment = dict(os.environ) | {"XDG_CACHE_HOME": str(folder / "cache")}
    overlay = Overlay(folder / "overlay", environment)
    overlay.install(make_package(folder / "packages", "guest-leaving", "leaving", LEAVE))
    flags = f"--data_dir={link_faces(folder, num_images)} --model=Efficientnet_b0 --pretrained=no --resize=128,96"
    train = [str(overlay.python), "-m", "maskkit", "train", *flags.split(), "--reporters=leave"]
    return found | {
        "import torch, torchvision": [sys.executable, "-c", "import torch, torchvision"],
        "train, first": train,
        "train, again": train,
    }


def link_faces(folder: Path, num_images: int) -> Path:
    """Draw a few people, and give their photos to as many as have so many images."""
    from maskkit.builtin.drawn_faces import draw_faces

    draw_faces(folder / "drawn", people=40, eval_people=1, seed=1)
    drawn = [sorted(person.iterdir()) for person in sorted((folder / "drawn" / "train" / "images").iterdir())]
    crowd = folder / "crowd" / "train" / "images"
    for number in range(num_images // len(SHOTS)):
        person = crowd / f"{number:06d}_{('male', 'female')[number % 2]}_Asian_{18 + number % 50}"
        person.mkdir(parents=True)
        for photo in drawn[number % len(drawn)]:
            os.link(photo, person / photo.name)
    return crowd


def measure(commands: dict[str, list[str]], folder: Path, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every turn of every command; the first turn of all is not counted."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    environment = dict(os.environ)
    for turn in track(range(rounds + 1), "measuring", transient=True):
        for name, command in commands.items():
            if name.startswith("train"):
                cache = folder / f"cache-{turn}"  # which `first` finds empty, and `again` filled
                environment |= {"XDG_CACHE_HOME": str(cache)}
            started = time.perf_counter()
            subprocess.run(command, check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
            if turn:
                times[name].append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    main()
