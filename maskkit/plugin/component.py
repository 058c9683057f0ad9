"""The record by which a plugin announces one thing that it offers."""

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any

__all__ = ["Component", "load_target"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True)
class Component:
    """One thing that a plugin offers, by name; `target` is "module:factory", imported when it is first used.

    `has_weights`, `mean`, `std` and `size` (height, width) describe the pretraining of a model; `soft_targets` says
    that a loss takes float targets [B, C] as well as classes [B]; `from_answers` that a vote takes files of answers,
    as rows of one 1, beside files of probabilities.

    Raises:
        ValueError: the name, the target or the summary has not the stated form.
    """

    name: str
    target: str
    summary: str
    has_weights: bool = False
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    size: tuple[int, int] | None = None
    soft_targets: bool = False
    from_answers: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"component name {self.name!r}: letters, digits, '_', '-' and '.', a letter first")
        if not _TARGET.fullmatch(self.target):
            raise ValueError(
                f"component {self.name}: target {self.target!r} is not of the form 'package.module:factory'"
            )
        if not self.summary.strip() or "\n" in self.summary:
            raise ValueError(f"component {self.name}: the summary must be one line of text")


def load_target(target: str) -> Any:
    """Import and return what "module:attribute" names; whatever the import raises passes through."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
