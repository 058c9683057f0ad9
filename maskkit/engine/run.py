"""One training from where it starts to its predictions: build, fit, keep its epochs, predict with the best weights."""

import shlex
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import maskkit
from maskkit.data.order import split_rows
from maskkit.data.photo_hashes import PhotoHashes
from maskkit.data.workers import explain_worker_failures
from maskkit.engine.checkpoint import Checkpoint, checkpoint_path
from maskkit.engine.leaks import tell_leaks
from maskkit.engine.learning import build_learning
from maskkit.engine.memory import explaining_memory, free_memory, is_out_of_memory, smaller_batches
from maskkit.engine.packing import pack
from maskkit.engine.plan import Plan
from maskkit.engine.prediction import probabilities_of, write_eval
from maskkit.engine.record import History, write_record
from maskkit.engine.rehearsal import rehearse
from maskkit.engine.resuming import Start, last_start
from maskkit.engine.summary import run_start
from maskkit.engine.trainer import Settings, Trainer
from maskkit.engine.validation import Validation
from maskkit.errors import NonFiniteLossError, PluginError
from maskkit.predictions import write_soft
from maskkit.reporting.events import EpochEnd, RunEnd
from maskkit.reporting.reporter import Reporters

__all__ = ["Run"]


class Run:
    """One training, from where it starts to its predictions. Building it writes nothing, and refuses what cannot be."""

    def __init__(self, plan: Plan, start: Start, history: History) -> None:
        self.plan, self.start, self.history = plan, start, history
        self.progress = start.progress
        self._build()
        rehearse(plan, self.learning)
        pack(self.learning.state(), "state")  # what no checkpoint could hold shows now, not after the first epoch
        used = torch.cat([plan.rows(held_out=held_out) for held_out in (False, True)])
        self.hashes = PhotoHashes(plan.samples.paths, used.sort().values, is_read=plan.world.is_first)
        self.loader = plan.loader(plan.samples, often=True, hashes=self.hashes)
        self.validation = Validation(
            self.loader, plan.samples, plan.rows(held_out=True), plan.config.valid_batch_size, plan.world
        )

    def _build(self) -> None:
        self.learning = build_learning(self.plan, is_resumed=self.start.state is not None)
        if self.start.state is not None:
            self.learning.restore(self.start.state, self.start.progress, lengthened=self.start.lengthened)
            self.start = replace(self.start, state=None)  # it is in use now; a copy would only take memory

    def to_the_end(self, run_dir: Path, reporters: Reporters) -> None:
        """Train what is left, and predict; whatever happens, every reporter hears how the training ended."""
        if self.plan.world.is_first:
            write_record(run_dir, self.plan, self.history)
        try:
            reporters.on_run_start(run_start(run_dir, self.plan, self.learning.classifier, self.progress))
            if self.plan.world.told_by_first(self.hashes.are_known):
                self.hashes.want_none()
                self._tell_leaks(run_dir)
            with explain_worker_failures(), explaining_memory():
                stopped_early = self._fit(run_dir, reporters)
        except BaseException as error:
            self._tell_failure(run_dir, reporters, error)
            raise
        reporters.on_run_end(RunEnd("stopped early" if stopped_early else "completed", self.progress.best))
        self._predict(run_dir)

    def _fit(self, run_dir: Path, reporters: Reporters) -> bool:
        """Train, with smaller batches each time that memory runs out, and return whether patience ended it."""
        while True:
            trainer = self._make_trainer(run_dir, reporters)
            try:
                trainer.fit()
            except RuntimeError as error:
                if not is_out_of_memory(error) or not self.plan.world.place.is_alone:
                    raise
            else:
                return trainer.stopped_early
            finally:
                self.progress = trainer.progress
            del trainer, self.learning  # their tensors must be gone before new ones are made
            free_memory()
            self._shrink_batches(run_dir)

    def _shrink_batches(self, run_dir: Path) -> None:
        config = self.plan.config
        origins = dict(self.plan.origins)
        is_auto = origins["batch_size"].startswith("decided")
        smaller = smaller_batches(config, keep_step=not is_auto)
        text = (
            f"memory ran out in epoch {self.progress.epochs_done + 1} with {config.batch_size} images at once;"
            f" going on with {smaller.batch_size}, {smaller.accumulate} batches a step"
        )
        warnings.warn(text, stacklevel=2)
        self.history.smaller_batches.append(text)
        if not is_auto and not origins["batch_size"].startswith("halved"):
            origins["batch_size"] = f"halved when memory ran out ({origins['batch_size']})"
            origins["accumulate"] = f"doubled when memory ran out ({origins['accumulate']})"
        self.plan = replace(self.plan, config=smaller, origins=origins)
        self.start = last_start(run_dir, smaller)
        write_record(run_dir, self.plan, self.history)
        self._build()

    def _make_trainer(self, run_dir: Path, reporters: Reporters) -> Trainer:
        config = self.plan.config
        return Trainer(
            learning=self.learning,
            variation=self.plan.variation,
            loader=self.loader,
            samples=self.plan.samples,
            targets=self.plan.targets,
            train_rows=self.plan.rows(held_out=False),
            weights=self.plan.drawing_weights(),
            validation=self.validation,
            settings=Settings(
                epochs=config.epochs,
                batch_size=self.plan.batch_size,
                accumulate=config.accumulate,
                seed=config.seed,
                log_interval=config.log_interval,
                clip_norm=config.clip_norm,
                patience=config.patience,
            ),
            reporters=reporters,
            save=lambda which, state, result: self._save(run_dir, which, state, result),
            progress=self.progress,
            world=self.plan.world,
        )

    def _save(self, run_dir: Path, which: str, state: Mapping[str, Any], result: EpochEnd) -> None:
        plan, classifier = self.plan, self.learning.classifier
        if not self.hashes.are_joined and which == "last":
            self._join_hashes(run_dir)
        if not plan.world.is_first:
            return
        description = {
            "maskkit": maskkit.__version__,
            "classification": plan.view.name,
            "classes": plan.view.classes,
            "model": plan.parts["model"].record,
            "augmentation": plan.parts["augmentation"].record,
            "size": plan.config.resize,
            "mean": classifier.mean,
            "std": classifier.std,
            "precision": classifier.precision.name,
            "test_flip": plan.config.test_flip != "no",
            "epoch": result.epoch,
            "epochs": plan.config.epochs,
            "metrics": dict(result.metrics),
            "notice": plan.samples.notice,
        }
        Checkpoint(state, description).save(checkpoint_path(run_dir, which))

    def _join_hashes(self, run_dir: Path) -> None:
        """Share the hashes that the processes took in an epoch, after those of photos that nobody has drawn yet."""
        world = self.plan.world
        is_wanted = world.sum(self.hashes.are_wanted.to(torch.int64)) == world.size
        unseen = split_rows(is_wanted.nonzero().flatten(), self.validation.batch_size)
        for _ in self.loader.batches(world.deal([rows for rows in unseen if len(rows)])):
            pass  # the loader takes them
        self.hashes.join(world.either)
        self._tell_leaks(run_dir)

    def _tell_leaks(self, run_dir: Path) -> None:
        if self.plan.world.is_first:
            tell_leaks(run_dir, self.plan, self.hashes.known)

    def _tell_failure(self, run_dir: Path, reporters: Reporters, error: BaseException) -> None:
        is_interrupted = isinstance(error, KeyboardInterrupt)
        cause = "" if is_interrupted else next(iter(str(error).splitlines()), type(error).__name__)
        with suppress(PluginError):  # the first error is the one to tell
            reporters.on_run_end(RunEnd("interrupted" if is_interrupted else "failed", self.progress.best, cause))
        if not isinstance(error, NonFiniteLossError):  # which would come again
            error.add_note(f"to go on: maskkit train --resume={shlex.quote(str(run_dir))}")

    def _predict(self, run_dir: Path) -> None:
        """Write valid_soft.csv and the eval files, with the weights of the best epoch."""
        plan, folder = self.plan, run_dir / "predictions"
        classifier = replace(self.learning.classifier, flips=plan.config.test_flip != "no")
        if plan.world.is_first:
            classifier.network.load_state_dict(Checkpoint.load(checkpoint_path(run_dir, "best")).weights)
        plan.world.same_weights(classifier.network)
        rows, batch_size = plan.rows(held_out=True), self.validation.batch_size
        held_out = probabilities_of(classifier, plan.view, self.loader, rows, batch_size, world=plan.world)
        if plan.world.is_first:
            names = plan.samples.names
            truth = np.array(plan.view.of_class)[plan.samples.answers[rows.numpy()]]
            write_soft(folder / "valid_soft.csv", [names[row] for row in rows.tolist()], held_out, truth=truth)
            print(f"wrote {folder / 'valid_soft.csv'}")
        images = plan.sources.eval_samples
        if images is not None:
            loader = plan.loader(images, often=False)
            every = torch.arange(len(images))
            found = probabilities_of(classifier, plan.view, loader, every, batch_size, world=plan.world)
            if plan.world.is_first:
                write_eval(folder, images, found)
                print(f"wrote {folder / 'eval_hard.csv'}\nwrote {folder / 'eval_soft.csv'}")
