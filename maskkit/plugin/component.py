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
    as rows of one 1, beside files of probabilities; `rowwise` that it scores each image by its own rows alone, so that
    it may be given some images at a time, and files that memory cannot hold; `algorithms` are the names that --tuner
    takes of a tuner, the first where none is given.

    Raises:
        ValueError: a field has not the stated form.
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
    rowwise: bool = False
    algorithms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"component name {self.name!r}: letters, digits, '_', '-' and '.', a letter first")
        if not _TARGET.fullmatch(self.target):
            raise ValueError(
                f"component {self.name}: target {self.target!r} is not of the form 'package.module:factory'"
            )
        if not self.summary.strip() or "\n" in self.summary:
            raise ValueError(f"component {self.name}: the summary must be one line of text")
        for field, value, least in (("mean", self.mean, 0.0), ("std", self.std, 1e-6)):
            if value is not None and not _are_colours(value, least):
                raise ValueError(
                    f"component {self.name}: {field} must be three numbers from {least:g} to 1, of red, green and blue;"
                    f" received {value!r}"
                )
        if not isinstance(self.algorithms, tuple | list) or not all(map(_is_word, self.algorithms)):
            raise ValueError(
                f'component {self.name}: algorithms must be names, as ("TPE", "Random"); received {self.algorithms!r}'
            )
        if self.size is not None and not _is_size(self.size):
            raise ValueError(f"component {self.name}: size must be (height, width); received {self.size!r}")


def _are_colours(value: object, least: float) -> bool:
    is_triple = isinstance(value, tuple | list) and len(value) == 3
    return is_triple and all(isinstance(one, int | float) and least <= one <= 1 for one in value)  # type: ignore[attr-defined]


def _is_size(value: object) -> bool:
    is_pair = isinstance(value, tuple | list) and len(value) == 2
    return is_pair and all(isinstance(one, int) and one > 0 for one in value)  # type: ignore[attr-defined]


def _is_word(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def load_target(target: str) -> Any:
    """Import and return what "module:attribute" names; whatever the import raises passes through."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
