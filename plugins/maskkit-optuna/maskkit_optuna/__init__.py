"""Optuna for maskkit: an engine of searches, and the reporter of its trials; Optuna is imported when one begins."""

from collections.abc import Iterable

from maskkit import Component, hookimpl


@hookimpl
def maskkit_tuners() -> Iterable[Component]:
    yield Component(
        name="optuna",
        target="maskkit_optuna.tuner:OptunaTuner",
        summary="Optuna: a database that many machines share, pruning, the same trials by the same seed",
        algorithms=("TPE", "GP", "CMA-ES", "Evolution", "Hyperband", "Random", "Grid"),
    )


@hookimpl
def maskkit_reporters() -> Iterable[Component]:
    yield Component(
        name="optuna",
        target="maskkit_optuna.reporter:OptunaReporter",
        summary="Macro F1 of each epoch for Optuna, by itself in its trials; silent elsewhere",
    )
