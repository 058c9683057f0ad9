"""maskkit explain: pictures of where a trained run found its answers."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from maskkit import find_images
from maskkit.errors import DataError, UsageError

if TYPE_CHECKING:
    from maskkit_gradcam.explainer import Explainer

__all__ = ["explain"]

_NUM_LINES = 10  # of progress, where no terminal shows it


def explain(
    run: Annotated[Path, "A run folder, or a .safetensors checkpoint."],
    images: Annotated[Path, "A photo, or a folder of photos."],
    /,
    *,
    out: Annotated[Path | None, "Folder for the pictures; else explanations in the run folder."] = None,
    target: Annotated[
        str, "The answer to explain: predicted, a class of the run by name or number, or one of an axis, as old."
    ] = "predicted",
    head: Annotated[
        tuple[str, ...], "Which of mask, gender and age to explain, also of a multi run; else every head of the run."
    ] = (),
    method: Annotated[
        Literal["hirescam", "gradcam", "occlusion"],
        "hirescam; gradcam, which blurs places; or occlusion, slow, for any network.",
    ] = "hirescam",
    layer: Annotated[str | None, "Path of the module to look at; else the last with a map of features."] = None,
    checkpoint: Annotated[Literal["best", "last"], "Which checkpoint of the run."] = "best",
    device: Annotated[str, "auto, cpu, cuda, cuda:1 or mps."] = "auto",
) -> int:
    """Draw a picture for each photo: the photo, and where it speaks for an answer of the run.

    maskkit explain runs/exp photo.jpg
    maskkit explain runs/exp eval/images --out=maps --head=age --target=old
    maskkit explain runs/exp photo.jpg --method=occlusion

    Returns 1 when some photos cannot be read; they are named, and the others have their pictures.

    Raises:
        UsageError: a flag asks for what the run or its network does not have.
        CheckpointError: the run cannot be used.
        DataError: there are no photos.
    """
    from maskkit_gradcam.explainer import Explainer

    photos = _find_photos(images)
    pictures = _pictures_of(photos, _output_folder(run, out, photos))
    explainer = Explainer.of_run(
        run, checkpoint=checkpoint, device=device, heads=head, target=target, method=method, layer=layer
    )
    print(explainer.summary)
    written, bad = _written(explainer, pictures)
    if written:
        print(f"wrote {written[0]}" if len(written) == 1 else f"wrote {len(written)} pictures to {written[0].parent}")
    for message in bad:
        print(message, file=sys.stderr)
    return 1 if bad else 0


def _written(explainer: "Explainer", pictures: Mapping[Path, Path]) -> tuple[list[Path], list[str]]:
    """Write the picture of each photo, and return those written, and a sentence on each photo that cannot be read."""
    written, bad = [], []
    with _progress(len(pictures)) as advance:
        for photo, picture in pictures.items():
            try:
                explainer.write(photo, picture)
            except DataError as error:
                bad.append(error.message)
            else:
                written.append(picture)
            advance()
    return written, bad


def _find_photos(images: Path) -> list[Path]:
    if not images.is_dir():
        if not images.exists():
            raise DataError(f"there is no photo or folder {images}")
        return [images]
    photos = [images / name for name in find_images(images)]
    if not photos:
        raise DataError(f"the folder {images} holds no images")
    return photos


def _output_folder(run: Path, out: Path | None, photos: Sequence[Path]) -> Path:
    if out is None:
        if run.is_file() and run.parent.name != "checkpoints":
            raise UsageError(f"{run} lies in no run folder", hint="Type --out=FOLDER for the pictures.")
        out = (run.parent.parent if run.is_file() else run) / "explanations"
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; it must be a folder for the pictures", hint="Type --out=FOLDER.")
    if out.resolve() == photos[0].parent.resolve():
        raise UsageError(f"the pictures would lie among the photos, in {out}", hint="Type --out=FOLDER of another one.")
    return out


def _pictures_of(photos: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Return where the picture of each photo goes: by its name, with its ending where two share the name."""
    stems = Counter(photo.stem.casefold() for photo in photos)
    return {photo: folder / f"{photo.name if stems[photo.stem.casefold()] > 1 else photo.stem}.png" for photo in photos}


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Yield what to call after each photo; tell of it on a terminal, elsewhere in a few lines."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())  # the time left is among the default ones
    start, done = time.monotonic(), 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("explaining", total=total)

        def advance() -> None:
            nonlocal done
            done += 1
            progress.advance(task)
            if not console.is_terminal and done * _NUM_LINES // total > (done - 1) * _NUM_LINES // total and total > 1:
                left = (time.monotonic() - start) / done * (total - done)
                print(f"explained {done} of {total} photos" + (f", about {left:.0f} s left" if done < total else ""))

        yield advance
