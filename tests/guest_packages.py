"""Packages of plugins as a stranger would write them, for the tests of the kit."""

from itertools import count
from pathlib import Path

__all__ = ["write_component", "write_package"]

_numbers = count()

PROJECT = """
[project]
name = "{distribution}"
version = "1.2.3"
description = "For tests."
dependencies = ["maskkit"]

[project.entry-points.maskkit]
{name} = "{module}"
"""

HOOK = """
from maskkit import Component, hookimpl


@hookimpl
def maskkit_{hook}():
    given = dict(name="broken", target="{module}.parts:broken", summary="For tests")
    return [Component(**(given | dict({record})))]
"""

IMPORTS = """
import random
from dataclasses import replace
from functools import partial
from typing import Annotated

import numpy as np

from maskkit import Reporter, Schedule, Trial
"""
HEAVY_IMPORTS = """
import pandas as pd
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau, StepLR

from maskkit import Augmentation, Samples
"""

HOOKS = {"loss": "losses", "mix": "mixes"}


def write_package(folder: Path, source: str, project: str = PROJECT, *, home: str = "") -> Path:
    """Write a package whose module holds `source`, called like no other, and return its folder.

    {name}, {distribution} and {module} in the texts stand for its names.
    """
    name = f"guest{next(_numbers)}"
    names = {"name": name, "distribution": f"maskkit-{name}", "module": f"maskkit_{name}"}
    place = folder / names["distribution"]
    package = place / home / names["module"]
    package.mkdir(parents=True)
    (place / "pyproject.toml").write_text(_filled(project, names), encoding="utf-8")
    (package / "__init__.py").write_text(_filled(source, names), encoding="utf-8")
    return place


def _filled(text: str, names: dict[str, str]) -> str:
    for key, value in names.items():
        text = text.replace(f"{{{key}}}", value)
    return text


def write_component(folder: Path, kind: str, code: str, record: str = "") -> Path:
    """Write a package that offers one component, `broken` of the given code, and return its folder."""
    hook = HOOKS.get(kind, f"{kind}s")
    place = write_package(folder, HOOK.replace("{hook}", hook).replace("{record}", record))
    (package,) = place.glob("maskkit_*")
    imports = IMPORTS if kind in {"reporter", "vote", "tuner", "command"} else IMPORTS + HEAVY_IMPORTS
    (package / "parts.py").write_text(f"{imports}\n\n{code}", encoding="utf-8")
    return place
