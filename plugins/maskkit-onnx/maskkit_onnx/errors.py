"""The error of an export."""

from maskkit.errors import MaskkitError

__all__ = ["ExportError"]


class ExportError(MaskkitError):
    """The network cannot be exported, or the exported one gives other probabilities; nothing was written."""
