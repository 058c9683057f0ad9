"""Runs of maskkit that are forked from a server which has loaded torch: each is a process of its own, without the wait.

What a person types goes through the same `main` as in the installed command, with the same streams and exit code.
"""

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conftest import Outcome

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    [
        "maskkit.engine.training",
        "matplotlib.backends.backend_agg",
        "sklearn.model_selection",
        "torch._dynamo",  # every optimizer of torch loads it
        "torch.utils.tensorboard",
    ]
)


def run_forked(
    place: Path,
    *words: str | Path,
    env: Mapping[str, str],
    seconds: float | None = None,
    fatal_write: float = 0,
) -> Outcome:
    """Run a command line in a folder to its end, or kill it by -9: after some seconds, or in a write to disk.

    `fatal_write` counts the files that are flushed to disk, each once itself and once with its folder, from 1.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("out", "err")]
        process = _server.Process(target=_run, args=(place, [*map(str, words)], dict(env), streams, fatal_write))
        process.start()
        process.join(seconds)
        process.kill()
        process.join()
        assert process.exitcode is not None
        out, err = (stream.read_text(encoding="utf-8") if stream.exists() else "" for stream in streams)
        return Outcome(process.exitcode, out, err)


def _run(place: Path, words: list[str], env: dict[str, str], streams: list[Path], fatal_write: float) -> None:
    os.chdir(place)
    os.environ.clear()
    os.environ.update(env)
    for handle, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), handle)
    _die_in_write(fatal_write)
    from maskkit.cli.shell import main

    raise SystemExit(main(words))


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
