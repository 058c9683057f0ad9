"""How fast maskkit trains, validates and predicts, against loops that people write.

`python tests/benchmarks/step_speed.py` prints the table, and `--out=table.csv` keeps it.

Each figure is of a process of its own, and the contenders take turns, so that a machine that is busy for a while is
busy for all of them. Compare the ratios; the images per second are those of one machine in one hour.

original: what every team wrote: float32, contiguous tensors, the package's own swish, images decoded in each epoch,
    and the loss and the accuracy fetched in each step.
torchvision, timm: their networks as timm's training script recommends: bfloat16 where the CPU has it, channels_last,
    fused Adam, two workers; left out where they have no such network, and timm where it is not installed.
plain: maskkit's step on one batch that is always there, without what maskkit/arithmetic tells of.
depthwise: with depthwise convolutions that go backward by detours.
means: with quick means of whole images too.
bare: with memory that is kept too, and batch norms folded for predictions: the limit.
maskkit: the installed command from its second epoch on; of predictions what the command does from decoding to logits,
    and of validation the same with images that are kept.
"""

import argparse
import csv
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contenders import CONTENDERS, SIZES, Race, speed_of
from rich.console import Console
from rich.progress import track
from rich.table import Table

MODELS = ("BaseModel", "Efficientnet_b0", "Efficientnet_b3", "Efficientnet_lite0")
PEOPLE = 40


def main() -> None:
    arguments = parsed()
    if arguments.contender:
        race = Race(arguments.tasks[0], arguments.models[0], arguments.sizes[0], arguments.faces)
        speed = speed_of(arguments.contender, race)
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(json.dumps({"speed": speed, "megabytes": peak / 1024}))
        return
    with tempfile.TemporaryDirectory() as folder:
        from maskkit.builtin.drawn_faces import draw_faces

        faces = Path(folder) / "faces"
        draw_faces(faces, people=PEOPLE, eval_people=1, seed=1)
        races = (
            Race(task, model, size, faces)
            for model in arguments.models
            for size in arguments.sizes
            for task in arguments.tasks
        )
        rows: list[dict[str, Any]] = []
        for race in races:
            rows += run(race, arguments.rounds)
            if arguments.out:
                save(rows, arguments.out)
    show(rows)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, help="as maskkit names them")
    parser.add_argument("--sizes", nargs="+", default=[*SIZES], choices=SIZES)
    parser.add_argument("--tasks", nargs="+", default=[*CONTENDERS], choices=CONTENDERS)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender")
    parser.add_argument("--out", type=Path, help="CSV file for the table")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--faces", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def run(race: Race, rounds: int) -> Iterator[dict[str, Any]]:
    """Let the contenders take turns, and yield a row for each that can run the model."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS[race.task]}
    absent = set[str]()
    for _ in track(range(rounds), f"{race.task} {race.model} {race.size}", transient=True):
        for name in [name for name in found if name not in absent]:
            words = [sys.executable, __file__, f"--contender={name}", f"--faces={race.faces}"]
            words += ["--tasks", race.task, "--models", race.model, "--sizes", race.size]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                absent.add(name)
                cause = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
                print(f"{race.model}: {name} left out: {cause}", file=sys.stderr)
            else:
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    first = [one["speed"] for one in found["original"]]
    for name, turns in found.items():
        if name not in absent and "original" not in absent:
            ratios = [one["speed"] / base for one, base in zip(turns, first, strict=True)]
            yield {
                "task": race.task,
                "model": race.model,
                "size": race.size,
                "contender": name,
                "images_per_second": round(statistics.median(one["speed"] for one in turns), 1),
                "times_the_original": round(statistics.median(ratios), 2),
                "from": round(min(ratios), 2),
                "to": round(max(ratios), 2),
                "megabytes": round(max(one["megabytes"] for one in turns)),
            }


def save(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(title="median of the turns, and the range of the ratios", title_justify="left")
    for name, value in rows[0].items():
        table.add_column(name.replace("_", " "), justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
