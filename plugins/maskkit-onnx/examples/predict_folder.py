"""Predict a folder of photos by a file of `maskkit export-onnx`, with onnxruntime, numpy and Pillow alone.

python predict_folder.py best.onnx eval/images --info=eval/info.csv --out=answers.csv --soft_out=probabilities.csv
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageOps

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp")


def main() -> None:
    """Read the words, predict, and write the files."""
    parser = argparse.ArgumentParser(description="Predict a folder of photos by a file of maskkit export-onnx.")
    parser.add_argument("model", type=Path, help="the file that maskkit export-onnx wrote")
    parser.add_argument("folder", type=Path, help="where the photos are")
    parser.add_argument("--out", type=Path, required=True, help="the file of answers to write: ImageID,ans")
    parser.add_argument("--soft_out", type=Path, help="a file of probabilities to write: ImageID,ans,0,1,..")
    parser.add_argument("--info", type=Path, help="a CSV file whose ImageID names the photos; all, sorted, without it")
    parser.add_argument("--batch_size", type=int, default=32, help="photos at once")
    words = parser.parse_args()

    session = onnxruntime.InferenceSession(str(words.model), providers=["CPUExecutionProvider"])
    told = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    if not told.get("prepare"):
        sys.exit(f"{words.model} does not tell how to prepare a photo; its augmentation: {told.get('augmentation')}")
    names = names_in(words.folder, words.info)
    files = [words.folder / name for name in names]
    batches = batches_of(files, told["prepare"], words.batch_size)
    probabilities = np.concatenate([session.run(["probabilities"], {"images": images})[0] for images in batches])
    answers = probabilities.argmax(axis=1).tolist()

    write(words.out, ["ImageID", "ans"], zip(names, answers, strict=True))
    if words.soft_out:
        # Nine digits bring a float32 back exactly.
        shares = [[f"{share:.9g}" for share in row] for row in probabilities.tolist()]
        rows = ([name, answer, *row] for name, answer, row in zip(names, answers, shares, strict=True))
        write(words.soft_out, ["ImageID", "ans", *map(str, range(len(told["classes"])))], rows)
    print(f"{len(names)} photos predicted by epoch {told['epoch']} of {told['run']}")
    print(f"{names[0]}: {told['classes'][answers[0]]}, {probabilities[0].max():.0%}")


def names_in(folder: Path, info: Path | None) -> list[str]:
    """Return the names of the photos, in the order of the CSV file, or all of the folder, sorted."""
    if info:
        with info.open(encoding="utf-8-sig", newline="") as file:
            names = [row["ImageID"] for row in csv.DictReader(file)]
    else:
        names = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in ENDINGS and file.name[0] != ".")
    return names or sys.exit(f"there are no photos in {info or folder}")


def batches_of(files: list[Path], steps: dict[str, Any], batch_size: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the prepared photos, uint8 [N, H, W, 3]."""
    for start in range(0, len(files), batch_size):
        yield np.stack([prepare(read(file), steps) for file in files[start : start + batch_size]])


def read(file: Path) -> Image.Image:
    """Return the photo in RGB and upright; 16 bits a channel become 8."""
    try:
        image = Image.open(file)
        upright = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError) as error:
        sys.exit(f"{file} cannot be read: {error}")
    with image:
        if upright.mode.startswith("I"):
            upright = Image.fromarray(((np.asarray(upright).astype(np.int64) + 128) // 257).astype(np.uint8))
        if "transparency" in upright.info:
            upright = upright.convert("RGBA")
        return upright.convert("RGB")


def prepare(image: Image.Image, steps: dict[str, Any]) -> NDArray[np.uint8]:
    """Return the centre of an RGB photo, resized: uint8 [H, W, 3]. Pillow's resize is antialiased by itself."""
    width, height = (min(steps["crop"], side) for side in image.size)
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    centre = image.crop((left, top, left + width, top + height))
    return np.array(centre.resize(steps["size"][::-1], Image.Resampling.BILINEAR))


def write(path: Path, header: list[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
