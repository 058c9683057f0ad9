"""Who trains, validates and predicts in step_speed.py, and how fast: each function returns images per second."""

import csv
import os
import statistics
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

__all__ = ["CONTENDERS", "SIZES", "Race", "speed_of"]

SIZES = {"128x96": (128, 96, 64), "224x224": (224, 224, 32)}  # height, width, images a batch
CONTENDERS = {
    "train": ("original", "torchvision", "timm", "plain", "depthwise", "means", "bare", "maskkit"),
    "validate": ("original", "torchvision", "timm", "maskkit"),
    "predict": ("original", "torchvision", "timm", "plain", "bare", "maskkit"),
}
TIMM = {"Efficientnet_lite0": "tf_efficientnet_lite0"}
NUM_OUTPUTS, NUM_EPOCHS = 18, 3


@dataclass(frozen=True)
class Race:
    """What is done, by which network, at which size, on which drawn faces."""

    task: str
    model: str
    size: str
    faces: Path

    @property
    def shape(self) -> tuple[int, int]:
        return SIZES[self.size][:2]

    @property
    def batch_size(self) -> int:
        """Images at once; without gradients four times as many, as everybody has it."""
        return SIZES[self.size][2] * (1 if self.task == "train" else 4)

    @property
    def torch_name(self) -> str:
        """The network's name in torchvision and timm."""
        return TIMM.get(self.model, self.model.lower())


def speed_of(contender: str, race: Race) -> float:
    if contender not in {"plain", "depthwise", "means", "bare", "maskkit"}:
        return _speed_of_plain_loop(contender, race)
    if contender in {"bare", "maskkit"}:
        from maskkit.arithmetic.allocator import keep_memory

        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}  # as the command does
        keep_memory()
    if contender == "maskkit":
        return _speed_of_command(race) if race.task == "train" else _speed_of_engine(race)
    return _speed_of_step(contender, race)


def _speed_of_command(race: Race) -> float:
    """The installed command, from its second epoch on."""
    height, width = race.shape
    with tempfile.TemporaryDirectory() as folder:
        command = Path(sysconfig.get_path("scripts")) / "maskkit"
        words = [f"--data_dir={race.faces / 'train' / 'images'}", "--eval_dir=none", f"--model={race.model}"]
        words += [f"--resize={height},{width}", f"--batch_size={race.batch_size}", f"--epochs={NUM_EPOCHS}"]
        words += ["--pretrained=false", "--reporters=csv", f"--model_dir={folder}"]
        subprocess.run([command, "train", *words], check=True, capture_output=True)
        with (Path(folder) / "exp" / "metrics.csv").open(newline="") as file:
            return statistics.median(float(row["images_per_second"]) for row in list(csv.DictReader(file))[1:])


def _speed_of_engine(race: Race) -> float:
    """What `maskkit predict` does from decoding to logits, or validation with images that are kept."""
    import torch

    from maskkit.builtin.augmentations import base
    from maskkit.builtin.datasets import mask_split_by_profile
    from maskkit.data.kept import KeptImages
    from maskkit.data.loader import ImageLoader
    from maskkit.data.order import split_rows
    from maskkit.engine.device import choose_workers

    classifier = _classifier(race)
    paths = mask_split_by_profile(race.faces / "train" / "images").paths
    kept = KeptImages.in_memory(len(paths), race.shape) if race.task == "validate" else None
    workers = choose_workers("auto", classifier.device)
    loader = ImageLoader(paths, base(size=race.shape), num_workers=workers, pin_memory=False, kept=kept)
    rows = torch.arange(len(paths))

    def once(*_: Any) -> None:
        classifier.logits_of(loader.batches(split_rows(rows, race.batch_size)))

    return _speed(once, repeat((rows, None)), least=2)


