"""A mode in which torch calls other functions in place of some of its own, whichever network asks for them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode

__all__ = ["Replacing"]


class Replacing(TorchFunctionMode):
    """While it is entered, each function of `replacements` is called in place of the one of torch that it stands by."""

    def __init__(self, replacements: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
        super().__init__()
        self._replacements = replacements

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return self._replacements.get(func, func)(*args, **(kwargs or {}))
