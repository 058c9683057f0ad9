"""What a command of the command line is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Command"]


@dataclass(frozen=True)
class Command:
    """A word of the command line: the config that its flags fill, and the function that takes it."""

    name: str
    config: type
    run: Callable[[Any, Mapping[str, str]], int]
    examples: tuple[str, ...]
    takes_config_file: bool = False
    is_tuned: bool = False  # within a trial, the tuner's parameters are flags of it

    @property
    def summary(self) -> str:
        return (self.config.__doc__ or "").strip()
