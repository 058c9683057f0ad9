"""What a training finds in its environment: the database, the study and the trial that it belongs to."""

import os
from dataclasses import dataclass

__all__ = ["Link"]

_STORAGE, _STUDY, _TRIAL = "MASKKIT_OPTUNA_STORAGE", "MASKKIT_OPTUNA_STUDY", "MASKKIT_OPTUNA_TRIAL"


@dataclass(frozen=True)
class Link:
    """A trial of a study, by its key in the database."""

    storage: str
    study: str
    trial: int

    @classmethod
    def found(cls) -> "Link | None":
        """Return the link of this process, None when it is no trial."""
        if _TRIAL not in os.environ:
            return None
        return cls(os.environ[_STORAGE], os.environ[_STUDY], int(os.environ[_TRIAL]))

    @property
    def environment(self) -> dict[str, str]:
        return {_STORAGE: self.storage, _STUDY: self.study, _TRIAL: str(self.trial)}
