"""How recipes score on folds by person, against the first of them: what a preset is found with, and judged by.

A recipe is a name and the flags of `maskkit train` that make it, and all take turns with each seed, which also draws
the folds:

    python tests/benchmarks/recipe_score.py --data_dir=train/images --model=Efficientnet_lite0 --seeds 1 2 3 \\
        "baseline: --preset=baseline" "strong: --preset=strong"

F1 is the macro F1 out of fold, the mean of the seeds. The difference to the first recipe has a 95 % interval of
resampled people, who are the same for both recipes and all seeds. Time is that of the whole command, as a share of the
first recipe's. Runs stay in --model_dir, and those that are there are not trained again.
"""

import argparse
import csv
import json
import shlex
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from maskkit.bootstrap import Estimate, resampled_counts
from maskkit.labels import NUM_CLASSES
from maskkit.metrics import f1_per_class

_SECONDS = "seconds.json"


@dataclass(frozen=True)
class Recipe:
    """A name, and the flags that make it."""

    name: str
    flags: list[str]

    @classmethod
    def read(cls, text: str) -> "Recipe":
        name, _, flags = text.partition(":")
        return cls(name.strip(), shlex.split(flags))


@dataclass(frozen=True)
class Score:
    """The macro F1 of a training of folds, float64 [1 + R] as of a bootstrap, and what it took."""

    macro_f1: NDArray[np.float64]
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", help="'NAME: --flag=value ..'; the first is what the others are held to")
    parser.add_argument("--data_dir", type=Path, help="else drawn faces")
    parser.add_argument("--model", default="BaseModel")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--model_dir", type=Path, default=Path("recipe-runs"))
    arguments = parser.parse_args()
    recipes = [Recipe.read(text) for text in arguments.recipes]
    common = [f"--model={arguments.model}", f"--folds={arguments.folds}", "--reporters=csv"]
    common += [f"--data_dir={arguments.data_dir}"] if arguments.data_dir else ["--dataset=DrawnFaces"]
    scores: dict[str, list[Score]] = {recipe.name: [] for recipe in recipes}
    for seed in arguments.seeds:
        for recipe in recipes:
            run_dir = arguments.model_dir / f"{recipe.name}-seed-{seed}"
            score = trained(run_dir, [*common, *recipe.flags, f"--seed={seed}"])
            print(f"{recipe.name}, seed {seed}: macro F1 {score.macro_f1[0]:.4f}, {score.seconds:.0f} s", flush=True)
            scores[recipe.name].append(score)
    Console().print(table_of(scores))


def trained(run_dir: Path, flags: list[str]) -> Score:
    """Return the score of a training of folds, after training it where it is not there yet."""
    if not (run_dir / _SECONDS).exists():
        place = [f"--name={run_dir.name}", f"--model_dir={run_dir.parent}"]
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "maskkit", "train", *flags, *place], check=True, capture_output=True)
        (run_dir / _SECONDS).write_text(json.dumps(time.perf_counter() - started), encoding="utf-8")
    people = {row["sample"]: row["person"] for row in rows_of(run_dir / "samples.csv")}
    rows = sorted(rows_of(run_dir / "predictions" / "oof_soft.csv"), key=lambda row: row["ImageID"])
    cells = [int(row["truth"]) * NUM_CLASSES + int(row["ans"]) for row in rows]
    _, numbers = np.unique([people[row["ImageID"]] for row in rows], return_inverse=True)
    counts = resampled_counts(np.array(cells), numbers.astype(np.int64), NUM_CLASSES**2)
    macro_f1 = f1_per_class(counts.reshape(-1, NUM_CLASSES, NUM_CLASSES)).mean(axis=-1)
    return Score(macro_f1, json.loads((run_dir / _SECONDS).read_text(encoding="utf-8")))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table_of(scores: dict[str, list[Score]]) -> Table:
    table = Table(title="Macro F1 out of fold", title_justify="left")
    for name in ("recipe", "F1", "of each seed", "difference", "95 % interval", "time"):
        table.add_column(name, justify="left" if name == "recipe" else "right")
    first, *_ = scores.values()
    base = np.mean([score.macro_f1 for score in first], axis=0)
    for name, found in scores.items():
        mean = np.mean([score.macro_f1 for score in found], axis=0)
        gain = Estimate.of(mean - base)
        shares = [one.seconds / other.seconds for one, other in zip(found, first, strict=True)]
        difference = [f"{gain.value:+.4f}", f"{gain.low:+.4f} .. {gain.high:+.4f}"] if found is not first else ["", ""]
        each = " ".join(f"{score.macro_f1[0]:.4f}" for score in found)
        table.add_row(name, f"{mean[0]:.4f}", each, *difference, f"{statistics.mean(shares):.2f}")
    return table


if __name__ == "__main__":
    main()
