"""The command `maskkit export-onnx`; what is heavy is imported once its words are known to be good."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from maskkit import replacing
from maskkit.errors import UsageError

if TYPE_CHECKING:
    from maskkit import TrainedRun
    from maskkit_onnx.parity import Comparison

__all__ = ["export_onnx"]

_OPSETS = (18, 23)  # the exporter writes 18 and converts to the later ones


def export_onnx(
    run: Annotated[Path, "A run folder, or a checkpoint of one."],
    /,
    *,
    out: Annotated[Path | None, "The file to write; best.onnx or last.onnx in the run's folder unless given."] = None,
    checkpoint: Annotated[Literal["best", "last"], "Which of a run's checkpoints."] = "best",
    opset: Annotated[int, "The version of ONNX's operators, 18 to 23; older programs read the lower."] = _OPSETS[0],
) -> None:
    """Write a trained run as an ONNX file, once onnxruntime was seen to give the probabilities that torch gives.

    maskkit export-onnx runs/exp
    maskkit export-onnx runs/exp --checkpoint=last --out=faces.onnx --opset=20

    Raises:
        UsageError: the file cannot be written there, or the opset is none of those.
        CheckpointError: there is no such run, or a plugin that it needs is missing.
        ExportError: the network cannot be exported, or onnxruntime gives other probabilities.
    """
    if not _OPSETS[0] <= opset <= _OPSETS[1]:
        raise UsageError(f"--opset is {opset}; it must be {_OPSETS[0]}..{_OPSETS[1]}", hint="Leave it out for 18.")
    file = _default_out(run, checkpoint) if out is None else out
    _check_out(file)
    from maskkit import load_run
    from maskkit_onnx.description import describe, headline
    from maskkit_onnx.graph import to_onnx
    from maskkit_onnx.parity import compare

    trained = load_run(run, checkpoint=checkpoint)
    print(f"exporting {headline(trained)}")
    model = to_onnx(trained, opset=opset)
    describe(model, trained)
    found = compare(model, trained)
    with replacing(file) as temporary:
        temporary.write_bytes(model.SerializeToString())
    _tell(file, trained, opset, found)


def _tell(file: Path, trained: "TrainedRun", opset: int, found: "Comparison") -> None:
    """Print what was written, what it takes and gives, and what to type next."""
    from maskkit_onnx.description import crop_of

    height, width = trained.size
    crop = crop_of(trained)
    if trained.description.get("notice"):
        print(f"Note: {trained.description['notice']}")
    print(f"wrote      {file}, {file.stat().st_size / 1e6:.1f} MB, opset {opset}")
    print(f"input      images: uint8 [N, {height}, {width}, 3], RGB as Pillow gives it")
    print(f"output     probabilities: float32 [N, {trained.view.num_classes}]")
    print(f"compared   with torch: {found}")
    if crop is None:
        part = trained.description["augmentation"]
        print(
            f"Note: the file cannot tell how {part['name']} of {part['distribution']} {part['version']} prepares an"
            " image; whoever uses it must do that as the plugin does"
        )
    else:
        print(f"prepare    crop {crop}x{crop} from the centre, resize to {height}x{width}, bilinear and antialiased")
        print(f"next:\n  python {shlex.quote(str(_example()))} {shlex.quote(str(file))} FOLDER --out=answers.csv")


def _default_out(run: Path, checkpoint: str) -> Path:
    if not run.is_file():
        return run / f"{checkpoint}.onnx"
    folder = run.absolute().parent
    return (folder.parent if folder.name == "checkpoints" else folder) / f"{run.stem}.onnx"


def _check_out(file: Path) -> None:
    """Refuse at once what could not be written after minutes, or would overwrite something else by a slip.

    Raises:
        UsageError: it says why.
    """
    if file.suffix != ".onnx":
        raise UsageError(f"--out={file} does not end with .onnx", hint=f"Type --out={file.with_suffix('.onnx')}.")
    if file.is_dir():
        raise UsageError(f"--out={file} is a folder; it must be a file", hint=f"Type --out={file / 'best.onnx'}.")
    folder = next(parent for parent in file.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        why = "may not be written to" if folder.is_dir() else "is no folder"
        raise UsageError(f"{file} cannot be written: {folder} {why}", hint="Type another --out=FILE.onnx.")


def _example() -> Path:
    """Return where the example lies: in the installed package, or beside it in a checkout."""
    here = Path(__file__).parent
    installed = here / "predict_folder.py"
    return installed if installed.exists() else here.parent / "examples" / installed.name
