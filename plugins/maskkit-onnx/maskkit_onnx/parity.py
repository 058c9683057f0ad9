"""Whether onnxruntime gives the probabilities that torch gives."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from maskkit import TrainedRun, find_images, open_image
from maskkit.errors import DataError
from maskkit_onnx.errors import ExportError
from maskkit_onnx.graph import INPUT, OUTPUT

__all__ = ["TOLERANCE", "Comparison", "compare", "largest_difference", "prepared"]

TOLERANCE = 1e-4
_NUM_RANDOM, _NUM_REAL = 5, 16


@dataclass(frozen=True)
class Comparison:
    """The largest absolute difference of two probabilities, and how many images were compared."""

    difference: float
    num_random: int
    num_real: int

    def __str__(self) -> str:
        real = f"and {self.num_real} photos of the run" if self.num_real else "alone, as no photo of the run was found"
        return f"largest difference {self.difference:.1e} on {self.num_random} random images {real}"


def compare(model: onnx.ModelProto, trained: TrainedRun) -> Comparison:
    """Compare the model with the run on random images, and on photos of the run that are still there.

    Raises:
        ExportError: they differ by more than `TOLERANCE`, or onnxruntime cannot run the model.
    """
    noise = np.random.default_rng(0).integers(0, 256, (_NUM_RANDOM, *trained.size, 3), dtype=np.uint8)
    photos = prepared(trained, _photos_of(trained.checkpoint), _NUM_REAL)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        # One image alone too: a batch that the graph took for fixed would be found here.
        differences = [largest_difference(session, trained, batch) for batch in (noise, noise[:1], photos)]
    except Exception as error:  # onnxruntime has an exception of its own for each of its status codes
        raise ExportError(f"onnxruntime cannot run the graph: {str(error).splitlines()[0]}") from error
    found = Comparison(max(differences), _NUM_RANDOM, len(photos))
    if found.difference > TOLERANCE:
        raise ExportError(
            f"onnxruntime gives other probabilities than torch: {found}; at most {TOLERANCE:g} is allowed",
            hint="Nothing was written. Another --opset may do.",
        )
    return found


def largest_difference(session: onnxruntime.InferenceSession, trained: TrainedRun, images: NDArray[np.uint8]) -> float:
    """Return the largest absolute difference over images uint8 [N, H, W, 3]; 0 of none, infinite at a NaN."""
    if not len(images):
        return 0.0
    with torch.inference_mode():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 255
        wanted = trained.probabilities(trained.module(pixels)).numpy()
    (found,) = session.run([OUTPUT], {INPUT: images})
    return float(np.nan_to_num(np.abs(found - wanted), nan=np.inf).max())


def prepared(trained: TrainedRun, files: list[Path], at_most: int) -> NDArray[np.uint8]:
    """Return the first images that can be read, as the run prepares them: uint8 [N, H, W, 3]."""
    found: list[NDArray[np.uint8]] = []
    for file in files:
        if len(found) == at_most:
            break
        try:
            found.append(trained.prepare(open_image(file)).permute(1, 2, 0).numpy())
        except DataError:
            continue  # it went since, or never could be read
    return np.stack(found) if found else np.empty((0, *trained.size, 3), dtype=np.uint8)


def _photos_of(checkpoint: Path) -> list[Path]:
    """Return the photos that the run of a checkpoint held out or predicted, none when it lies alone."""
    run = checkpoint.absolute().parent.parent
    try:
        decisions = json.loads((run / "config.json").read_text(encoding="utf-8"))["decisions"]
        data_dir, eval_dir = decisions["data_dir"], decisions["eval_dir"]
        with (run / "samples.csv").open(encoding="utf-8", newline="") as file:
            held_out = [row["sample"] for row in csv.DictReader(file) if row["fold"] == "0"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    photos = [Path(data_dir) / sample for sample in held_out] if data_dir else []
    # Faces that maskkit draws have no data_dir, but a folder of photos to predict.
    if eval_dir and (folder := Path(eval_dir) / "images").is_dir():
        photos += [folder / name for name in find_images(folder)]
    return photos
