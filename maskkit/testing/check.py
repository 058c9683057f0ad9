"""What a check is, and how it fails."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Check", "CheckError", "expect"]


class CheckError(AssertionError):
    """A check found a fault: one sentence of what was expected, what was received and what to do."""


@dataclass(frozen=True)
class Check:
    """One thing that is true of every good plugin; calling it finds out whether it is true of this one.

    subject: what is checked, "package" or a component such as "loss poly1"; name: what is true of it when it is well.

    Raises, when called:
        CheckError: it is not true.
        unittest.SkipTest: it cannot be found out here; the reason is said.
        Exception: whatever the plugin itself raises where it must not.
    """

    subject: str
    name: str
    run: Callable[[], None] = field(repr=False)

    def __call__(self) -> None:
        __tracebackhide__ = True
        with warnings.catch_warnings():
            # What a component warns of here, such as a batch of one image, is the kit's doing.
            warnings.simplefilter("ignore")
            self.run()

    def __str__(self) -> str:
        return f"{self.subject}: {self.name}"


def expect(condition: object, sentence: str) -> None:
    """Raise CheckError with the sentence unless the condition holds."""
    __tracebackhide__ = True
    if not condition:
        raise CheckError(sentence)
