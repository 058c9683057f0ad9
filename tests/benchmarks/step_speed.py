"""How fast a training goes, against loops that people write: `python tests/benchmarks/training_speed.py`.

Each figure is of a process of its own, and the contenders take turns, so that a machine that is busy for a while is
busy for all of them. Compare the ratios; the images per second are those of one machine in one hour.

original: what every team wrote: float32, contiguous tensors, the package's own swish, images decoded in each epoch,
    and the loss and the accuracy fetched in each step.
torchvision: its network in that loop, in channels_last with torch's fused Adam.
timm: timm's network in the same loop, in bfloat16 too, as its training script recommends; left out without timm.
stock_memory: maskkit's step on one batch that is always there, with the C library's allocator as it is.
bare: the same with memory that is kept, as maskkit has it: the limit.
maskkit: the installed command, from its second epoch on.
"""

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from maskkit.engine.allocator import keep_memory

CONTENDERS = ("original", "torchvision", "timm", "stock_memory", "bare", "maskkit")
SIZES = {"128x96": (128, 96, 64), "224x224": (224, 224, 32)}  # height, width, images a batch
NAMES = {"Efficientnet_b0": "efficientnet_b0", "Efficientnet_b3": "efficientnet_b3"}
NUM_OUTPUTS, NUM_EPOCHS, PEOPLE = 18, 3, 30

Step = Callable[[Any, Any], None]


