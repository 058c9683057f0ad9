"""The search as a person sees it: a live table of trials, or a line for each without a terminal; at last the best."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from maskkit.config import TuneConfig
from maskkit.errors import TuningError
from maskkit.plugin.contracts import Experiment
from maskkit.plugin.registry import Registry
from maskkit.tuning.search import Search, begin_search, go_on, running
from maskkit.tuning.space import examples
from maskkit.tuning.trials import Trial, best_of, write_trials

__all__ = ["tune_and_print"]

_PAUSE = 1.0  # seconds between two questions
_STYLES = {"RUNNING": "cyan", "SUCCEEDED": "green", "FAILED": "red", "PRUNED": "yellow"}


def tune_and_print(config: TuneConfig, origins: Mapping[str, str], registry: Registry) -> int:
    """Run a search, or go on with one, and return 0 when at least one training of it succeeded."""
    if config.resume is None:
        search, tuner = begin_search(config, origins, registry)
        memory: Mapping[str, Any] = {}
    else:
        search, tuner, memory = go_on(config, origins, registry)
    console = Console(highlight=False, soft_wrap=True)
    console.print("checking, and starting the search ..")
    tuner.check(search)
    if config.resume is None:
        _check_trainings(search, registry)
    with running(search, tuner, memory) as experiment:
        board = _Board(console, search, experiment)
        try:
            board.watch()
        except BaseException as error:
            error.add_note(f"to go on: {search.resume_command(experiment.id)}")
            raise
        finally:
            board.close()
    return board.tell_best()


def _check_trainings(search: Search, registry: Registry) -> None:
    """Refuse what trial after trial would refuse: options of components and, where it lies here, the data.

    Raises:
        UsageError: a name, an option or a value does not fit.
        DataError: the images do not.
    """
    from maskkit.engine.device import choose_device
    from maskkit.engine.parts import choose_losses, choose_parts, choose_reporters, plain_names
    from maskkit.engine.sources import find_sources

    trainings = [plain_names(search.training(chosen), registry) for chosen in examples(search.space)]
    for training in trainings:
        choose_parts(training, registry)
        choose_losses(training, registry)
        choose_reporters(training, registry)
    if search.is_local:
        choose_device(search.config.device)
        find_sources(trainings[0], registry)


class _Board:
    """What is shown of a running search, and trials.csv, which follows it."""

    def __init__(self, console: Console, search: Search, experiment: Experiment) -> None:
        self._console, self._search, self._experiment = console, search, experiment
        self._folder = search.folder(experiment.id)
        self._trials: Sequence[Trial] = []
        self._told: set[str] = set()
        console.print(f"experiment {experiment.id}: {search.trials} trials, {search.algorithm}")
        for line in experiment.opening():
            console.print(Text(line))
        console.print(f"folder     {self._folder}")
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        if self._live is not None:
            self._live.start()

    def watch(self) -> None:
        """Ask and show until the search has ended.

        Raises:
            TuningError: the search cannot go on.
        """
        while True:
            goes_on = self._experiment.advance()
            self._look()
            if not goes_on:
                return
            time.sleep(_PAUSE)

    def close(self) -> None:
        """Take the last look, and leave what there is in files."""
        if self._live is not None:
            self._live.stop()
        with suppress(TuningError):
            self._look()
        write_trials(self._folder / "trials.csv", self._trials)

    def tell_best(self) -> int:
        """Print how the search ended, its files, and the line that repeats its best trial."""
        counts = {status: sum(trial.status == status for trial in self._trials) for status in _statuses(self._trials)}
        self._console.print(", ".join(f"{count} {status.lower()}" for status, count in counts.items()) or "no trials")
        if len(self._trials) < self._search.trials:
            self._console.print("the space has no more choices than these")
        self._console.print(f"wrote {self._folder / 'trials.csv'}")
        best = best_of(self._trials)
        if best is None:
            self._console.print("no trial has a result; what went wrong stands above")
            return 1
        self._draw()
        for line in self._experiment.closing():
            self._console.print(Text(line))
        self._console.print(f"best: trial {best.number}, validation macro F1 {best.score:.4f}; to train it again:")
        self._console.print(Text(self._search.command(best), style="bold"))
        return 0

    def _draw(self) -> None:
        from maskkit.tuning.figure import parallel_coordinates

        scored = [trial for trial in self._trials if not math.isnan(trial.score)]
        path = self._folder / "trials.png"
        parallel_coordinates(scored).savefig(path)
        self._console.print(f"wrote {path}")

    def _look(self) -> None:
        trials = self._experiment.trials()
        if [_state(one) for one in trials] != [_state(one) for one in self._trials]:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_trials(self._folder / "trials.csv", trials)
        self._trials = trials
        for trial in trials:
            if trial.has_ended and trial.id not in self._told:
                self._told.add(trial.id)
                self._tell(trial)
        if self._live is not None:
            self._live.update(self._table(), refresh=True)

    def _tell(self, trial: Trial) -> None:
        """Print a trial that has ended: every one without a terminal, else those that failed."""
        is_best = trial == best_of(self._trials)
        if self._live is None:
            chosen = "  ".join(f"{name}={_short(value)}" for name, value in trial.flags.items())
            figures = f"F1 {_score(trial)}  {trial.seconds or 0:.0f} s  {chosen}{'  best' if is_best else ''}"
            self._console.print(Text(f"trial {trial.number:>3}  {trial.status:<13}  {figures}"))
        if trial.status == "FAILED" and (cause := self._experiment.error_of(trial)):
            self._console.print(Text(f"trial {trial.number:>3}  {cause}", style="yellow"))

    def _table(self) -> Group:
        names = list(dict.fromkeys(name for trial in self._trials for name in trial.flags))
        table = Table(*("#", "status", "epochs", "F1", "time"), *names, title_justify="left")
        best = best_of(self._trials)
        for trial in _most_telling(self._trials, best, self._console.height - 8):
            style = "bold" if trial == best else ""
            status = Text(trial.status.lower(), style=_STYLES.get(trial.status, ""))
            chosen = [_short(trial.flags.get(name, "")) for name in names]
            figures = (str(len(trial.scores)), _score(trial), _time(trial.seconds))
            table.add_row(str(trial.number), status, *figures, *chosen, style=style)
        return Group(table, Text(self._progress(best)))

    def _progress(self, best: Trial | None) -> str:
        ended = [trial for trial in self._trials if trial.has_ended]
        total = self._search.trials
        text = f"{len(ended)} of {total} trials"
        if best is not None:
            text += f", best F1 {best.score:.4f}"
        times = [trial.seconds for trial in ended if trial.seconds is not None]
        if times and len(ended) < total:
            left = (total - len(ended)) * sum(times) / len(times) / self._search.concurrency
            text += f", about {_time(left)} left"
        return text


def _most_telling(trials: Sequence[Trial], best: Trial | None, rows: int) -> list[Trial]:
    """Return the trials that fit: the best, and the latest."""
    latest = [trial for trial in trials if trial is not best][-max(rows - 1, 3) :]
    return sorted([*latest, *([best] if best else [])], key=lambda trial: trial.number)


def _state(trial: Trial) -> tuple[str, str, int]:
    return trial.id, trial.status, len(trial.scores)


def _statuses(trials: Sequence[Trial]) -> list[str]:
    return list(dict.fromkeys(trial.status for trial in trials))


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _score(trial: Trial) -> str:
    return "-" if math.isnan(trial.score) else f"{trial.score:.4f}"


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else str(timedelta(seconds=round(seconds)))
