"""How fast `maskkit vote` is, and how much memory it takes, against the lines of pandas that people write.

`python tests/benchmarks/vote_speed.py` prints the table. Each figure is of a whole process, and the two take turns.
The files have 18 columns of nine digits, as `predict` writes them; where rows are shuffled, every file but the first
has an order of its own, which the lines of pandas would vote over as if it were the same.

pandas: read every file, add, idxmax, to_csv. From pandas 3.1 on it reads with several threads.
maskkit: checks every cell and id besides, and tells how far the files agree.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

NOTEBOOK = """
import sys
import pandas as pd
*paths, out = sys.argv[1:]
total = None
for path in paths:
    table = pd.read_csv(path)
    values = table[[str(number) for number in range(18)]]
    total = values if total is None else total + values
pd.DataFrame({"ImageID": table.ImageID, "ans": total.idxmax(axis=1)}).to_csv(out, index=False)
"""
MEASURED = """
import resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["5x12600", "5x200000", "10x1000000"], help="files x rows")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    arguments = parser.parse_args()
    table = Table(title=f"vote, medians of {arguments.rounds} turns", title_justify="left")
    for name in ("files x rows", "who", "rows", "seconds", "x pandas", "from", "to", "MB"):
        table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as name:
        for size in arguments.sizes:
            num_files, num_rows = map(int, size.split("x"))
            for row in race(Path(name) / size, num_files, num_rows, arguments.rounds):
                table.add_row(size, *row)
    Console().print(table)


def race(folder: Path, num_files: int, num_rows: int, rounds: int) -> list[list[str]]:
    """Return a row for pandas and for maskkit, whose two orders of rows have one each."""
    plain, shuffled = (write_files(folder / order, num_files, num_rows, order) for order in ("as is", "shuffled"))
    out = str(folder / "vote.csv")
    maskkit = [sys.executable, "-m", "maskkit", "vote", f"--out={out}"]
    contenders = {
        ("pandas", "as is"): [sys.executable, "-c", NOTEBOOK, *plain, out],
        ("maskkit", "as is"): [*maskkit, *plain],
        ("maskkit", "shuffled"): [*maskkit, *shuffled],
    }
    found: dict[tuple[str, str], list[tuple[float, float]]] = {contender: [] for contender in contenders}
    for _ in track(range(rounds), f"{num_files} x {num_rows}", transient=True):
        for contender, command in contenders.items():
            found[contender].append(measured(command))
    pandas = [seconds for seconds, _ in found["pandas", "as is"]]
    rows = []
    for (who, order), turns in found.items():
        ratios = [base / seconds for base, (seconds, _) in zip(pandas, turns, strict=True)]
        seconds, peak = (statistics.median(column) for column in zip(*turns, strict=True))
        shares = (f"{ratio:.2f}" for ratio in (statistics.median(ratios), min(ratios), max(ratios)))
        rows.append([who, order, f"{seconds:.2f}", *shares, f"{peak:.0f}"])
    return rows


def measured(command: list[str]) -> tuple[float, float]:
    """Return the seconds and the peak of memory, in MB, of a command."""
    done = subprocess.run([sys.executable, "-c", MEASURED, *command], check=True, stdout=subprocess.PIPE, text=True)
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak


def write_files(folder: Path, num_files: int, num_rows: int, order: str) -> list[str]:
    """Write files of random probabilities, and return their paths."""
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    header = ",".join(["ImageID", "ans", *map(str, range(18))])
    paths = []
    for number in range(num_files):
        probabilities = numbers.dirichlet(np.ones(18), num_rows).astype(np.float32)
        is_shuffled = order == "shuffled" and number > 0
        rows = numbers.permutation(num_rows) if is_shuffled else np.arange(num_rows)
        answers = probabilities.argmax(axis=1)
        path = folder / f"{number}.csv"
        with path.open("w", encoding="utf-8") as file:
            file.write(header + "\n")
            for row in rows.tolist():
                cells = ",".join(map("{:.9g}".format, probabilities[row].tolist()))
                file.write(f"{row:07d}.jpg,{answers[row]},{cells}\n")
        paths.append(str(path))
    return paths


if __name__ == "__main__":
    main()
