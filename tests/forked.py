"""Runs of maskkit and pytest forked from a server which has loaded torch: processes of their own, without the wait.

What a person types goes through the same `main` as in the installed command, with the same streams and exit code.
"""

import multiprocessing
import os
import signal
import site
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    [
        "maskkit.engine.training",
        "matplotlib.backends.backend_agg",
        "sklearn.model_selection",
        "torch._dynamo",  # every optimizer of torch loads it
        "torch.utils.tensorboard",
        "torchvision.transforms.v2",
    ]
)


@dataclass(frozen=True)
class Outcome:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class _Command:
    """What a child does: a program's words, where, with which environment and packages, and where it is to die."""

    words: list[str]
    place: Path
    environment: Mapping[str, str]
    python: Path | None
    fatal_write: float

    def run(self, streams: list[Path]) -> None:
        os.chdir(self.place)
        os.environ.clear()
        os.environ.update(self.environment)
        for handle, path in enumerate(streams, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), handle)
        _die_in_write(self.fatal_write)
        sys.path[:0] = filter(None, self.environment.get("PYTHONPATH", "").split(os.pathsep))
        if self.python is not None:
            sys.executable = str(self.python)
            site.addsitedir(str(next(self.python.parent.parent.glob("lib/python*/site-packages"))))
        program, *words = self.words
        if program == "pytest":
            raise SystemExit(pytest.main(words))
        from maskkit.cli.shell import main

        raise SystemExit(main(words))


def run_forked(
    place: Path,
    *words: str | Path,
    env: Mapping[str, str],
    seconds: float | None = None,
    fatal_write: float = 0,
    python: Path | None = None,
    program: str = "maskkit",
) -> Outcome:
    """Run maskkit, or pytest, in a folder to its end, or kill it by -9: after some seconds, or in a write to disk.

    `fatal_write` counts the files that are flushed to disk, each once itself and once with its folder, from 1.
    `python` is that of an environment whose packages are found too.
    """
    command = _Command([program, *map(str, words)], place, dict(env), python, fatal_write)
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("out", "err")]
        process = _server.Process(target=command.run, args=(streams,))
        process.start()
        process.join(seconds)
        process.kill()
        process.join()
        assert process.exitcode is not None
        out, err = (stream.read_text(encoding="utf-8") if stream.exists() else "" for stream in streams)
        return Outcome(process.exitcode, out, err)


def _die_in_write(fatal_write: float) -> None:
    num_writes = 0
    flush = os.fsync

    def flush_or_die(fd: Any) -> None:
        nonlocal num_writes
        num_writes += 1
        if num_writes == fatal_write:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(fd)

    os.fsync = flush_or_die
