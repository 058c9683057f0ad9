"""The loop: what it tells and when, what it measures, what moves the learning rate, and what stops it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import f1_score
from torch import Tensor, nn

from maskkit import (
    Augmentation,
    Component,
    Draws,
    EpochEnd,
    EpochStart,
    Reporter,
    RunEnd,
    RunStart,
    Samples,
    Schedule,
    StepEnd,
)
from maskkit.builtin import augmentations, losses, optimizers, schedulers
from maskkit.config import TrainConfig
from maskkit.data.loader import ImageLoader
from maskkit.data.order import epoch_order
from maskkit.engine.checkpoint import Checkpoint
from maskkit.engine.classifier import Classifier
from maskkit.engine.device import Precision
from maskkit.engine.learning import Learning
from maskkit.engine.objective import Objective
from maskkit.engine.progress import Progress
from maskkit.engine.trainer import Settings, Trainer
from maskkit.engine.training import train
from maskkit.engine.validation import Validation
from maskkit.engine.variation import Variation
from maskkit.errors import NonFiniteLossError, PluginError, TrainingError, UsageError
from maskkit.flags import flags_of
from maskkit.labels import VIEWS, decode
from maskkit.plugin.discovery import Plugin, State, discover
from maskkit.plugin.registry import Registry
from maskkit.reporting.events import METRIC_COLUMNS
from maskkit.reporting.reporter import Reporters, StopRun

CPU = torch.device("cpu")
FP32 = Precision("fp32", torch.float32, "")
SIDE = 8
NUM_TRAIN, NUM_VALID = 50, 22
STILL = 1e-30  # a learning rate too small to move a float32
STEMS = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")

Events = list[tuple[Any, ...]]
MakeSchedule = Callable[..., Schedule]


class Recorder(Reporter):
    """Notes every event in `heard`, which all recorders of a test share, and what lies on disk then."""

    heard: ClassVar[Events] = []

    def __init__(self) -> None:
        self._checkpoints = Path()

    def on_run_start(self, run: RunStart) -> None:
        self._checkpoints = run.run_dir / "checkpoints"
        self.heard.append(("run start", run.epochs, run.steps_per_epoch))

    def on_epoch_start(self, epoch: EpochStart) -> None:
        self.heard.append(("epoch start", epoch.epoch, epoch.steps, self._saved()))

    def on_step_end(self, step: StepEnd) -> None:
        self.heard.append(("step end", step.epoch, step.step, step.total_steps, step.loss is not None))

    def on_epoch_end(self, result: EpochEnd) -> None:
        self.heard.append(("epoch end", result.epoch, result.is_best, self._saved()))

    def on_run_end(self, outcome: RunEnd) -> None:
        self.heard.append(("run end", outcome.status, outcome.best.epoch if outcome.best else None, outcome.error))

    def _saved(self) -> dict[str, int]:
        """Return the epoch of each checkpoint on disk."""
        paths = sorted(self._checkpoints.glob("*.safetensors"))
        return {path.stem: Checkpoint.load(path).description["epoch"] for path in paths}


class Saboteur(Reporter):
    """Raises in one moment, and notes whether it still hears of the end."""

    moment: ClassVar[str] = ""
    error: ClassVar[type[BaseException]] = RuntimeError
    endings: ClassVar[list[str]] = []

    def _act(self, moment: str) -> None:
        if moment == self.moment:
            raise self.error("sabotage")

    def on_run_start(self, _: RunStart) -> None:
        self._act("on_run_start")

    def on_epoch_start(self, _: EpochStart) -> None:
        self._act("on_epoch_start")

    def on_step_end(self, _: StepEnd) -> None:
        self._act("on_step_end")

    def on_epoch_end(self, _: EpochEnd) -> None:
        self._act("on_epoch_end")

    def on_run_end(self, outcome: RunEnd) -> None:
        self.endings.append(outcome.status)
        self._act("on_run_end")


def linear(num_outputs: int, *, pretrained: bool) -> nn.Module:  # noqa: ARG001  there are no weights
    """Return a network without batch statistics, which stands still when its learning rate does."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, num_outputs))


