"""A crowd of guests: packages as strangers write them, some well, some broken, each in its own way."""

from pathlib import Path

from maskkit.cli.reference import example
from maskkit.plugin.hookspecs import KINDS

HOOK = """
from maskkit import Component, hookimpl

@hookimpl
def maskkit_losses():
    {body}
"""
OFFER = "Component(name={name!r}, target='{module}.losses:Loss', summary='A loss')"
LOSSES = """
from torch.nn import CrossEntropyLoss

class Loss(CrossEntropyLoss):
    def __init__(self, *, num_classes, class_counts, scale=1.0):
        super().__init__()
        self.scale = scale

    def forward(self, logits, targets):
        return self.scale * super().forward(logits, targets)
"""

VOTES = """
from maskkit import Component, hookimpl

@hookimpl
def maskkit_votes():
    yield Component(name={name!r}, target={target!r}, summary='A vote')

def fail():
    raise ZeroDivisionError('nothing to divide')
"""
RULE = """
def rule(*, sharpness: float = 1.0):
    return lambda probabilities, weights: probabilities.mean(axis=0) ** sharpness
"""
TWIN = VOTES.format(name="twin", target="maskkit.builtin.votes:soft")


def offering(module: str, name: str) -> str:
    return HOOK.format(body=f"return [{OFFER.format(name=name, module=module)}]")


# By distribution: the name of its plugin, and the source of its module.
WELL = {f"guest-{kind}": (f"my-{kind}", example(kind).replace("my_plugin", f"guest_{kind}")) for kind in KINDS}
SOURCES = WELL | {
    "guest-healthy": ("healthy", offering("guest_healthy", "healthy_loss")),
    "guest-unimportable": ("unimportable", "import maskkit_is_absent"),
    "guest-exiting": ("exiting", "import sys\nsys.exit(3)"),
    "guest-misspelled": ("misspelled", offering("guest_misspelled", "x").replace("maskkit_losses", "maskkit_lossess")),
    "guest-mismatched": ("mismatched", offering("guest_mismatched", "x").replace("_losses()", "_losses(registry)")),
    "guest-raising": ("raising", HOOK.format(body="raise RuntimeError('no licence\\nsecond line')")),
    "guest-wrong": ("wrong", HOOK.format(body="return ['focal']")),
    "guest-bare": ("bare", HOOK.format(body=f"return {OFFER.format(name='x', module='guest_bare')}")),
    "guest-twice": ("twice", HOOK.format(body=f"return [{OFFER.format(name='x', module='guest_twice')}] * 2")),
    "guest-unmarked": ("unmarked", offering("guest_unmarked", "x").replace("@hookimpl\n", "")),
    "guest-empty": ("empty", "from maskkit import hookimpl"),
    "guest-chatty": ("chatty", "print('Welcome!')\n" + offering("guest_chatty", "chatty_loss")),
    "guest-failing": ("failing", VOTES.format(name="lost", target="guest_failing:fail")),
    "guest-focal": ("refocus", offering("guest_focal", "focal")),
    "guest-soft": ("resoft", VOTES.format(name="soft", target="guest_soft:rule") + RULE),
    "guest-left": ("left", TWIN),
    "guest-right": ("right", TWIN),
    "guest-namesake": ("healthy", offering("guest_namesake", "healthy_loss")),
}
CAUSES = {
    "guest-unimportable": "ModuleNotFoundError: No module named 'maskkit_is_absent'",
    "guest-exiting": "SystemExit: 3",
    "guest-misspelled": "PluginValidationError: unknown hook 'maskkit_lossess'",
    "guest-mismatched": "Argument(s) {'registry'} are declared in the hookimpl but can not be found in the hookspec",
    "guest-raising": "RuntimeError: no licence",
    "guest-wrong": "TypeError: maskkit_losses must return Components, but gave 'focal'",
    "guest-bare": "TypeError: maskkit_losses must return an iterable of Components, but gave Component(name='x'",
    "guest-twice": "ValueError: maskkit_losses offers x twice",
}


def make_package(folder: Path, distribution: str, plugin: str, source: str) -> Path:
    """Write a package as a stranger would, with one entry point, and return its folder."""
    module = distribution.replace("-", "_")
    home = folder / distribution
    (home / module).mkdir(parents=True)
    (home / module / "__init__.py").write_text(source, encoding="utf-8")
    (home / module / "losses.py").write_text(LOSSES, encoding="utf-8")
    # What is written for people is part of the metadata that each start reads.
    (home / "README.md").write_text("What this plugin does, and how to use it.\n" * 100, encoding="utf-8")
    (home / "pyproject.toml").write_text(
        f"""
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "1.2.3"
readme = "README.md"
dependencies = ["maskkit>=0.1"]

[project.entry-points.maskkit]
{plugin} = "{module}"
""",
        encoding="utf-8",
    )
    return home
