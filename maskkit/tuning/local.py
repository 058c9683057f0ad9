"""The training of a trial on this machine, in a process of its own, for engines that start their trials themselves."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskkit.tuning.probe import num_gpus
from maskkit.tuning.search import Search
from maskkit.tuning.trainings import END_WITH_STARTER, error_in

__all__ = ["LocalTraining"]

_PATIENCE = 10  # seconds for a training to end by itself
_INTERRUPTED = {130, 143}  # exit codes of a training that heard the signal


@dataclass(frozen=True)
class LocalTraining:
    """A `maskkit train` of a trial; where its run folder is there already, it goes on with that run.

    What it prints is in a file beside its run folder. It ends when the process that started it does, however that ends.
    """

    run_dir: Path
    process: "subprocess.Popen[bytes]"

    @classmethod
    def start(
        cls,
        search: Search,
        experiment: str,
        trial: str,
        flags: Mapping[str, Any],
        *,
        slot: int = 0,
        reporters: Iterable[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> "LocalTraining":
        """Start the training of a trial with these flags, in the folder of its experiment.

        slot: which of the trainings at once it is, from 0: on a machine with several GPUs, each has one of its own.
        reporters: those that report the run beside those of the search. environment: what it finds beside ours.
        """
        folder = search.folder(experiment)
        folder.mkdir(parents=True, exist_ok=True)
        run_dir = folder / f"{search.name}-{trial}"
        words = _words(search, run_dir, flags, reporters)
        with run_dir.with_name(f"{run_dir.name}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  words of a list, no shell
                [sys.executable, "-m", "maskkit", "train", *words],
                env={**os.environ, **_gpu(search, slot), **(environment or {}), END_WITH_STARTER: "1"},
                stdin=subprocess.PIPE,  # which closes when this process ends
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the search, which ends them in order
            )
        return cls(run_dir, process)

    @property
    def code(self) -> int | None:
        """Its exit code, 0 where all went well, and None while it runs."""
        code = self.process.poll()
        if code is not None and self.process.stdin is not None:
            self.process.stdin.close()
        return code

    @property
    def was_interrupted(self) -> bool:
        """Whether somebody else ended it, by a signal, so that it may well go on."""
        return self.code is not None and (self.code < 0 or self.code in _INTERRUPTED)

    def scores(self) -> tuple[float, ...]:
        """Return validation macro F1 of each epoch so far."""
        with suppress(OSError), (self.run_dir / "metrics.csv").open(encoding="utf-8", newline="") as file:
            return tuple(float(row["valid_f1_macro"]) for row in csv.DictReader(file) if row["valid_f1_macro"])
        return ()

    def error(self) -> str:
        """Return what it printed as its error, or the last that it printed, or how it ended where it said nothing."""
        printed = self.run_dir.with_name(f"{self.run_dir.name}.log").read_text(encoding="utf-8", errors="replace")
        if self.code is not None and self.code < 0:
            return f"it was ended by {signal.Signals(-self.code).name}"
        return error_in(printed) or f"it ended with exit code {self.code}"

    @staticmethod
    def end(trainings: Iterable["LocalTraining"]) -> None:
        """End trainings together, as by Ctrl-C, and after some seconds for good; their runs can go on."""
        trainings = list(trainings)
        for training in trainings:
            training.process.terminate()
        for training in trainings:
            with suppress(subprocess.TimeoutExpired):
                training.process.wait(_PATIENCE)
            with suppress(ProcessLookupError):
                os.killpg(training.process.pid, signal.SIGKILL)  # with what it started itself
            training.process.communicate()  # which closes its input too


def _words(search: Search, run_dir: Path, flags: Mapping[str, Any], reporters: Iterable[str]) -> list[str]:
    if (run_dir / "config.json").exists():
        return [f"--resume={run_dir}"]
    every = tuple(dict.fromkeys((*search.config.reporters, "csv", *reporters)))
    return search.words_of(flags, model_dir=run_dir.parent, name=run_dir.name, reporters=every)


def _gpu(search: Search, slot: int) -> dict[str, str]:
    name = "CUDA_VISIBLE_DEVICES"
    if search.device not in {"auto", "cuda"} or name in os.environ or (gpus := num_gpus()) < 2:
        return {}
    return {name: str(slot % gpus)}