class NanAt(nn.Module):
    """Cross entropy that turns NaN in one training step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step, self._seen = step, 0

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        self._seen += logits.requires_grad
        return nn.functional.cross_entropy(logits, targets) * (math.nan if self._seen == self._step else 1)


def nan_at(*, num_classes: int, class_counts: NDArray[np.int64], step: int) -> NanAt:  # noqa: ARG001  needs neither
    return NanAt(step)


@pytest.fixture(autouse=True)
def nothing_heard() -> Iterator[None]:
    Recorder.heard.clear()
    Saboteur.endings.clear()
    Saboteur.moment, Saboteur.error = "", RuntimeError
    yield
    Recorder.heard.clear()


def write_profiles(folder: Path, people: int = 6, size: tuple[int, int] = (40, 32)) -> Path:
    """Write small photos of noise, seven of each person, and return the folder that --data_dir names."""
    draws = np.random.default_rng(0)
    for number in range(people):
        profile = folder / "train" / "images" / f"{number:06}_{('male', 'female')[number % 2]}_Asian_{20 + 5 * number}"
        profile.mkdir(parents=True)
        for stem in STEMS:
            Image.fromarray(draws.integers(0, 256, (*size, 3), dtype=np.uint8)).save(profile / f"{stem}.png")
    return folder / "train" / "images"


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_profiles(tmp_path_factory.mktemp("profiles"))


def registry() -> Registry:
    """Return what is in the box, and the parts of this file as a stranger's plugin."""

    def part(name: str, target: str) -> Component:
        return Component(name=name, target=f"test_trainer:{target}", summary="A part of a test")

    components = {
        "reporter": tuple(part(name, name.rstrip("2")) for name in ("Recorder", "Recorder2", "Saboteur")),
        "model": (part("linear", "linear"),),
        "loss": (part("nan_at", "nan_at"),),
    }
    return Registry(
        [*discover({"MASKKIT_DISABLE_PLUGINS": "*"}), Plugin("test", "test", "0", State.OK, "", components)]
    )


def run(profiles: Path, folder: Path, *, named: bool = False, **flags: Any) -> Path:
    """Train on 28 images of 4 people in batches of 10, by default without getting anywhere."""
    usual: dict[str, Any] = {
        "data_dir": profiles,
        "model_dir": folder,
        "val_ratio": 0.34,
        "batch_size": 10,
        "resize": (16, 16),
        "model": "linear",
        "reporters": ("Recorder",),
        "lr": STILL,
        "num_workers": 0,
    }
    origins = dict.fromkeys(flags_of(TrainConfig), "default") | ({"reporters": "flag"} if named else {})
    return train(TrainConfig(**usual | flags), origins, registry())


def test_a_run_tells_its_whole_story_in_order(profiles: Path, tmp_path: Path) -> None:
    """Nothing improves after the first epoch, so patience 2 ends the run after the third."""
    run(profiles, tmp_path, epochs=9, patience=2, log_interval=2)
    first, second = ({"best": 0, "last": epoch} for epoch in range(2))
    assert Recorder.heard == [
        ("run start", 9, 3),
        ("epoch start", 0, 3, {}),
        ("step end", 0, 1, 1, False),
        ("step end", 0, 2, 2, True),
        ("step end", 0, 3, 3, True),
        ("epoch end", 0, True, {"best": 0}),
        ("epoch start", 1, 3, first),
        ("step end", 1, 1, 4, False),
        ("step end", 1, 2, 5, True),
        ("step end", 1, 3, 6, True),
        ("epoch end", 1, False, first),
        ("epoch start", 2, 3, second),
        ("step end", 2, 1, 7, False),
        ("step end", 2, 2, 8, True),
        ("step end", 2, 3, 9, True),
        ("epoch end", 2, False, second),
        ("run end", "stopped early", 0, ""),
    ]


def test_without_patience_every_epoch_is_trained(profiles: Path, tmp_path: Path) -> None:
    run(profiles, tmp_path, epochs=4)
    assert [event[1] for event in Recorder.heard if event[0] == "epoch end"] == [0, 1, 2, 3]
    assert Recorder.heard[-1] == ("run end", "completed", 0, "")


