"""The training of a trial, whoever chose it: its flags, and where its run lies."""

import os
import signal
from collections.abc import Mapping
from threading import Thread

__all__ = ["END_WITH_STARTER", "as_flags", "end_with_starter", "error_in"]

END_WITH_STARTER = "MASKKIT_END_WITH_STARTER"
"""In the environment of a training whose input closes when the process that started it has ended."""


def as_flags(parameters: Mapping[str, object]) -> dict[str, object]:
    """Return parameters in the form of NNI by flag: a nested choice is a component with its options."""
    flags: dict[str, object] = {}
    for parameter, value in parameters.items():
        name = parameter.replace("-", "_")
        if isinstance(value, Mapping) and "_name" in value:
            flags[name] = value["_name"]
            flags[f"{name}_args"] = {option: given for option, given in value.items() if option != "_name"}
        else:
            flags[name] = value
    return flags


def error_in(printed: str) -> str:
    """Return what a training printed as its error, or the last that it printed."""
    lines = printed.strip().splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    return " ".join(line.strip() for line in lines[errors[-1] :][:3]) if errors else "".join(lines[-1:])


def end_with_starter() -> None:
    """End this process, as by SIGTERM, once the one that started it for a search is gone; elsewhere do nothing."""
    if os.environ.pop(END_WITH_STARTER, "") != "1":
        return

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=wait, daemon=True).start()
