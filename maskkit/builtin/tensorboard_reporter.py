"""The reporter that writes for TensorBoard."""

import html
import re
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from maskkit import EpochEnd, Reporter, RunEnd, RunStart, StepEnd, confusion_figure, mistakes_figure, open_image
from maskkit.builtin.event_files import cut_back
from maskkit.builtin.hyper_parameters import end_summary, start_summaries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TensorBoardReporter"]

_BEST = {"best/f1_macro": "valid_f1_macro", "best/accuracy": "valid_accuracy", "best/loss": "valid_loss"}
_IMAGES = ("best/confusion", "best/mistakes")
_WRITTEN_ANEW = (*_IMAGES, "plan/", "_hparams_/")  # by a run that goes on, so the old ones go


class TensorBoardReporter(Reporter):
    """Writes below `tensorboard/` in the run folder.

    The plan and the flags at the start, the loss of each interval, the figures of each epoch; and at the end, however
    it comes, the confusion and the surest mistakes of the best epoch. Every run has the same names, to be compared.
    """

    def __init__(self) -> None:
        self._writer: SummaryWriter | None = None
        self._classes: tuple[str, ...] = ()

    def on_run_start(self, run: RunStart) -> None:
        folder = run.run_dir / "tensorboard"
        cut_back(folder, lambda tag, step: _was_before(run, tag, step))
        self._classes = run.classes
        self._writer = SummaryWriter(str(folder))
        self._writer.add_text("plan", _as_markdown(run))
        for summary in start_summaries(run.config, _BEST):
            _write(self._writer, summary)
        self._writer.flush()

    def on_step_end(self, step: StepEnd) -> None:
        if self._writer and step.loss is not None:
            self._writer.add_scalar("step/loss", step.loss, step.total_steps)
            self._writer.add_scalar("step/lr", step.lr, step.total_steps)

    def on_epoch_end(self, result: EpochEnd) -> None:
        if not self._writer:
            return
        for tag, value in self._scalars(result):
            if value is not None:
                self._writer.add_scalar(tag, value, result.epoch)
        self._writer.flush()

    def on_run_end(self, outcome: RunEnd) -> None:
        if not self._writer:
            return
        try:
            is_success = outcome.status in {"completed", "stopped early"}
            _write(self._writer, end_summary(is_success=is_success))
            if outcome.best:
                for tag, figure in self._figures(outcome.best):
                    _write(self._writer, _image(tag, figure), outcome.best.epoch)
        finally:
            self._writer.close()

    def _scalars(self, result: EpochEnd) -> Iterator[tuple[str, float | None]]:
        for name, value in result.metrics.items():
            part, _, figure = name.partition("_")
            if name != "epoch":
                yield f"{part}/{figure}" if part in {"train", "valid"} else f"run/{name}", value
        for name, f1 in zip(self._classes, result.class_f1, strict=False):
            yield f"f1/{name}", f1
        if result.is_best:
            yield from ((tag, result.metrics[name]) for tag, name in _BEST.items())

    def _figures(self, best: EpochEnd) -> "Iterator[tuple[str, Figure]]":
        confusion, mistakes = _IMAGES
        yield confusion, confusion_figure(best.counts, self._classes)
        if best.mistakes:
            yield mistakes, mistakes_figure(best.mistakes, self._classes, open_image)


def _write(writer: SummaryWriter, summary: Summary, step: int = 0) -> None:
    writer.file_writer.add_summary(summary, step)  # type: ignore[attr-defined]  # torch declares it None


def _was_before(run: RunStart, tag: str, step: int) -> bool:
    """Whether a value was written before the point from which a run goes on."""
    if tag.startswith(_WRITTEN_ANEW):
        return False
    return step <= run.total_steps if tag.startswith("step/") else step < run.first_epoch


def _as_markdown(run: RunStart) -> str:
    """Return the plan as a table, the notices below it."""
    rows = [f"| **{_plain(subject)}** | {_plain(text)} |" for subject, text in run.plan.items()]
    notices = [f"\nNote: {_plain(notice)}" for notice in run.notices]
    return "\n".join(["| | plan |", "|---|---|", *rows, *notices])


def _plain(text: str) -> str:
    """Return text in which Markdown finds no marks of its own."""
    return re.sub(r"([\\`*_{}\[\]|~])", r"\\\1", html.escape(text, quote=False))


def _image(tag: str, figure: "Figure") -> Summary:
    """Return a figure as a record; SummaryWriter.add_figure would load pyplot, which is made for screens."""
    file = BytesIO()
    figure.savefig(file, format="png")
    width, height = (round(inches * figure.dpi) for inches in figure.get_size_inches())
    image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=file.getvalue())
    return Summary(value=[Summary.Value(tag=tag, image=image)])
