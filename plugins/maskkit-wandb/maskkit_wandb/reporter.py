"""The reporter that writes for Weights & Biases."""

from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from maskkit import EpochEnd, Reporter, RunEnd, RunStart, StepEnd, confusion_figure, mistakes_figure, open_image
from maskkit_wandb.journal import Journal
from maskkit_wandb.options import Mode, Options
from maskkit_wandb.rows import Place, Row, best_figures, epoch_row, place_of, step_row, was_before
from maskkit_wandb.transaction_log import logs_of, mend, read_history

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from maskkit_wandb.session import Session

__all__ = ["WandbReporter"]


class WandbReporter(Reporter):
    """Reports a run to W&B, under the names that its figures have in TensorBoard.

    The flags and the plan at the start, the loss of each interval, the figures of each epoch; and at the end, however
    it comes, the figures, the confusion and the surest mistakes of the best epoch.

    project, entity: where the run stands in W&B, the entity being a user or a team.
    mode: auto is online where a login needs no question, else offline.
    name: of the run; else that of its folder.
    group, tags: as W&B shows them.
    """

    def __init__(
        self,
        *,
        project: str = "maskkit",
        entity: str | None = None,
        mode: Mode = "auto",
        name: str | None = None,
        group: str | None = None,
        tags: tuple[str, ...] = (),
    ) -> None:
        self._options = Options(project=project, entity=entity, mode=mode, name=name, group=group, tags=tags)
        self._session: Session | None = None
        self._classes: tuple[str, ...] = ()
        self._places: set[Place] = set()  # where W&B has a row
        self._num_rows = 0
        if mode == "online":
            from maskkit_wandb.session import check_login

            check_login()

    def on_run_start(self, run: RunStart) -> None:
        if self._options.mode == "disabled":
            return
        from maskkit_wandb.session import folder_of, start_session

        folder = folder_of(run)
        logs = [log for log in logs_of(folder) if mend(log)]
        self._session = start_session(self._options, run, logs)
        if self._session is None:
            return
        self._classes = run.classes
        self._session.define_axes()
        self._journal = Journal(folder / "rows.jsonl")
        self._take_up(run, [row for log in logs for row in read_history(log)])

    def on_step_end(self, step: StepEnd) -> None:
        if step.loss is not None:
            self._report(step_row(step, step.loss))

    def on_epoch_end(self, result: EpochEnd) -> None:
        self._report(epoch_row(result, self._classes))

    def on_run_end(self, outcome: RunEnd) -> None:
        if self._session is None:
            return
        session, self._session = self._session, None
        try:
            if outcome.best is not None:
                session.run.summary.update(best_figures(outcome.best))
                self._send_images(session, outcome.best)
        finally:
            session.end(outcome.status)

    def _take_up(self, run: RunStart, logged: "Sequence[Row]") -> None:
        """Learn what W&B has of the run, `logged` being its own rows on this machine, and send what it lost.

        W&B takes back no row. So the row of a step or an epoch that is trained once more is not sent once more.
        """
        assert self._session is not None  # noqa: S101  it was just started
        journal = self._journal.read()
        num_rows = self._session.run.starting_step  # as many as the server has
        if self._session.is_online:
            known = {place for place, row in journal.items() if row["_step"] < num_rows}
        else:
            known = {place for row in logged if (place := place_of(row))}
        kept = {place: row for place, row in journal.items() if place in known or was_before(run, row)}
        self._journal.rewrite(kept.values())
        self._places = known
        self._num_rows = max([num_rows, *(int(row["_step"]) + 1 for row in [*journal.values(), *logged])])
        for row in kept.values():
            self._report(row)

    def _report(self, row: Row) -> None:
        place = place_of(row)
        if self._session is None or place is None or place in self._places:
            return
        self._places.add(place)
        row = {**row, "_step": self._num_rows}
        self._num_rows += 1
        self._journal.append(row)
        self._session.send(row)

    def _send_images(self, session: "Session", best: EpochEnd) -> None:
        import wandb
        from PIL import Image

        images = {name: wandb.Image(Image.open(_as_png(figure))) for name, figure in self._figures(best)}
        session.send({"_step": self._num_rows, "epoch": best.epoch, **images})

    def _figures(self, best: EpochEnd) -> "Iterator[tuple[str, Figure]]":
        yield "best/confusion", confusion_figure(best.counts, self._classes)
        if best.mistakes:
            yield "best/mistakes", mistakes_figure(best.mistakes, self._classes, open_image)


def _as_png(figure: "Figure") -> BytesIO:
    """Return a figure as a file; given the figure itself, W&B would load pyplot, which is made for screens."""
    file = BytesIO()
    figure.savefig(file, format="png")
    file.seek(0)
    return file
