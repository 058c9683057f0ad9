"""What the file tells of the run: all that is needed to use it without maskkit, and to know where it comes from."""

import json

import onnx

import maskkit
from maskkit import TrainedRun

__all__ = ["crop_of", "describe", "headline"]

_BOX = "maskkit"
_CROPPING = ("BaseAugmentation", "AffineAugmentation", "GaussianAugmentation")
_CROP = 350  # where a run does not say: the default of those


def crop_of(trained: TrainedRun) -> int | None:
    """Return the side of the square that the run keeps from a photo's centre, None where a plugin prepares it."""
    part = trained.description["augmentation"]
    if part["distribution"] != _BOX or part["name"] not in _CROPPING:
        return None
    return int(part["options"].get("crop", _CROP))


def headline(trained: TrainedRun) -> str:
    """Return the network, its checkpoint, epoch and score in one line."""
    name, score = trained.description["model"]["name"], _macro_f1(trained)
    told = "" if score is None else f", validation macro F1 {score:.4f}"
    return f"{name} of {trained.checkpoint}: epoch {trained.description['epoch'] + 1}{told}"


def describe(model: onnx.ModelProto, trained: TrainedRun) -> None:
    """Write into the model's metadata what the run is; every value is JSON.

    prepare: what makes an input of an RGB photo, null where only the plugin of the augmentation knows.
    """
    told, crop, folder = trained.description, crop_of(trained), trained.checkpoint.absolute().parent
    height, width = trained.size
    steps = {"crop": crop, "size": [height, width], "resample": "bilinear", "antialias": True}
    metadata = {
        "maskkit_version": maskkit.__version__,
        "run": folder.parent.name if folder.name == "checkpoints" else None,
        "checkpoint": trained.checkpoint.stem,
        "epoch": told["epoch"] + 1,
        "macro_f1": _macro_f1(trained),
        "classification": trained.view.name,
        "classes": list(trained.view.classes),
        "size": [height, width],
        "mean": told["mean"],
        "std": told["std"],
        "prepare": None if crop is None else steps,
        "model": told["model"],
        "augmentation": told["augmentation"],
        "notice": told.get("notice", ""),
    }
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    model.producer_name, model.producer_version = _BOX, maskkit.__version__
    model.doc_string = (
        f"images: uint8 [N, {height}, {width}, 3], RGB, prepared as the metadata tell; normalised inside."
        f" probabilities: float32 [N, {trained.view.num_classes}], of the classes in the metadata."
    )


def _macro_f1(trained: TrainedRun) -> float | None:
    score = trained.description.get("metrics", {}).get("valid_f1_macro")
    return None if score is None else float(score)
