"""DrawnFaces: the data set for a first try, drawn once into a cache folder and read like any other."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from maskkit import Samples, user_cache
from maskkit.builtin.datasets import mask_split_by_profile
from maskkit.builtin.drawn_faces import EVAL_PEOPLE, PEOPLE, SEED, draw_faces
from maskkit.errors import UsageError

__all__ = ["drawn_faces"]

_VERSION = 1
"""Part of the folder's name: another way of drawing must not meet the files of the last one."""


def drawn_faces(
    data_dir: Path | None, *, people: int = PEOPLE, eval_people: int = EVAL_PEOPLE, seed: int = SEED
) -> Samples:
    """Draw `people` to train on and `eval_people` to predict, unless they are there already, and read them.

    Without a folder they lie below $XDG_CACHE_HOME/maskkit, or ~/.cache/maskkit, for the next time.

    Raises:
        UsageError: a number is out of range.
        DataError: the folder holds something else.
    """
    if people < 12 or eval_people < 1 or seed < 0:  # two of each gender and age group
        raise UsageError(
            f"DrawnFaces cannot draw people={people}, eval_people={eval_people}, seed={seed}",
            hint="It needs people=12 or more, eval_people=1 or more, seed=0 or more.",
        )
    folder = data_dir or user_cache() / f"drawn-faces-{_VERSION}-{people}-{eval_people}-{seed}"
    if not folder.exists():
        _draw(folder, people, eval_people, seed)
    samples = mask_split_by_profile(folder / "train" / "images")
    return replace(samples, notice=f"the faces are drawn, not photographed; they lie in {folder}")


def _draw(folder: Path, people: int, eval_people: int, seed: int) -> None:
    """Draw with a progress bar, or with one plain line where there is no terminal."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"drawing {people + eval_people} people, seven photos each, into {folder}")
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("drawing", total=people + eval_people)
        draw_faces(
            folder,
            people=people,
            eval_people=eval_people,
            seed=seed,
            on_progress=lambda done, _: progress.update(task, completed=done),
        )
