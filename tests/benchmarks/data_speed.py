"""What each stage of an image moves and takes, from its file to the step, and how long training waits for images.

`python tests/benchmarks/data_speed.py` prints two tables, of EfficientNet-b0 on drawn faces. The times of stages are
medians over batches, on one thread where they are of one image; a stage that is done once counts in the first epoch
only. Waiting is what the training loop spends in asking for its batches, by the installed command's own loop.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from contenders import SIZES, Race, _classifier, speed_of
from rich.console import Console
from rich.progress import track
from rich.table import Table

from maskkit.arithmetic.allocator import keep_memory

AUGMENTATIONS = ("BaseAugmentation", "AffineAugmentation", "GaussianAugmentation")
PEOPLE = 40
EPOCHS = 3
# The command, with a clock around what it waits for.
WAITING = """
import json, sys, time
from maskkit.arithmetic.allocator import keep_memory
from maskkit.cli.shell import main
from maskkit.data.loader import ImageLoader
plain, waits = ImageLoader.batches, []

def timed(self, wanted):
    batches, place = plain(self, wanted), len(waits)
    waits.append(0.0)
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        waits[place] += time.perf_counter() - started
        if batch is None:
            break
        yield batch

ImageLoader.batches = timed
code = main()
print(json.dumps(waits), file=sys.stderr)
sys.exit(code)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=[*SIZES], choices=SIZES)
    parser.add_argument("--augmentations", nargs="+", default=[*AUGMENTATIONS], choices=AUGMENTATIONS)
    arguments = parser.parse_args()
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}  # as the command does
    keep_memory()
    stages = Table(title="stages", title_justify="left")
    waits = Table(title="waiting for images", title_justify="left")
    for table, names in (
        (stages, ("size", "stage", "done", "MB an image", "ms an image", "% of a step")),
        (waits, ("size", "augmentation", "first epoch, images/s", "x original", "later", "waits, %")),
    ):
        for name in names:
            table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as name:
        from maskkit.builtin.drawn_faces import draw_faces

        faces = Path(name) / "faces"
        draw_faces(faces, people=PEOPLE, eval_people=1, seed=1)
        for size in track(arguments.sizes, "measuring", transient=True):
            race = Race("train", "Efficientnet_b0", size, faces)
            for row in stages_of(race):
                stages.add_row(size, *row)
            original = speed_of("original", race)
            for augmentation in arguments.augmentations:
                waits.add_row(size, augmentation, *waits_of(race, augmentation, original))
    Console().print(stages, waits)


def stages_of(race: Race) -> Iterator[list[str]]:
    """Yield a row for each stage; times are of one image."""
    import torch

    from maskkit import open_image
    from maskkit.builtin import augmentations
    from maskkit.builtin.datasets import mask_split_by_profile
    from maskkit.builtin.optimizers import adam
    from maskkit.data.augmentation import Draws
    from maskkit.data.duplicates import perceptual_hash, small_grey
    from maskkit.data.kept import KeptImages

    paths = mask_split_by_profile(race.faces / "train" / "images").paths
    height, width = race.shape
    batch = race.batch_size
    contents = [Path(path).read_bytes() for path in paths]
    pictures = [open_image(path) for path in paths]
    prepare = augmentations.base(size=race.shape).prepare
    kept = KeptImages.in_memory(len(paths), race.shape)
    kept.keep(torch.arange(len(paths)), torch.stack([prepare(picture) for picture in pictures]))
    classifier = _classifier(race)
    classifier.network.train()
    optimizer = adam(classifier.network.parameters(), lr=1e-3, weight_decay=0)
    rows = torch.randperm(len(paths))[:batch]
    images = kept.take(rows)
    pixels = classifier.pixels(images)
    answers = torch.arange(batch) % 18

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(torch.nn.functional.cross_entropy(classifier.logits(pixels), answers))
        optimizer.step()

    def augmented(make: Callable[..., Any]) -> Callable[[], Any]:
        augment = make(size=race.shape).augment
        return lambda: augment(pixels.clone(), Draws(1, 0, rows))

    decoded, prepared = statistics.mean(3 * one.width * one.height for one in pictures), 3 * height * width
    mean = len(paths)
    found = [
        (
            "file",
            "once",
            statistics.mean(map(len, contents)),
            seconds(lambda: [Path(p).read_bytes() for p in paths]) / mean,
        ),
        ("decode", "once", decoded, (seconds(lambda: [open_image(path) for path in paths])) / mean),
        ("hash", "once", decoded, seconds(lambda: [perceptual_hash(small_grey(one)) for one in pictures]) / mean),
        ("prepare", "once", prepared, seconds(lambda: [prepare(picture) for picture in pictures]) / mean),
        ("take from kept", "each epoch", prepared, seconds(lambda: kept.take(rows)) / batch),
        ("to float32", "each epoch", 4 * prepared, seconds(lambda: classifier.pixels(images)) / batch),
        ("AffineAugmentation", "each epoch", 4 * prepared, seconds(augmented(augmentations.affine)) / batch),
        ("GaussianAugmentation", "each epoch", 4 * prepared, seconds(augmented(augmentations.gaussian)) / batch),
        ("step", "each epoch", 4 * prepared, seconds(step) / batch),
    ]
    whole = found[-1][3]
    for name, when, num_bytes, took in found:
        yield [name, when, f"{num_bytes / 1e6:.2f}", f"{1e3 * took:.3f}", f"{100 * took / whole:.1f}"]


def seconds(work: Callable[[], Any]) -> float:
    """Return the median time of some calls, after one that warms up."""
    work()
    times = []
    for _ in range(7):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def waits_of(race: Race, augmentation: str, original: float) -> list[str]:
    """Train by the command's own loop; return how fast the first epoch is, and how long the later ones wait."""
    height, width = race.shape
    with tempfile.TemporaryDirectory() as folder:
        words = [f"--data_dir={race.faces / 'train' / 'images'}", "--eval_dir=none", f"--model={race.model}"]
        words += [f"--resize={height},{width}", f"--batch_size={race.batch_size}", f"--epochs={EPOCHS}"]
        words += ["--pretrained=false", "--reporters=csv", f"--augmentation={augmentation}", f"--model_dir={folder}"]
        command = [sys.executable, "-c", WAITING, "train", *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        waits = json.loads(done.stderr.splitlines()[-1])
        with (Path(folder) / "exp" / "metrics.csv").open(newline="") as file:
            epochs = list(csv.DictReader(file))
    first, *later = (float(epoch["images_per_second"]) for epoch in epochs)
    # Each epoch asks for batches twice, to train and to validate.
    waited = sum(waits[2 : 2 * EPOCHS])
    share = waited / sum(float(epoch["seconds"]) for epoch in epochs[1:])
    return [f"{first:.1f}", f"{first / original:.2f}", f"{statistics.median(later):.1f}", f"{100 * share:.2f}"]


if __name__ == "__main__":
    main()
