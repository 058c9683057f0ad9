"""Why a plugin failed, in a line: what broke, and whether a slip or another maskkit than it wants lies behind it."""

import inspect
import re
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires

import pluggy

import maskkit
from maskkit.errors import nearest
from maskkit.plugin.hookspecs import KINDS

__all__ = ["cause_of"]

_HOOK = re.compile(r"unknown hook '(?:maskkit_)?(\w+)'")
_IMPORT = re.compile(r"cannot import name '(?P<name>\w+)' from '(?P<module>maskkit(\.[\w.]+)?)'")
_ATTRIBUTE = re.compile(r"module '(?P<module>maskkit(\.[\w.]+)?)' has no attribute '(?P<name>\w+)'")
_FIELD = re.compile(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'")
_OWN = re.compile(r"maskkit(?![\w.-])", re.IGNORECASE)
_PLACE = re.compile(r" in plugin <module .*>$")  # which is told beside the cause
_OTHER = re.compile(r"No module named 'maskkit\.|.* can not be found in the hookspec")


def cause_of(error: BaseException, distribution: str) -> str:
    """Return the kind of error, its first line, and what may lie behind it; `distribution` is that of the plugin."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # pluggy says only in its last line what is wrong.
    text = " ".join(lines if isinstance(error, pluggy.PluginValidationError) else lines[:1])
    text = _PLACE.sub("", text)
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if unmet := _unmet_requirement(distribution):
        return f"{told}; it needs {unmet}, and this is {maskkit.__version__}"
    return told + _advice(text)


def _unmet_requirement(distribution: str) -> str:
    """Return what a distribution requires of maskkit when this version is another, as "maskkit>=9", else ""."""
    try:
        lines = [line for line in requires(distribution) or () if _OWN.match(line)]
    except (PackageNotFoundError, ValueError):
        return ""
    if not lines:
        return ""
    from packaging.requirements import InvalidRequirement, Requirement  # which takes 10 ms

    for line in lines:
        with suppress(InvalidRequirement):
            requirement = Requirement(line)
            is_due = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if is_due and not requirement.specifier.contains(maskkit.__version__, prereleases=True):
                return f"maskkit{requirement.specifier}"
    return ""


def _advice(text: str) -> str:
    """Return what to think of an error that tells of a name which maskkit does not know, "" for any other."""
    if hook := _HOOK.match(text):
        # Without what all of them begin with, which would make any two look alike.
        near = nearest(hook[1], (known.__name__.removeprefix("maskkit_") for known in KINDS.values()))
        near = f"maskkit_{near}" if near else ""
    elif missed := _IMPORT.match(text) or _ATTRIBUTE.match(text):
        near = nearest(missed["name"], dir(sys.modules.get(missed["module"])))
    elif (field := _FIELD.match(text)) and (callee := vars(maskkit).get(field[1])):
        near = nearest(field[2], inspect.signature(callee).parameters)
    elif _OTHER.match(text):
        near = ""
    else:
        return ""
    if near:
        return f"; did you mean {near}?"
    return f"; this is maskkit {maskkit.__version__}, is the plugin made for a newer one?"
