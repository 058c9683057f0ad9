"""The hooks, each of which returns records of what a plugin offers.

A plugin is a module named by an entry point in the group `maskkit`; it implements any of these with `@hookimpl`.
"""

from collections.abc import Iterable

import pluggy

from maskkit.plugin.component import Component

__all__ = ["ENTRY_POINT_GROUP", "KINDS", "hookimpl"]

ENTRY_POINT_GROUP = "maskkit"

hookspec = pluggy.HookspecMarker("maskkit")
hookimpl = pluggy.HookimplMarker("maskkit")


@hookspec
def maskkit_models() -> Iterable[Component]:
    """Offer networks; the contract is `maskkit.plugin.contracts.ModelFactory`."""
    return []


@hookspec
def maskkit_losses() -> Iterable[Component]:
    """Offer losses; the contract is `maskkit.plugin.contracts.LossFactory`."""
    return []


@hookspec
def maskkit_augmentations() -> Iterable[Component]:
    """Offer preprocessing and augmentation; the contract is `maskkit.plugin.contracts.AugmentationFactory`."""
    return []


@hookspec
def maskkit_mixes() -> Iterable[Component]:
    """Offer ways of mixing the images of a batch; the contract is `maskkit.plugin.contracts.MixFactory`."""
    return []


@hookspec
def maskkit_datasets() -> Iterable[Component]:
    """Offer readers of tables of images; the contract is `maskkit.plugin.contracts.DatasetFactory`."""
    return []


@hookspec
def maskkit_optimizers() -> Iterable[Component]:
    """Offer optimizers; the contract is `maskkit.plugin.contracts.OptimizerFactory`."""
    return []


@hookspec
def maskkit_schedulers() -> Iterable[Component]:
    """Offer schedules of the learning rate; the contract is `maskkit.plugin.contracts.SchedulerFactory`."""
    return []


@hookspec
def maskkit_reporters() -> Iterable[Component]:
    """Offer reporters of a run's events; the contract is `maskkit.plugin.contracts.ReporterFactory`."""
    return []


@hookspec
def maskkit_votes() -> Iterable[Component]:
    """Offer rules of voting; the contract is `maskkit.plugin.contracts.VoteFactory`."""
    return []


@hookspec
def maskkit_commands() -> Iterable[Component]:
    """Offer commands; the contract is `maskkit.plugin.contracts.CommandFunction`."""
    return []


KINDS = {
    "model": maskkit_models,
    "loss": maskkit_losses,
    "augmentation": maskkit_augmentations,
    "mix": maskkit_mixes,
    "dataset": maskkit_datasets,
    "optimizer": maskkit_optimizers,
    "scheduler": maskkit_schedulers,
    "reporter": maskkit_reporters,
    "vote": maskkit_votes,
    "command": maskkit_commands,
}
"""The kinds of component, each with the hook that offers it."""
