"""What installed plugins cost at start-up: `python tests/benchmarks/plugin_start_up.py`.

Each row is an environment of its own, with plugins that the real pip installed. The environments take turns, so that
a machine that is busy for a while is busy for all of them.
"""

import argparse
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

# The helpers of the tests stand one folder up.
sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import Overlay
from crowd import SOURCES, make_package, offering

# It cannot be imported, has a wrong signature, misspells its hook, raises in it, offers a name in the box.
BROKEN = ("guest-unimportable", "guest-mismatched", "guest-misspelled", "guest-raising", "guest-focal")


def make_environments(folder: Path) -> dict[tuple[int, int], Overlay]:
    """Return an environment for each number of healthy and of broken plugins."""
    healthy = {
        f"guest-healthy{number}": (f"healthy{number}", offering(f"guest_healthy{number}", f"loss{number}"))
        for number in range(15)
    }
    sources = healthy | {distribution: SOURCES[distribution] for distribution in BROKEN}
    packages = [make_package(folder / "packages", distribution, *what) for distribution, what in sources.items()]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MASKKIT_")}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache")}
    made = {}
    sizes = [(0, 0), (5, 0), (10, 0), (15, 0), (15, 5)]
    for num_healthy, num_broken in track(sizes, "installing", transient=True):
        overlay = Overlay(folder / f"{num_healthy}-{num_broken}", environment)
        if num_healthy:
            overlay.install(*packages[:num_healthy], *packages[15 : 15 + num_broken])
        made[num_healthy, num_broken] = overlay
    return made


def seconds_of(overlay: Overlay, folder: Path) -> float:
    """Return how long one `maskkit list-plugins` takes, from the start of its process to its end."""
    started = time.perf_counter()
    done = overlay.maskkit("list-plugins", cwd=folder)
    seconds = time.perf_counter() - started
    if done.code:
        raise SystemExit(done.err)
    return seconds


def loads_torch(overlay: Overlay, folder: Path) -> bool:
    """Return whether `maskkit list-plugins` loads torch."""
    imports = overlay.maskkit("list-plugins", cwd=folder, env={"PYTHONPROFILEIMPORTTIME": "1"}).err
    return re.search(r"\| +torch$", imports, re.MULTILINE) is not None


def show(times: dict[tuple[int, int], list[float]], torch_loaded: dict[tuple[int, int], bool]) -> None:
    """Print a table of the median of each environment; what a plugin costs is told by turns that stood side by side."""
    table = Table(title=f"maskkit list-plugins, median of {len(times[0, 0])} turns", title_justify="left")
    for name in ("healthy", "broken", "seconds", "ms a healthy plugin", "torch"):
        table.add_column(name, justify="right")
    for (num_healthy, num_broken), found in times.items():
        more = statistics.median(one - none for one, none in zip(found, times[0, 0], strict=True))
        table.add_row(
            str(num_healthy),
            str(num_broken),
            f"{statistics.median(found):.3f}",
            f"{1000 * more / num_healthy:.2f}" if num_healthy and not num_broken else "",
            "loaded" if torch_loaded[num_healthy, num_broken] else "not loaded",
        )
    Console().print(table)


def main() -> None:
    """Print a table of start-up times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="how often each environment has its turn")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environments = make_environments(folder)
        for overlay in environments.values():  # the first run compiles what was installed
            seconds_of(overlay, folder)
        times: dict[tuple[int, int], list[float]] = {size: [] for size in environments}
        for _ in track(range(rounds), "measuring", transient=True):
            for size, overlay in environments.items():
                times[size].append(seconds_of(overlay, folder))
        show(times, {size: loads_torch(overlay, folder) for size, overlay in environments.items()})


if __name__ == "__main__":
    main()