def main() -> None:
    arguments = parsed()
    if arguments.contender:
        speed = run_one(arguments.contender, arguments.models[0], arguments.sizes[0], arguments.faces)
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(json.dumps({"speed": speed, "megabytes": peak / 1024}))
        return
    with tempfile.TemporaryDirectory() as folder:
        from maskkit.builtin.drawn_faces import draw_faces

        faces = Path(folder) / "faces"
        draw_faces(faces, people=PEOPLE, eval_people=1, seed=1)
        rows = [
            row for model in arguments.models for size in arguments.sizes for row in race(model, size, arguments, faces)
        ]
    show(rows)
    if arguments.out:
        with arguments.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["Efficientnet_b0"], help="as maskkit names them")
    parser.add_argument("--sizes", nargs="+", default=[*SIZES], choices=SIZES)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender")
    parser.add_argument("--out", type=Path, help="CSV file for the table")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--faces", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def race(model: str, size: str, arguments: argparse.Namespace, faces: Path) -> Iterator[dict[str, Any]]:
    """Let the contenders take turns, and yield a row for each that can run the model."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in track(range(arguments.rounds), f"{model} {size}", transient=True):
        for name in CONTENDERS:
            if name not in {"torchvision", "timm"} or model in NAMES:
                words = [sys.executable, __file__, f"--contender={name}", "--models", model, "--sizes", size]
                done = subprocess.run([*words, f"--faces={faces}"], capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"{name} left out: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                else:
                    found[name].append(json.loads(done.stdout.splitlines()[-1]))
    first = [one["speed"] for one in found["original"]]
    for name, turns in found.items():
        if turns:
            ratios = [one["speed"] / base for one, base in zip(turns, first, strict=False)]
            yield {
                "model": model,
                "size": size,
                "contender": name,
                "images_per_second": round(statistics.median(one["speed"] for one in turns), 1),
                "times_the_original": round(statistics.median(ratios), 2) if ratios else None,
                "megabytes": round(max(one["megabytes"] for one in turns)),
            }


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(title="training, median of the turns", title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if name in {"model", "size", "contender"} else "right")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console(width=100).print(table)


def run_one(contender: str, model: str, size: str, faces: Path) -> float:
    """Return the images per second of a contender."""
    height, width, batch_size = SIZES[size]
    if contender == "maskkit":
        return speed_of_command(model, (height, width), batch_size, faces)
    if contender in {"bare", "stock_memory"}:
        if contender == "bare":
            keep_memory()
        return speed_of_bare_step(model, (height, width), batch_size)
    return speed_of_plain_loop(contender, model, (height, width), batch_size, faces)


def speed_of_command(model: str, size: tuple[int, int], batch_size: int, faces: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = Path(sysconfig.get_path("scripts")) / "maskkit"
        words = [f"--data_dir={faces / 'train' / 'images'}", "--eval_dir=none", f"--model={model}", "--no-pretrained"]
        words += [f"--resize={size[0]},{size[1]}", f"--batch_size={batch_size}", f"--epochs={NUM_EPOCHS}"]
        subprocess.run(
            [command, "train", *words, "--reporters=csv", f"--model_dir={folder}"], check=True, capture_output=True
        )
        with (Path(folder) / "exp" / "metrics.csv").open(newline="") as file:
            return statistics.median(float(row["images_per_second"]) for row in list(csv.DictReader(file))[1:])


def speed_of_bare_step(model: str, size: tuple[int, int], batch_size: int) -> float:
    import torch

    from maskkit.builtin.optimizers import adam
    from maskkit.engine.classifier import MEAN, STD, Classifier
    from maskkit.engine.device import choose_precision
    from maskkit.plugin.discovery import discover
    from maskkit.plugin.part import Part
    from maskkit.plugin.registry import Registry

    device = torch.device("cpu")
    network = Part.find(Registry(discover()), "model", model, {}).make(NUM_OUTPUTS, pretrained=False)
    classifier = Classifier(network, MEAN, STD, device, choose_precision("auto", device))
    classifier.to_device()
    optimizer = adam(network.parameters(), lr=1e-3, weight_decay=0)
    images = torch.randint(256, (batch_size, 3, *size), dtype=torch.uint8)

    def step(images: Any, answers: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        logits = classifier.logits(classifier.pixels(images))
        torch.autograd.backward(torch.nn.functional.cross_entropy(logits, answers))
        optimizer.step()

    return speed_of(step, iter(lambda: (images, torch.arange(batch_size) % NUM_OUTPUTS), None), network)


def speed_of_plain_loop(contender: str, model: str, size: tuple[int, int], batch_size: int, faces: Path) -> float:
    import torch
    from torch.utils.data import DataLoader

    from maskkit.builtin.augmentations import base
    from maskkit.builtin.datasets import mask_split_by_profile

    network, is_modern, reduced = plain_network(contender, model)
    if is_modern:
        network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=is_modern)
    samples, augmentation = mask_split_by_profile(faces / "train" / "images"), base(size=size)
    data: Any = Decoded(samples.paths, samples.answers.tolist(), augmentation.prepare)
    workers = 2 if contender == "timm" else max(1, (os.cpu_count() or 2) // 2)
    loader: DataLoader[Any] = DataLoader(data, batch_size=batch_size, shuffle=True, num_workers=workers, drop_last=True)

    def step(images: Any, answers: Any) -> None:
        if is_modern:
            images = images.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16) if reduced else nullcontext():
            logits = network(images)
        loss = torch.nn.functional.cross_entropy(logits.float(), answers)
        torch.autograd.backward(loss)
        optimizer.step()
        loss.item()
        (logits.argmax(dim=1) == answers).sum().item()

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    return speed_of(step, batches(), network)


def plain_network(contender: str, model: str) -> tuple[Any, bool, bool]:
    """Return a network, whether it runs in channels_last with a fused optimizer, and whether in bfloat16."""
    if contender == "timm":
        import timm

        return timm.create_model(NAMES[model], num_classes=NUM_OUTPUTS), True, True
    if contender == "torchvision":
        import torchvision

        return getattr(torchvision.models, NAMES[model])(num_classes=NUM_OUTPUTS), True, False
    if model.startswith("Efficientnet_b"):
        from efficientnet_pytorch import EfficientNet

        name = model.lower().replace("_", "-")
        return EfficientNet.from_name(name, num_classes=NUM_OUTPUTS, image_size=None), False, False
    from maskkit.plugin.discovery import discover
    from maskkit.plugin.part import Part
    from maskkit.plugin.registry import Registry

    return Part.find(Registry(discover()), "model", model, {}).make(NUM_OUTPUTS, pretrained=False), False, False


class Decoded:
    """Images that are decoded each time they are asked for, as float32 in 0..1 and normalised, with their answers."""

    def __init__(self, paths: list[str], answers: list[int], prepare: Callable[[Any], Any]) -> None:
        self.paths, self.answers, self.prepare = paths, answers, prepare

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        from maskkit import open_image

        return (self.prepare(open_image(self.paths[row])).float() / 255 - 0.5) / 0.24, self.answers[row]


def speed_of(step: Step, batches: Iterator[Any], network: Any) -> float:
    """Return the images per second of steps, after two that warm up, over ten seconds and four steps at least."""
    network.train()
    for _ in range(2):
        step(*next(batches))
    count, started = 0, time.perf_counter()
    num_steps = 0
    while num_steps < 4 or time.perf_counter() - started < 10:
        images, answers = next(batches)
        step(images, answers)
        count += len(images)
        num_steps += 1
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
