"""Nested state as safetensors and JSON can hold it: tensors by name, and everything around them as plain text.

A state_dict mixes tensors with whole numbers as keys, tuples and Counters, which JSON would turn into something else.
So every container but a list is spelled out as an object with one key, its kind.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from maskkit.errors import CheckpointError

__all__ = ["pack", "unpack"]


def pack(state: Any, name: str) -> tuple[Any, dict[str, Tensor]]:
    """Return the structure of a nested state as JSON can hold it, and its tensors by names that begin with `name`.

    Raises:
        CheckpointError: it holds something that is neither a tensor nor plain.
    """
    tensors: dict[str, Tensor] = {}
    return _packed(state, name, tensors), tensors


def _packed(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        while name in tensors:  # the keys 1 and "1" read alike, as do "a.b" and a "b" within an "a"
            name += "_"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        kind = "counter" if isinstance(value, Counter) else "dict"
        return {kind: [[_plain(key, name), _packed(item, f"{name}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_packed(item, f"{name}.{number}", tensors) for number, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    return _plain(value, name)


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CheckpointError(
        f"a checkpoint cannot hold {name}, which is {value!r}",
        hint="The state of a model, loss, optimizer or scheduler may hold tensors, numbers and texts.",
    )


def unpack(structure: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the state that `pack` took apart.

    Raises:
        KeyError: a tensor is missing.
        ValueError: it is no such structure.
    """
    if isinstance(structure, list):
        return [unpack(item, tensors) for item in structure]
    if not isinstance(structure, dict):
        return structure
    ((kind, content),) = structure.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(unpack(content, tensors))
    if kind == "counter":
        return Counter(dict(_pairs(content, tensors)))
    if kind == "dict":
        return dict(_pairs(content, tensors))
    raise ValueError(f"a checkpoint holds nothing of the kind {kind!r}")


def _pairs(content: Any, tensors: Mapping[str, Tensor]) -> Iterator[tuple[Any, Any]]:
    for key, item in content:
        yield key, unpack(item, tensors)
