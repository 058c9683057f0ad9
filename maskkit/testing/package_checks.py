"""What is true of every plugin as a package: it is found, says what it needs, and costs nothing until it is used."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import Distribution
from pathlib import Path
from unittest import SkipTest

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

import maskkit
from maskkit.plugin.discovery import State
from maskkit.testing.check import CheckError, expect
from maskkit.testing.packages import Guest

__all__ = ["CHECKS"]

_HEAVY = (
    "PIL", "albumentations", "cv2", "efficientnet_pytorch", "jax", "jinja2", "keras", "kornia", "lightning",
    "matplotlib", "mlflow", "numpy", "onnx", "onnxruntime", "optuna", "pandas", "plotly", "rich",
    "safetensors", "scipy", "seaborn", "skimage", "sklearn", "sqlalchemy", "tensorboard", "tensorflow",
    "timm", "torch", "torchmetrics", "torchvision", "transformers", "wandb",
)  # fmt: skip
_ADVICE = "import it in the module of the component that needs it, or within a function"

# Only what the plugin itself brings in counts: environments may load modules when Python starts.
_PROBE = """
import json, sys
from importlib import import_module
word, path, heavy = json.loads(sys.argv[1])
sys.path[:] = path
import maskkit.plugin.hookspecs
before = set(sys.modules)
module, _, attributes = word.partition(":")
plugin = import_module(module)
for attribute in filter(None, attributes.split(".")):
    plugin = getattr(plugin, attribute)
for name in dir(plugin):
    if name.startswith("maskkit_") and hasattr(getattr(plugin, name), "maskkit_impl"):
        list(getattr(plugin, name)())
print(json.dumps(sorted((set(sys.modules) - before) & set(heavy))))
"""


def _is_found(guest: Guest) -> None:
    plugin = guest.plugin
    if plugin.state is State.OK:
        _expect_own_module(guest)
        _expect_same_installed(guest)
        return
    failure = CheckError(f"maskkit must find it OK, but it is {plugin.state}: {plugin.cause}")
    if plugin.traceback:
        failure.add_note(plugin.traceback.rstrip())
    raise failure


def _expect_own_module(guest: Guest) -> None:
    file = Path(guest.plugin.file).resolve()
    expect(
        guest.folder is None or file.is_relative_to(guest.folder),
        f"its module must stand in {guest.folder} or its src, but {guest.entry.module} comes from {file};"
        " put it there, or mend the entry point",
    )


def _expect_same_installed(guest: Guest) -> None:
    known = {entry.name: entry.value for entry in guest.installed}
    expect(
        not known or known.get(guest.entry.name) == guest.entry.value,
        f'pyproject.toml says {guest.entry.name} = "{guest.entry.value}", but pip installed it with {known}; run pip'
        " install again",
    )


def _has_summary(guest: Guest) -> None:
    summary = _distribution(guest).metadata["Summary"]
    expect(summary, 'the package must say what it is; add description = ".." below [project] in its pyproject.toml')


def _requires_maskkit(guest: Guest) -> None:
    distribution = _distribution(guest)
    if guest.plugin.is_builtin:
        raise SkipTest("it is maskkit itself")
    if "dependencies" in (distribution.metadata.get_all("Dynamic") or []):
        raise SkipTest("its dependencies are dynamic; install it and check it by name")
    wanted = [one for one in map(_requirement, distribution.requires or []) if _is_maskkit(one)]
    expect(wanted, f'the package must need maskkit; add "maskkit>={maskkit.__version__}" to its dependencies')
    for one in wanted:
        expect(
            one.specifier.contains(maskkit.__version__, prereleases=True),
            f"its requirement {one} must take this maskkit, {maskkit.__version__}; widen it in its dependencies",
        )


def _requirement(text: str) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        first = str(error).splitlines()[0]
        raise CheckError(f"its requirement {text!r} must be one that pip understands: {first}") from error


def _is_maskkit(one: Requirement) -> bool:
    """Whether a requirement is one on maskkit that holds here, without any extra."""
    return canonicalize_name(one.name) == "maskkit" and (one.marker is None or one.marker.evaluate({"extra": ""}))


def _marks_its_hooks(guest: Guest) -> None:
    _require_found(guest)
    plugin = guest.entry.load()
    hooks = {name: getattr(plugin, name) for name in dir(plugin) if name.startswith("maskkit_")}
    unmarked = [name for name, hook in hooks.items() if callable(hook) and not hasattr(hook, "maskkit_impl")]
    expect(
        not unmarked,
        f"every function maskkit_* must be a hook, but {', '.join(unmarked)} is not marked; write @hookimpl above it,"
        " or give it another name",
    )


def _imports_nothing_heavy(guest: Guest) -> None:
    _require_found(guest)
    question = json.dumps([guest.entry.value.partition("[")[0].strip(), sys.path, _HEAVY])
    done = subprocess.run(  # noqa: S603  the plugin is imported in a process of its own, as maskkit would
        [sys.executable, "-c", _PROBE, question], capture_output=True, text=True, check=False, timeout=300
    )
    last = (done.stderr.splitlines() or ["it ended"])[-1]
    expect(done.returncode == 0, f"importing it in a process of its own must work, but: {last}")
    loaded = json.loads(done.stdout.splitlines()[-1])
    expect(
        not loaded,
        f"importing it and asking what it offers must load nothing heavy, but loads {', '.join(loaded)}; {_ADVICE}",
    )


def _require_found(guest: Guest) -> None:
    if guest.plugin.state is State.BROKEN:
        raise SkipTest("it is broken")


def _distribution(guest: Guest) -> Distribution:
    if guest.entry.dist is None:
        raise SkipTest("it belongs to no distribution")
    return guest.entry.dist


CHECKS: dict[str, Callable[[Guest], None]] = {
    "maskkit finds it": _is_found,
    "it has a summary": _has_summary,
    "its requirements take this maskkit": _requires_maskkit,
    "its hooks are marked": _marks_its_hooks,
    "it imports nothing heavy": _imports_nothing_heavy,
}
