"""maskkit: train, predict and vote on the 18-class mask task; everything is a plugin.

The names here are what a plugin author imports. Each is loaded when it is first asked for, so `import maskkit` costs
nothing and the names that need torch bring it in only then.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskkit.data.augmentation import Augmentation, Draws, per_sample
    from maskkit.data.images import find_images, open_image
    from maskkit.data.profiles import (
        MASK_OF_SHOT,
        OLDEST,
        PROFILE_FORM,
        Profile,
        conflicts,
        find_profiles,
        profiles_within,
        shot_of,
    )
    from maskkit.data.samples import Samples
    from maskkit.engine.trained import TrainedRun, load_run
    from maskkit.engine.weights import fetch_weights
    from maskkit.files import replacing, user_cache
    from maskkit.plugin.component import Component
    from maskkit.plugin.contracts import Experiment, Schedule, Tuner
    from maskkit.plugin.hookspecs import hookimpl
    from maskkit.reporting.events import EpochEnd, EpochStart, Mistake, RunEnd, RunStart, StepEnd
    from maskkit.reporting.figures import confusion_figure, mistakes_figure
    from maskkit.reporting.reporter import Reporter, StopRun
    from maskkit.tuning.local import LocalTraining
    from maskkit.tuning.local_experiment import LocalExperiment
    from maskkit.tuning.search import Search
    from maskkit.tuning.trainings import as_flags
    from maskkit.tuning.trials import Trial

__version__ = "0.1.0"

_HOMES = {
    "Augmentation": "maskkit.data.augmentation",
    "Component": "maskkit.plugin.component",
    "Draws": "maskkit.data.augmentation",
    "EpochEnd": "maskkit.reporting.events",
    "EpochStart": "maskkit.reporting.events",
    "Experiment": "maskkit.plugin.contracts",
    "LocalExperiment": "maskkit.tuning.local_experiment",
    "LocalTraining": "maskkit.tuning.local",
    "MASK_OF_SHOT": "maskkit.data.profiles",
    "Mistake": "maskkit.reporting.events",
    "OLDEST": "maskkit.data.profiles",
    "PROFILE_FORM": "maskkit.data.profiles",
    "Profile": "maskkit.data.profiles",
    "Reporter": "maskkit.reporting.reporter",
    "RunEnd": "maskkit.reporting.events",
    "RunStart": "maskkit.reporting.events",
    "Samples": "maskkit.data.samples",
    "Schedule": "maskkit.plugin.contracts",
    "Search": "maskkit.tuning.search",
    "StepEnd": "maskkit.reporting.events",
    "StopRun": "maskkit.reporting.reporter",
    "TrainedRun": "maskkit.engine.trained",
    "Trial": "maskkit.tuning.trials",
    "Tuner": "maskkit.plugin.contracts",
    "as_flags": "maskkit.tuning.trainings",
    "conflicts": "maskkit.data.profiles",
    "confusion_figure": "maskkit.reporting.figures",
    "fetch_weights": "maskkit.engine.weights",
    "find_images": "maskkit.data.images",
    "find_profiles": "maskkit.data.profiles",
    "hookimpl": "maskkit.plugin.hookspecs",
    "load_run": "maskkit.engine.trained",
    "mistakes_figure": "maskkit.reporting.figures",
    "open_image": "maskkit.data.images",
    "per_sample": "maskkit.data.augmentation",
    "profiles_within": "maskkit.data.profiles",
    "replacing": "maskkit.files",
    "shot_of": "maskkit.data.profiles",
    "user_cache": "maskkit.files",
}

__all__ = [
    "MASK_OF_SHOT",
    "OLDEST",
    "PROFILE_FORM",
    "Augmentation",
    "Component",
    "Draws",
    "EpochEnd",
    "EpochStart",
    "Experiment",
    "LocalExperiment",
    "LocalTraining",
    "Mistake",
    "Profile",
    "Reporter",
    "RunEnd",
    "RunStart",
    "Samples",
    "Schedule",
    "Search",
    "StepEnd",
    "StopRun",
    "TrainedRun",
    "Trial",
    "Tuner",
    "__version__",
    "as_flags",
    "conflicts",
    "confusion_figure",
    "fetch_weights",
    "find_images",
    "find_profiles",
    "hookimpl",
    "load_run",
    "mistakes_figure",
    "open_image",
    "per_sample",
    "profiles_within",
    "replacing",
    "shot_of",
    "user_cache",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'maskkit' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
