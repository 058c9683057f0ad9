"""Every network in the box as ONNX beside torch: differences, sizes, seconds; and the speed of Efficientnet_b0.

python tests/benchmarks/parity.py eval/images                          every network, some 20 minutes on one core
python tests/benchmarks/parity.py eval/images BaseModel Efficientnet_b0

Each is trained for one epoch on noise by the real command, and its batch norms are then set to the photos: with those
of so short a training an EfficientNet answers every photo alike, and such answers agree whatever is wrong. The spread,
how far a class's probability ranges over the photos, tells that it does answer. Seconds are those of the processor, on
one core, so that other work on the machine hardly moves them.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from maskkit_onnx.graph import INPUT, OUTPUT, to_onnx
from maskkit_onnx.parity import largest_difference, prepared
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from maskkit import TrainedRun, find_images, load_run

MODELS = ("BaseModel", *(f"Efficientnet_b{size}" for size in range(8)))
VIEWS = ("multi", "multihead")
SHOTS = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")
NUM_PHOTOS, ROUNDS, BATCH = 16, 4, 32


def main() -> None:
    folder, *names = sys.argv[1:]
    rates = ""
    photos = [Path(folder) / name for name in find_images(folder)[:NUM_PHOTOS]]
    torch.set_num_threads(1)
    print("| model | view | size | largest difference | spread | file, MB | export, s |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        faces = write_faces(Path(scratch) / "faces")
        for model in names or MODELS:
            size = "128,96" if model in MODELS[:2] else "64,64"
            for view in VIEWS:
                trained = load_run(train(faces, model, view, size))
                images = prepared(trained, photos, NUM_PHOTOS)
                settle(trained, images)
                session, megabytes, seconds = export(trained)
                found = largest_difference(session, trained, images)
                spread = np.ptp(session.run([OUTPUT], {INPUT: images})[0], axis=0).max()
                numbers = f"{found:.1e}", f"{spread:.2f}", f"{megabytes:.1f}", f"{seconds:.0f}"
                cells = (model, view, size.replace(",", "x"), *numbers)
                print(f"| {' | '.join(cells)} |", flush=True)
                if (model, view) == ("Efficientnet_b0", "multi"):
                    rates = speeds(session, trained, np.resize(images, (BATCH, *images.shape[1:])))
    print(rates)


def write_faces(folder: Path) -> Path:
    """Write three people of noise, and return their folder."""
    draws = np.random.default_rng(0)
    for person in range(3):
        profile = folder / f"{person:06}_{('male', 'female')[person % 2]}_Asian_{(20, 40, 60)[person]}"
        profile.mkdir(parents=True)
        for shot in SHOTS:
            Image.fromarray(draws.integers(0, 256, (64, 48, 3), dtype=np.uint8)).save(profile / f"{shot}.png")
    return folder


def train(faces: Path, model: str, view: str, size: str) -> Path:
    """Train for one epoch, and return the run's folder."""
    name = f"{model}-{view}"
    words = [f"--data_dir={faces}", f"--model={model}", f"--classification={view}", f"--resize={size}", "--epochs=1"]
    words += ["--no-pretrained", "--optimizer=SGD", "--batch_size=14", "--num_workers=0", "--reporters=csv"]
    command = [sys.executable, "-m", "maskkit", "train", *words, f"--model_dir={faces.parent}", f"--name={name}"]
    subprocess.run(command, check=True, capture_output=True)
    return faces.parent / name


def settle(trained: TrainedRun, images: NDArray[np.uint8]) -> None:
    """Set the means and variances of all batch norms to those of the images."""
    norms = [module for module in trained.network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    torch.manual_seed(0)  # what is dropped out
    trained.network.train()
    with torch.no_grad():
        trained.module.train()(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    trained.network.eval()


def export(trained: TrainedRun) -> tuple[onnxruntime.InferenceSession, float, float]:
    """Return the running graph, its megabytes and the seconds that the export took."""
    start = time.process_time()
    content = to_onnx(trained, opset=18).SerializeToString()
    seconds = time.process_time() - start
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session, len(content) / 1e6, seconds


def speeds(session: onnxruntime.InferenceSession, trained: TrainedRun, images: NDArray[np.uint8]) -> str:
    """Return images a second of torch and of onnxruntime, measured in turn."""

    @torch.inference_mode()
    def by_torch() -> object:
        pixels = trained.classifier.pixels(torch.from_numpy(images).permute(0, 3, 1, 2))
        return trained.probabilities(trained.module(pixels))

    def by_onnxruntime() -> object:
        return session.run([OUTPUT], {INPUT: images})

    def rate(predict: Callable[[], object]) -> float:
        start = time.process_time()
        for _ in range(5):
            predict()
        return 5 * len(images) / (time.process_time() - start)

    by_torch(), by_onnxruntime()  # the first call of each makes plans
    rows = [(rate(by_torch), rate(by_onnxruntime)) for _ in range(ROUNDS)]
    texts = [f"{one:.0f} and {other:.0f}" for one, other in rows]
    ratio = np.median([other / one for one, other in rows])
    return f"images/s of torch and onnxruntime in turn: {', '.join(texts)}; the median ratio is {ratio:.2f}"


if __name__ == "__main__":
    main()