def _speed_of_step(contender: str, race: Race) -> float:
    """maskkit's arithmetic on one batch that is always there."""
    import torch

    from maskkit.builtin.optimizers import adam
    from maskkit.engine import classifier as engine

    classifier = _classifier(race)
    if contender == "plain":
        classifier = replace(classifier, precision=replace(classifier.precision, depthwise_by_detours=False))
    if contender in {"plain", "depthwise"}:
        vars(engine)["QuickMeans"] = nullcontext
    images = torch.randint(256, (race.batch_size, 3, *race.shape), dtype=torch.uint8)
    answers = torch.arange(race.batch_size) % NUM_OUTPUTS
    optimizer = adam(classifier.network.parameters(), lr=1e-3, weight_decay=0)

    def train(images: Any, answers: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        logits = classifier.logits(classifier.pixels(images))
        torch.autograd.backward(torch.nn.functional.cross_entropy(logits, answers))
        optimizer.step()

    @torch.inference_mode()
    def predict(images: Any, answers: Any) -> None:
        if contender == "plain":
            classifier.logits(classifier.pixels(images))
        else:
            from maskkit.data.loader import Batch

            classifier.logits_of(iter([Batch(images, answers)] * 4))

    if race.task == "train":
        classifier.network.train()
        return _speed(train, repeat((images, answers)))
    classifier.network.eval()
    return _speed(predict, repeat((images, answers)), each=1 if contender == "plain" else 4)


def _classifier(race: Race) -> Any:
    import torch

    from maskkit.engine.classifier import MEAN, STD, Classifier
    from maskkit.engine.device import choose_precision, for_training

    device = torch.device("cpu")
    precision = for_training(choose_precision("auto", device), device)
    classifier = Classifier(_network(race.model), MEAN, STD, device, precision)
    classifier.to_device()
    return classifier


def _network(model: str) -> Any:
    from maskkit.plugin.discovery import discover
    from maskkit.plugin.part import Part
    from maskkit.plugin.registry import Registry

    return Part.find(Registry(discover()), "model", model, {}).make(NUM_OUTPUTS, pretrained=False)


def _speed_of_plain_loop(contender: str, race: Race) -> float:
    """A loop as people write it: images decoded each time, the loss and the accuracy fetched in each step."""
    import torch
    from torch.utils.data import DataLoader

    from maskkit.builtin.augmentations import base
    from maskkit.builtin.datasets import mask_split_by_profile
    from maskkit.engine.device import choose_precision

    network, is_modern = _plain_network(contender, race), contender != "original"
    dtype = choose_precision("auto", torch.device("cpu")).dtype if is_modern else torch.float32
    if is_modern:
        network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=is_modern)
    samples = mask_split_by_profile(race.faces / "train" / "images")
    data: Any = _Decoded(samples.paths, samples.answers.tolist(), base(size=race.shape).prepare)
    workers = 2 if is_modern else max(1, (os.cpu_count() or 2) // 2)
    loader: DataLoader[Any] = DataLoader(data, race.batch_size, shuffle=True, num_workers=workers, drop_last=True)

    def forward(images: Any) -> Any:
        if is_modern:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=dtype) if dtype != torch.float32 else nullcontext():
            return network(images).float()

    def train(images: Any, answers: Any) -> None:
        optimizer.zero_grad()
        logits = forward(images)
        loss = torch.nn.functional.cross_entropy(logits, answers)
        torch.autograd.backward(loss)
        optimizer.step()
        loss.item()
        (logits.argmax(dim=1) == answers).sum().item()

    @torch.no_grad()
    def predict(images: Any, answers: Any) -> None:
        (forward(images).argmax(dim=1) == answers).sum().item()

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    network.train(race.task == "train")
    return _speed(train if race.task == "train" else predict, batches())


def _plain_network(contender: str, race: Race) -> Any:
    if contender == "timm":
        import timm

        return timm.create_model(race.torch_name, num_classes=NUM_OUTPUTS)
    if contender == "torchvision":
        import torchvision

        return torchvision.models.get_model(race.torch_name, num_classes=NUM_OUTPUTS)
    if race.model.startswith("Efficientnet_b"):
        from efficientnet_pytorch import EfficientNet

        return EfficientNet.from_name(race.model.lower().replace("_", "-"), num_classes=NUM_OUTPUTS, image_size=None)
    return _network(race.model)


class _Decoded:
    """Images that are decoded each time they are asked for, as float32 in 0..1 and normalised, with their answers."""

    def __init__(self, paths: list[str], answers: list[int], prepare: Callable[[Any], Any]) -> None:
        self.paths, self.answers, self.prepare = paths, answers, prepare

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        from maskkit import open_image

        return (self.prepare(open_image(self.paths[row])).float() / 255 - 0.5) / 0.24, self.answers[row]


def _speed(step: Callable[[Any, Any], None], batches: Iterator[Any], *, least: int = 4, each: int = 1) -> float:
    """Return the images per second of steps, after two that warm up, over ten seconds and `least` steps at least."""
    for _ in range(2):
        step(*next(batches))
    count, num_steps, started = 0, 0, time.perf_counter()
    while num_steps < least or time.perf_counter() - started < 10:
        images, answers = next(batches)
        step(images, answers)
        count += len(images) * each
        num_steps += 1
    return count / (time.perf_counter() - started)
