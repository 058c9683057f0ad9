"""One short function a command; what is heavy is imported inside."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import maskkit
from maskkit.config import (
    CacheConfig,
    CheckConfig,
    CheckPluginConfig,
    EvaluateConfig,
    FindLrConfig,
    ListPluginsConfig,
    NewPluginConfig,
    PredictConfig,
    RunFlags,
    TrainConfig,
    TuneConfig,
    VersionConfig,
    VoteConfig,
)
from maskkit.errors import UnknownNameError, UsageError
from maskkit.flags import flags_of
from maskkit.processes import place_in
from maskkit.tuning.nni.trial import as_trial, in_trial
from maskkit.tuning.trainings import end_with_starter

if TYPE_CHECKING:
    from maskkit.cli.command import Command
    from maskkit.plugin.registry import Registry

__all__ = [
    "cache",
    "check_plugin",
    "evaluate",
    "find_lr",
    "guest",
    "installed",
    "list_plugins",
    "new_plugin",
    "predict",
    "show_help",
    "show_overview",
    "train",
    "tune",
    "version",
    "vote",
]

_ENGINES = {"optuna": "maskkit-optuna"}
"""The packages of engines of searches that are not in the box."""


def train(config: TrainConfig, sources: Mapping[str, str]) -> int:
    """Train, then predict the eval images from the best checkpoint."""
    end_with_starter()
    registry = installed()
    _check_names(config, registry)
    if in_trial() and config.resume is None:
        _check_one_result(config)
        config, sources = as_trial(config, sources)
    _prepare_process()
    from maskkit.engine.folded import train as run_training

    run_training(config, sources, registry, place=place_in())
    return 0


def tune(config: TuneConfig, sources: Mapping[str, str]) -> int:
    """Search for the best flags of a training."""
    registry = installed()
    try:
        _check_names(config, registry)
    except UnknownNameError as error:
        if (package := _ENGINES.get(config.engine)) and config.engine not in registry.names("tuner"):
            error.hint = f"Type: pip install {package}\n{error.hint}"
        raise
    _check_one_result(config)
    from maskkit.cli.tuning import tune_and_print

    return tune_and_print(config, sources, registry)


def find_lr(config: FindLrConfig, sources: Mapping[str, str]) -> int:
    """Try learning rates on the training that the flags describe."""
    registry = installed()
    _check_names(config, registry)
    _prepare_process()
    from maskkit.cli.lr_search import search_and_print

    search_and_print(config, sources, registry)
    return 0


def predict(config: PredictConfig, _: Mapping[str, str]) -> int:
    """Write the hard and the soft predictions of a folder of images."""
    _prepare_process()
    from maskkit.engine.prediction import predict as run_prediction

    run_prediction(config, installed(), place=place_in())
    return 0


def evaluate(config: EvaluateConfig, _: Mapping[str, str]) -> int:
    """Print the scores of a file of predictions."""
    from maskkit.cli.scores import print_evaluation

    print_evaluation(config)
    return 0


def vote(config: VoteConfig, _: Mapping[str, str]) -> int:
    """Vote over files of predictions and print how far they agree."""
    from maskkit.arithmetic.allocator import keep_memory
    from maskkit.cli.voting import run_vote

    keep_memory()
    run_vote(config, installed())
    return 0


def list_plugins(config: ListPluginsConfig, _: Mapping[str, str]) -> int:
    """Print what is installed, for people or for programs."""
    from maskkit.cli.listing import is_unwell, print_in_full, print_json, print_table
    from maskkit.plugin.registry import plugins_named

    plugins = installed().plugins
    if config.plugin is not None:
        plugins = plugins_named(config.plugin, plugins)
    show = print_json if config.format == "json" else print_in_full if config.plugin else print_table
    show(plugins, config.kind)
    return 1 if config.strict and any(is_unwell(plugin) for plugin in plugins) else 0


def new_plugin(config: NewPluginConfig, _: Mapping[str, str]) -> int:
    """Write a new package, and print what it holds and what to type next."""
    from maskkit.plugin.new_package import check_names_are_free, render_package, write_package

    package = render_package(config.name, config.kind)
    check_names_are_free(package.values, installed())
    folder = config.out or Path(config.name)
    write_package(package.files, folder)
    print(f"wrote {config.name}: {package.values['a_kind']} named {package.values['component']}")
    print(*(f"  {folder / path}" for path in package.files), sep="\n")
    print("next:", *(f"  {line}" for line in package.next_steps(folder)), sep="\n")
    return 0


def check_plugin(config: CheckPluginConfig, _: Mapping[str, str]) -> int:
    """Run every check of a plugin and print what came of it."""
    _prepare_process()
    from maskkit.cli.checking import check_and_print

    return check_and_print(config)


def check(config: CheckConfig, _: Mapping[str, str]) -> int:
    """Print what is wrong in a folder of photos."""
    from maskkit.cli.doctor import check_and_print

    return check_and_print(config)


def cache(config: CacheConfig, _: Mapping[str, str]) -> int:
    """Print the files of prepared images, or remove them."""
    from maskkit.cli.caching import clear_and_print, print_cache

    (clear_and_print if config.clear else print_cache)()
    return 0


def version(_: VersionConfig, __: Mapping[str, str]) -> int:
    """Print versions, read from metadata so that torch stays where it is."""
    from importlib import metadata

    print(f"maskkit {maskkit.__version__}")
    print(f"python {platform.python_version()}")
    print(f"torch {metadata.version('torch')}")
    return 0


def show_overview(registry: "Registry") -> int:
    """Print the help of maskkit itself, with the commands that plugins add."""
    from maskkit.cli.catalogue import COMMANDS, RESERVED
    from maskkit.cli.help import overview

    own = {name: command.summary for name, command in COMMANDS.items()}
    guests = [name for name in registry.names("command") if name not in RESERVED]
    print(overview(own, {name: registry.find("command", name).component.summary for name in guests}))
    return 0


def guest(word: str, registry: "Registry") -> "Command":
    """Return the command of a plugin that was asked for by name.

    Raises:
        UnknownNameError: nobody offers it.
        PluginError: its function cannot be imported, or has not the form of a command.
    """
    from maskkit.cli.guests import guest_command

    return guest_command(registry.find("command", word), word)


def show_help(command: "Command", registry: "Registry") -> int:
    """Print the help of one command, with the names that are installed."""
    from maskkit.cli.help import command_help

    print(command_help(command, registry))
    return 0


def _check_names(config: RunFlags, registry: "Registry") -> None:
    """Refuse an unknown name at once, before the seconds that importing torch takes."""
    for flag in flags_of(type(config)).values():
        for name in flag.names_in(getattr(config, flag.name)):
            registry.find(flag.kind, name)


def _check_one_result(config: RunFlags) -> None:
    if config.folds is not None and config.fold is None:
        raise UsageError("a trial has one result, not one for each of --folds", hint="Say which, as --fold=0.")


def _prepare_process() -> None:
    """Let torch's idle threads soon sleep and its memory stay; before torch loads.

    Sleeping threads leave the cores to the processes that decode: threads that spin for as long as the libraries let
    them made training on two busy cores half as fast. GNU's library may spin for microseconds, which is worth a tenth
    on idle cores, since the next operation mostly comes sooner.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from maskkit.arithmetic.allocator import keep_memory

    keep_memory()


def installed() -> "Registry":
    """Return what is installed."""
    from maskkit.cli.catalogue import RESERVED
    from maskkit.plugin.registry import Registry

    return Registry.discovered(RESERVED)
