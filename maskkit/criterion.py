"""The words of `--criterion`: one loss, or a sum of several with their weights."""

import math
import re
from dataclasses import dataclass

from maskkit.errors import UsageError

__all__ = ["Term", "terms_of"]

_TERM = re.compile(r"(?:([^*\s]+)\s*\*\s*)?([^*\s]+)")
_NUMBER = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)


@dataclass(frozen=True)
class Term:
    """One loss of a sum, by its name, and its weight."""

    weight: float
    name: str

    def __str__(self) -> str:
        return self.name if self.weight == 1 else f"{self.weight}*{self.name}"


def terms_of(criterion: str) -> list[Term]:
    """Return the terms of a sum such as "cross_entropy", "cross_entropy+f1" or "0.3*cross_entropy+0.7*f1".

    Raises:
        UsageError: it has not this form, or names a loss twice.
    """
    terms = [_term(part.strip(), criterion) for part in criterion.split("+")]
    names = [term.name for term in terms]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--criterion={criterion} names {twice[0]} twice", hint="Add up its weights.")
    return terms


def _term(text: str, criterion: str) -> Term:
    found = _TERM.fullmatch(text)
    if found is None:
        raise _malformed(criterion, f"{text!r} is no loss" if text else "a loss is missing beside a +")
    weight, name = found.groups()
    if weight is None:
        return Term(1.0, name)
    if not _NUMBER.fullmatch(weight) or not 0 < float(weight) < math.inf:
        raise _malformed(criterion, f"{weight!r} is no weight above 0")
    return Term(float(weight), name)


def _malformed(criterion: str, what: str) -> UsageError:
    hint = "Type the name of a loss, or a sum as --criterion=0.3*cross_entropy+0.7*f1."
    return UsageError(f"--criterion={criterion}: {what}", hint=hint)