@pytest.mark.parametrize(("epochs", "status"), [(4, "stopped early"), (1, "completed")])
def test_a_reporter_can_end_a_run_with_its_epoch_and_the_run_is_whole(
    profiles: Path, tmp_path: Path, epochs: int, status: str
) -> None:
    Saboteur.moment, Saboteur.error = "on_epoch_end", StopRun
    run_dir = run(profiles, tmp_path, epochs=epochs, reporters=("Saboteur", "Recorder"), named=True)
    assert [event[1] for event in Recorder.heard if event[0] == "epoch end"] == [0]
    assert Recorder.heard[-1] == ("run end", status, 0, "")
    assert Saboteur.endings == [status]
    assert (run_dir / "predictions" / "valid_soft.csv").exists()
    Saboteur.moment = ""
    origins = dict.fromkeys(flags_of(TrainConfig), "default")
    train(TrainConfig(resume=run_dir), origins, registry())
    assert [event[1] for event in Recorder.heard if event[0] == "epoch end"] == [*range(epochs)]


def test_a_failure_is_told_to_every_reporter(profiles: Path, tmp_path: Path) -> None:
    """Step 5 of the run is step 2 of the second epoch."""
    reporters = ("Recorder", "Saboteur", "Recorder2")
    with pytest.raises(NonFiniteLossError):
        run(profiles, tmp_path, reporters=reporters, criterion="nan_at", criterion_args={"step": 5}, log_interval=1)
    ends = [event for event in Recorder.heard if event[0] == "run end"]
    assert [end[1:3] for end in ends] == [("failed", 0)] * 2
    assert all(end[3].startswith("the loss became nan in epoch 2, step 2") for end in ends)
    assert Saboteur.endings == ["failed"]


@pytest.mark.parametrize("moment", ["on_run_start", "on_epoch_start", "on_step_end", "on_epoch_end"])
def test_an_interruption_is_told_to_every_reporter(profiles: Path, tmp_path: Path, moment: str) -> None:
    Saboteur.moment, Saboteur.error = moment, KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        run(profiles, tmp_path, reporters=("Recorder", "Saboteur", "Recorder2"), epochs=2)
    best = 0 if moment == "on_epoch_end" else None
    assert [event for event in Recorder.heard if event[0] == "run end"] == [("run end", "interrupted", best, "")] * 2
    assert Saboteur.endings == ["interrupted"]


