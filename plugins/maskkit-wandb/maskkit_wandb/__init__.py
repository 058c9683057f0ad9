"""A reporter for maskkit that writes for Weights & Biases; wandb is imported when a run is reported."""

from collections.abc import Iterable

from maskkit import Component, hookimpl


@hookimpl
def maskkit_reporters() -> Iterable[Component]:
    yield Component(
        name="wandb",
        target="maskkit_wandb.reporter:WandbReporter",
        summary="Weights & Biases: curves, images and flags, online or offline",
    )
