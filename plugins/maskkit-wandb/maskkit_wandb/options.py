"""What a user can say of a run in W&B."""

from dataclasses import dataclass
from typing import Literal

from maskkit.errors import UsageError

__all__ = ["Mode", "Options"]

Mode = Literal["auto", "online", "offline", "disabled"]

_FORBIDDEN = '/\\#?%:"'  # in the name of a project
_LONGEST_NAME, _LONGEST_TAG = 128, 64


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of the reporter.

    Raises:
        UsageError: one is nothing that W&B takes.
    """

    project: str
    entity: str | None
    mode: Mode
    name: str | None
    group: str | None
    tags: tuple[str, ...]

    def __post_init__(self) -> None:
        _check("project", self.project, _LONGEST_NAME, _FORBIDDEN)
        _check("entity", self.entity, _LONGEST_NAME, _FORBIDDEN)
        _check("name", self.name, _LONGEST_NAME)
        _check("group", self.group, _LONGEST_NAME)
        for tag in self.tags:
            _check("tags", tag, _LONGEST_TAG)


def _check(option: str, value: str | None, longest: int, forbidden: str = "") -> None:
    if value is None or (value.strip() and len(value) <= longest and not set(value) & set(forbidden)):
        return
    without = f" without {' '.join(forbidden)}" if forbidden else ""
    raise UsageError(
        f"option {option} of reporter wandb takes 1 to {longest} characters{without}; received {value!r}",
        hint=f"""Type --reporters_args='{{"wandb": {{"{option}": "masks"}}}}', or leave it out.""",
    )