MOMENTS = ["on_run_start", "on_epoch_start", "on_step_end", "on_epoch_end", "on_run_end"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_best_effort_reporter_that_raises_is_dropped_with_one_warning(
    profiles: Path, tmp_path: Path, moment: str
) -> None:
    Saboteur.moment = moment
    with pytest.warns(UserWarning, match="sabotage") as caught:
        run(profiles, tmp_path, reporters=("Saboteur", "Recorder"), epochs=2)
    text = f"reporter Saboteur failed in {moment}: RuntimeError: sabotage; the run goes on without it"
    assert [str(warning.message) for warning in caught] == [text]
    assert [event[0] for event in Recorder.heard].count("step end") == 6
    assert Recorder.heard[-1] == ("run end", "completed", 0, "")
    assert Saboteur.endings == ["completed"], "it must still close its files"


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_reporter_that_was_asked_for_by_name_fails_the_run(profiles: Path, tmp_path: Path, moment: str) -> None:
    Saboteur.moment = moment
    with pytest.raises(PluginError, match=f"reporter Saboteur failed in {moment}: RuntimeError: sabotage") as caught:
        run(profiles, tmp_path, named=True, reporters=("Saboteur", "Recorder", "Recorder2"), epochs=2)
    assert "--reporters" in caught.value.hint
    status = "completed" if moment == "on_run_end" else "failed"
    assert [event[1] for event in Recorder.heard if event[0] == "run end"] == [status] * 2
    assert Saboteur.endings == [status]


def test_an_option_that_a_part_refuses_leaves_no_run_folder(profiles: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"optimizer Adam refuses its options beta1=2\.0: Invalid beta"):
        run(profiles, tmp_path / "runs", optimizer_args={"beta1": 2.0})
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """Return images of which each has a grey of its class, all 18 in turn."""
    folder = tmp_path_factory.mktemp("greys")
    rows = []
    for row in range(NUM_TRAIN + NUM_VALID):
        ans = row * 7 % 18
        path = folder / f"{row}.png"
        Image.new("RGB", (SIDE, SIDE), (14 * ans, 255 - 14 * ans, 7 * row % 256)).save(path)
        mask, gender, age = decode(ans)
        rows.append((str(path), path.name, str(row), mask, gender, (20, 40, 60)[age]))
    return Samples(pd.DataFrame(rows, columns=["path", "sample", "person", "mask", "gender", "age"]))


def pixels(num_outputs: int = 18) -> nn.Module:
    """Return one linear layer on all pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, num_outputs))


class Bench:
    """A trainer with parts that a test chooses, by default standing still; notes its events and what it saves."""

    def __init__(self, samples: Samples, **changes: Any) -> None:
        self.events: list[Any] = []
        self.saved: list[tuple[str, int]] = []
        torch.manual_seed(0)
        network: nn.Module = changes.pop("network", pixels)()
        view = VIEWS[changes.pop("view", "multi")]
        augmentation = Augmentation(augmentations.base(size=(SIDE, SIDE)).prepare, changes.pop("augment", None))
        mix = changes.pop("mix", None)
        make_optimizer = changes.pop("optimizer", optimizers.sgd)
        optimizer = make_optimizer(network.parameters(), lr=changes.pop("lr", STILL), weight_decay=0.0)
        settings = Settings(epochs=1, batch_size=8, accumulate=1, seed=3, log_interval=3, clip_norm=None, patience=0)
        loss = changes.pop("loss", losses.cross_entropy)
        precision = changes.pop("precision", FP32)
        make_schedule = changes.pop("schedule", schedulers.step10)
        valid_batch_size = changes.pop("valid_batch_size", 8)
        settings = replace(settings, **changes)
        num_steps = -(-NUM_TRAIN // (settings.batch_size * settings.accumulate))
        loader = ImageLoader(samples.paths, augmentation, num_workers=0, pin_memory=False)
        self.trainer = Trainer(
            learning=Learning(
                Classifier(network, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), CPU, precision),
                Objective(view, loss, samples.answers[:NUM_TRAIN]),
                optimizer,
                make_schedule(optimizer, epochs=settings.epochs, steps_per_epoch=num_steps),
                torch.amp.GradScaler("cpu", enabled=precision.needs_scaler),
            ),
            variation=Variation(augmentation, mix),
            loader=loader,
            samples=samples,
            targets=samples.answers,
            train_rows=torch.arange(NUM_TRAIN),
            validation=Validation(loader, samples, torch.arange(NUM_TRAIN, NUM_TRAIN + NUM_VALID), valid_batch_size),
            settings=settings,
            reporters=Reporters([("bench", _Keeper(self.events))], required=True),
            save=lambda which, _, result: self.saved.append((which, result.epoch)),
            progress=Progress(),
        )

    def fit(self) -> "Bench":
        self.trainer.fit()
        return self

    @property
    def results(self) -> list[EpochEnd]:
        return [event for event in self.events if isinstance(event, EpochEnd)]

    @property
    def steps(self) -> list[StepEnd]:
        return [event for event in self.events if isinstance(event, StepEnd)]

    def column(self, name: str) -> list[float]:
        return [value for result in self.results if (value := result.metrics[name]) is not None]


class _Keeper(Reporter):
    """Keeps every event of the loop."""

    def __init__(self, events: list[Any]) -> None:
        self._events = events

    def on_epoch_start(self, epoch: EpochStart) -> None:
        self._events.append(epoch)

    def on_step_end(self, step: StepEnd) -> None:
        self._events.append(step)

    def on_epoch_end(self, result: EpochEnd) -> None:
        self._events.append(result)


def logits_of(bench: Bench, samples: Samples, rows: range) -> Tensor:
    """Return the logits of a still network, without the loader or the classifier."""
    images = np.stack([np.asarray(Image.open(samples.paths[row]), dtype=np.float32) for row in rows])
    normal = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    with torch.no_grad():
        logits: Tensor = bench.trainer.learning.classifier.network.eval()(normal)
    return logits


def test_the_figures_of_an_epoch_are_those_of_all_its_images(samples: Samples) -> None:
    """The batches differ in size (50 = 6 * 8 + 2), so a mean of their means would be another number."""
    bench = Bench(samples).fit()
    (metrics,) = (result.metrics for result in bench.results)
    answers = torch.from_numpy(samples.answers)
    parts = {"train": range(NUM_TRAIN), "valid": range(NUM_TRAIN, NUM_TRAIN + NUM_VALID)}
    for part, rows in parts.items():
        logits, truth = logits_of(bench, samples, rows), answers[list(rows)]
        assert metrics[f"{part}_loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, truth)), rel=1e-5)
        assert metrics[f"{part}_accuracy"] == pytest.approx(float((logits.argmax(dim=1) == truth).float().mean()))
    predicted = logits.argmax(dim=1)
    score = f1_score(truth, predicted, labels=range(18), average="macro", zero_division=0)
    assert metrics["valid_f1_macro"] == pytest.approx(score)
    for position, axis in enumerate(("mask", "gender", "age")):
        right = [decode(int(a))[position] == decode(int(b))[position] for a, b in zip(truth, predicted, strict=True)]
        assert metrics[f"valid_{axis}_accuracy"] == pytest.approx(np.mean(right))
    assert bench.results[0].counts.sum() == NUM_VALID
    assert [bench.results[0].counts[t].sum() for t in range(18)] == np.bincount(truth, minlength=18).tolist()


def test_an_epoch_has_the_columns_of_metrics_csv_in_their_order(samples: Samples) -> None:
    (result,) = Bench(samples, view="multi").fit().results
    assert tuple(result.metrics) == METRIC_COLUMNS
    (result,) = Bench(samples, view="age", network=lambda: pixels(3)).fit().results
    assert tuple(result.metrics) == METRIC_COLUMNS
    assert [name for name, value in result.metrics.items() if value is None] == [
        "valid_mask_accuracy",
        "valid_gender_accuracy",
    ]


@pytest.mark.parametrize("valid_batch_size", [1, 5, 21, 22, 500])
def test_validation_is_the_same_in_any_batches(samples: Samples, valid_batch_size: int) -> None:
    results = [Bench(samples, valid_batch_size=size).fit().results[0] for size in (8, valid_batch_size)]
    first, second = ({name: value for name, value in one.metrics.items() if "valid" in name} for one in results)
    assert second == pytest.approx(first, rel=1e-6)
    assert (results[0].counts == results[1].counts).all()


def test_a_step_reports_the_mean_loss_since_the_last_report(samples: Samples) -> None:
    often, seldom = (Bench(samples, lr=0.01, log_interval=interval).fit() for interval in (1, 3))
    each = [step.loss for step in often.steps if step.loss is not None]
    assert len(each) == 7
    means = [pytest.approx(np.mean(each[start : start + 3])) for start in (0, 3, 6)]
    found = [step.loss for step in seldom.steps]
    assert found == [None, None, means[0], None, None, means[1], means[2]]


def test_learning_lowers_the_loss_and_keeps_the_best_epoch(samples: Samples) -> None:
    bench = Bench(samples, lr=0.01, epochs=25, optimizer=optimizers.adam).fit()
    assert bench.column("train_loss")[-1] < bench.column("train_loss")[0] * 0.7
    scores = bench.column("valid_f1_macro")
    best = bench.trainer.progress.best
    assert best is not None
    assert best.epoch == scores.index(max(scores))
    improving = [epoch for epoch, score in enumerate(scores) if score > max(scores[:epoch], default=-1)]
    assert [epoch for which, epoch in bench.saved if which == "best"] == improving
    assert [epoch for which, epoch in bench.saved if which == "last"] == list(range(25))
    assert [result.epoch for result in bench.results if result.is_best] == improving


def test_a_seed_gives_the_same_bits_and_another_seed_others(samples: Samples) -> None:
    def figures(seed: int) -> list[float]:
        def network() -> nn.Module:
            return nn.Sequential(nn.Dropout(0.3), pixels())

        return Bench(samples, lr=0.01, epochs=2, seed=seed, network=network).fit().column("train_loss")

    assert figures(1) == figures(1)
    assert figures(1) != figures(2)


@pytest.mark.parametrize("seed", [0, 2**32, 10**14, 2**80])
def test_any_whole_number_is_a_seed(samples: Samples, seed: int) -> None:
    assert math.isfinite(Bench(samples, seed=seed).fit().column("train_loss")[0])


def test_only_training_is_augmented_by_draws_of_seed_epoch_and_row(samples: Samples) -> None:
    drawn: list[tuple[int, list[float]]] = []

    def augment(images: Tensor, draws: Draws) -> Tensor:
        assert 0 <= images.min() <= images.max() <= 1
        drawn.append((len(images), draws.uniform().tolist()))
        return images

    bench = Bench(samples, augment=augment, epochs=2).fit()
    assert [count for count, _ in drawn] == [8, 8, 8, 8, 8, 8, 2] * 2
    expected = [
        Draws(3, epoch, epoch_order(torch.arange(NUM_TRAIN), seed=3, epoch=epoch)).uniform().tolist()
        for epoch in range(2)
    ]
    assert [number for _, numbers in drawn for number in numbers] == expected[0] + expected[1]
    assert len(bench.results) == 2


def test_training_alone_is_mixed_after_its_augmentation(samples: Samples) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def augment(images: Tensor, _: Draws) -> Tensor:
        return torch.zeros_like(images)

    def mix(images: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        assert len(draws.seeds()) == len(images)
        seen.append((images, targets))
        return images, targets

    Bench(samples, augment=augment, mix=mix).fit()
    assert all(not images.any() for images, _ in seen)
    rows = epoch_order(torch.arange(NUM_TRAIN), seed=3, epoch=0)
    answers = torch.cat([targets.argmax(dim=1) for _, targets in seen])
    assert answers.tolist() == samples.answers[rows.numpy()].tolist()
    assert all(targets.sum(dim=1).eq(1).all() for _, targets in seen)


@pytest.mark.parametrize(
    ("view", "shares", "right"),
    [
        ("multi", {7: 0.6, 8: 0.4}, {7}),
        ("multi", {7: 0.5, 8: 0.5}, {7, 8}),
        ("age", {0: 0.4, 5: 0.3, 8: 0.3}, {2}),
        ("gender", {0: 0.4, 5: 0.3, 8: 0.3}, {0}),
        ("multihead", {0: 0.4, 5: 0.3, 8: 0.3}, {0}),
    ],
)
def test_a_mixed_image_counts_as_what_it_mostly_is_in_the_view(
    samples: Samples, view: str, shares: dict[int, float], right: set[int]
) -> None:
    def mix(images: Tensor, targets: Tensor, _: Draws) -> tuple[Tensor, Tensor]:
        row = torch.zeros(18)
        for number, share in shares.items():
            row[number] = share
        return images, row.expand_as(targets)

    class Always(nn.Module):
        """Answers one class of the view, whatever it sees."""

        def __init__(self, number: int) -> None:
            super().__init__()
            heads = VIEWS[view].heads
            answers = decode(number) if len(heads) == 3 else (number,)
            rows = [torch.eye(head.num_classes)[answer] for head, answer in zip(heads, answers, strict=True)]
            self.bias = nn.Parameter(torch.cat(rows))

        def forward(self, images: Tensor) -> Tensor:
            return self.bias.expand(len(images), -1)

    for number in range(VIEWS[view].num_classes):
        bench = Bench(samples, network=partial(Always, number), mix=mix, view=view).fit()
        assert bench.column("train_accuracy") == [float(number in right)]


@pytest.mark.parametrize("log_interval", [1, 4, 100])
def test_a_loss_that_is_no_number_stops_with_step_files_and_advice(samples: Samples, log_interval: int) -> None:
    bench = Bench(samples, loss=lambda **_: NanAt(7 + 5), log_interval=log_interval, epochs=3)
    with pytest.raises(NonFiniteLossError) as caught:
        bench.fit()
    assert caught.value.message.startswith("the loss became nan in epoch 2, step 5, on these images:")
    rows = epoch_order(torch.arange(NUM_TRAIN), seed=3, epoch=1)[4 * 8 : 5 * 8]
    assert caught.value.message.splitlines()[1:] == [f"  {samples.paths[row]}" for row in rows]
    for advice in ("--lr (now 1e-30)", "--clip_norm=1", "--precision=fp32"):
        assert advice in caught.value.hint


def test_an_infinite_loss_of_a_large_batch_names_ten_files(samples: Samples) -> None:
    class Infinite(nn.Module):
        def forward(self, logits: Tensor, _: Tensor) -> Tensor:
            return logits.sum() * math.inf

    with pytest.raises(NonFiniteLossError, match=r"became -?inf") as caught:
        Bench(samples, loss=lambda **_: Infinite(), batch_size=30).fit()
    lines = caught.value.message.splitlines()[1:]
    assert len(lines) == 11
    assert lines[-1] == "  and 20 more"


def test_the_loss_is_in_the_mode_of_its_network(samples: Samples) -> None:
    modes = []

    class Noting(nn.Module):
        def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
            modes.append((logits.requires_grad, self.training))
            return nn.functional.cross_entropy(logits, targets)

    Bench(samples, loss=lambda **_: Noting(), epochs=2).fit()
    assert set(modes) == {(True, True), (False, False)}
    assert modes[-1] == (False, False)


class NanWhenMeasured(nn.Module):
    """A network that is well in training and gives NaN in some validations, counted from 0."""

    def __init__(self, *measurements: int) -> None:
        super().__init__()
        self._inner, self._nan_in, self._seen = pixels(), measurements, -1

    def train(self, mode: bool = True) -> "NanWhenMeasured":  # noqa: FBT001, FBT002  torch's own signature
        self._seen += not mode and self.training
        return super().train(mode)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self._inner(images)
        return logits * (math.nan if not self.training and self._seen in self._nan_in else 1)


def test_a_macro_f1_that_is_no_number_is_never_best(samples: Samples) -> None:
    bench = Bench(samples, network=lambda: NanWhenMeasured(0, 2), epochs=3).fit()
    assert [math.isnan(result.macro_f1) for result in bench.results] == [True, False, True]
    assert [result.is_best for result in bench.results] == [False, True, False]
    assert [saved for saved in bench.saved if saved[0] == "best"] == [("best", 1)]


def test_a_run_in_which_no_epoch_can_be_measured_fails(samples: Samples) -> None:
    with pytest.raises(TrainingError, match="no epoch has a validation macro F1"):
        Bench(samples, network=lambda: NanWhenMeasured(0, 1), epochs=2).fit()


def test_patience_counts_from_the_best_epoch(samples: Samples) -> None:
    for patience in (1, 3):
        bench = Bench(samples, epochs=10, patience=patience).fit()
        assert len(bench.results) == 1 + patience
        assert bench.trainer.stopped_early


def test_clipping_limits_the_length_of_a_step(samples: Samples) -> None:
    """Plain descent with a learning rate of 1 moves by the gradient itself."""

    def plain(parameters: Iterator[nn.Parameter], lr: float, weight_decay: float) -> torch.optim.Optimizer:
        return optimizers.sgd(parameters, lr=lr, weight_decay=weight_decay, momentum=0.0)

    def place(bench: Bench) -> Tensor:
        return nn.utils.parameters_to_vector(bench.trainer.learning.classifier.network.parameters()).detach().clone()

    def length_of_first_step(clip_norm: float | None) -> float:
        bench = Bench(samples, optimizer=plain, lr=1.0, batch_size=NUM_TRAIN, clip_norm=clip_norm)
        return float(torch.dist(place(bench), place(bench.fit())))

    free = length_of_first_step(None)
    assert free > 0.1
    assert length_of_first_step(0.01) == pytest.approx(0.01, rel=1e-3)
    assert length_of_first_step(2 * free) == pytest.approx(free, rel=1e-5)


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_reduced_precision_trains_and_measures_in_float32(samples: Samples, name: str) -> None:
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[name]
    bench = Bench(samples, lr=1e-3, epochs=3, optimizer=optimizers.adam, precision=Precision(name, dtype, "")).fit()
    assert bench.column("train_loss")[-1] < bench.column("train_loss")[0]
    assert next(bench.trainer.learning.classifier.network.parameters()).dtype == torch.float32


class Steep(nn.Module):
    """Cross entropy whose scaled gradient overflows float16's scaler at first."""

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = nn.functional.cross_entropy(logits, targets)
        return loss + (loss - loss.detach()) * 1e34


def test_a_step_that_the_scaler_skips_gives_no_warning(samples: Samples) -> None:
    """The schedule moves by steps, and the optimizer's first one is skipped for its overflow."""
    precision = Precision("fp16", torch.float16, "")
    bench = Bench(samples, loss=lambda **_: Steep(), precision=precision, schedule=schedulers.cosine).fit()
    assert len(bench.steps) == 7


class Flat(nn.Module):
    """A loss without a slope, so that a network stands still at any learning rate."""

    def forward(self, logits: Tensor, _: Tensor) -> Tensor:
        return 0 * logits.sum()


def flat(**_: object) -> nn.Module:
    return Flat()


def rates(samples: Samples, schedule: MakeSchedule, epochs: int) -> list[float]:
    """Return the learning rate of each epoch, from 1."""
    bench = Bench(samples, schedule=schedule, epochs=epochs, lr=1.0, batch_size=NUM_TRAIN, loss=flat)
    return bench.fit().column("lr")


def close_to(numbers: list[float]) -> object:
    return pytest.approx(numbers, rel=1e-9, abs=1e-15)


def test_step10_divides_after_epochs_10_20_and_25(samples: Samples) -> None:
    found = rates(samples, schedulers.step10, 30)
    assert found == close_to([1] * 11 + [1e-1] * 10 + [1e-2] * 5 + [1e-3] * 4)


def test_steplr_divides_every_so_many_epochs(samples: Samples) -> None:
    def every_third(*arguments: Any, **facts: Any) -> Schedule:
        return schedulers.steplr(*arguments, **facts, step_size=3, gamma=0.5)

    assert rates(samples, every_third, 8) == close_to([1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25])


def test_plateau_divides_after_patience_epochs_without_a_better_one(samples: Samples) -> None:
    """The network stands still, so the first epoch is the best; each cut begins a new count."""

    def impatient(*arguments: Any, **facts: Any) -> Schedule:
        return schedulers.plateau(*arguments, **facts, patience=2)

    assert rates(samples, schedulers.plateau, 8) == close_to([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01])
    assert rates(samples, impatient, 6) == close_to([1, 1, 1, 0.1, 0.1, 0.01])


def test_plateau_waits_while_the_macro_f1_gets_better_however_little() -> None:
    optimizer = optimizers.sgd([nn.Parameter(torch.zeros(1))], lr=1.0, weight_decay=0)
    schedule = schedulers.plateau(optimizer, epochs=9, steps_per_epoch=1, patience=1)
    for epoch in range(9):
        schedule.scheduler.step(0.5 + 1e-6 * epoch)
    assert optimizer.param_groups[0]["lr"] == 1.0
    schedule.scheduler.step(0.5)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def rates_of_steps(samples: Samples, schedule: MakeSchedule, epochs: int) -> list[float]:
    """Return the learning rate after each of 7 steps an epoch, from 1."""
    return [step.lr for step in Bench(samples, schedule=schedule, epochs=epochs, lr=1.0, loss=flat).fit().steps]


def falling(step: int, steps: int) -> float:
    return (1 + math.cos(math.pi * step / steps)) / 2


def test_cosine_falls_to_nothing_over_the_steps_of_the_run(samples: Samples) -> None:
    found = rates_of_steps(samples, schedulers.cosine, 3)
    assert found == close_to([falling(step, 21) for step in range(1, 22)])


def test_warm_restarts_begin_again_in_longer_cycles(samples: Samples) -> None:
    def short(*arguments: Any, **facts: Any) -> Schedule:
        return schedulers.warm_restarts(*arguments, **facts, first_cycle=1, factor=2)

    found = rates_of_steps(samples, short, 3)
    assert found == close_to(
        [falling(step, 7) for step in range(1, 7)] + [falling(step, 14) for step in range(14)] + [1.0]
    )


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        (schedulers.steplr, {"step_size": 0}),
        (schedulers.plateau, {"patience": 0}),
        (schedulers.plateau, {"factor": 2.0}),
        (schedulers.warm_restarts, {"first_cycle": 0}),
    ],
)
def test_an_option_of_a_schedule_outside_its_range_is_refused(
    schedule: MakeSchedule, options: dict[str, float]
) -> None:
    optimizer = optimizers.sgd([nn.Parameter(torch.zeros(1))], lr=1.0, weight_decay=0)
    with pytest.raises(ValueError, match=r"\w+"):
        schedule(optimizer, epochs=3, steps_per_epoch=2, **options)
