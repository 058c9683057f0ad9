"""One frozen dataclass a command: it gives the flags, their help, their checks, and what config.json holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from maskkit.flags import MISSING, flag
from maskkit.run_flags import RunFlags

__all__ = [
    "CheckPluginConfig",
    "EvaluateConfig",
    "FindLrConfig",
    "Kind",
    "ListPluginsConfig",
    "NewPluginConfig",
    "PredictConfig",
    "RunFlags",
    "SearchFlags",
    "TrainConfig",
    "TuneConfig",
    "VersionConfig",
    "VoteConfig",
]

Kind = Literal[
    "model", "loss", "augmentation", "mix", "dataset", "optimizer", "scheduler", "reporter", "vote", "tuner", "command"
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunFlags):
    """Train a model and write a run folder with its checkpoints, metrics and predictions."""

    resume: Path | None = flag(
        None, "Go on with this run folder where it stopped; of other flags only those that do not change its meaning,"
        " as --epochs.", section="Output",
    )  # fmt: skip
    profile: bool = flag(
        False, "Record where the time of some steps goes; the same as profile among the reporters.",  # noqa: FBT003
        section="Output",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FindLrConfig(RunFlags):
    """Raise the learning rate step by step in a training for nothing else, and suggest one."""

    lowest: float = flag(1e-6, "Learning rate of the first step.", section="Search", above=0)
    highest: float = flag(1.0, "Learning rate of the last step.", section="Search", above=0)
    steps: int = flag(100, "Steps between them, fewer where the loss explodes.", section="Search", minimum=20)
    plot: Path = flag(Path("lr.png"), "Picture of the loss by learning rate; its numbers go beside it, to a .csv.",
        section="Search",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SearchFlags:
    """What a search for the best flags is made of."""

    trials: int = flag(20, "Trainings to run, one for each choice of flags.", section="Search", minimum=1)
    concurrency: int = flag(1, "Trainings at once.", section="Search", minimum=1, maximum=1000)
    space: Path | None = flag(
        None, "JSON file of the flags to choose, as search_space.json; else lr, batch_size, criterion, augmentation.",
        section="Search",
    )  # fmt: skip
    engine: str = flag("nni", "What runs the search.", section="Search", kind="tuner")
    engine_args: dict[str, Any] = flag({}, "Options of the engine.", section="Search")
    tuner: str | None = flag(
        None,
        "Who chooses, one of the engine's: TPE, Random, Evolution, Hyperband or GP of nni; Hyperband shortens hopeless"
        " trials, its longest has --epochs. The engine's first where none is named.",
        section="Search",
    )
    remote: Path | None = flag(
        None, "nni: train on the machines of this file, as config_remote.yml, through ssh and with key files.",
        section="Search",
    )  # fmt: skip
    port: int = flag(5000, "nni: port of its page; the next one must be free too.", section="Search", minimum=1024,
        maximum=65534,
    )  # fmt: skip
    expose: bool = flag(
        False, "nni: let other machines reach its page, which has no login and can run commands.",  # noqa: FBT003
        section="Search",
    )  # fmt: skip
    resume: str | None = flag(
        None, "Go on with the experiment of this id; of other flags only --trials, --port, --expose and --model_dir.",
        section="Search",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TuneConfig(RunFlags, SearchFlags):
    """Search for the best flags of a training; every flag of maskkit train is fixed by giving it."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Predict a folder of images from a run's best checkpoint alone."""

    run: Path = flag(MISSING, "A run folder, also one of --folds, or a .safetensors checkpoint.", word=True)
    images: Path | None = flag(None, "Folder of images; by name, or in the order of --info.", section="Input")
    info: Path | None = flag(None, "CSV with a column ImageID: which images, in which order.", section="Input")
    on_bad_image: Literal["error", "skip"] = flag(
        "error", "What to do about images that cannot be read; skip leaves them out and lists them.", section="Input"
    )
    checkpoint: Literal["best", "last"] = flag("best", "Which checkpoint of the run.", section="Input")
    out: Path | None = flag(
        None, "Folder for eval_hard.csv and eval_soft.csv; else the run's predictions.", section="Output"
    )
    test_flip: bool | Literal["auto"] = flag(
        "auto", "Average each image with its mirror image; auto: as the run does.", section="Output"
    )
    batch_size: int = flag(256, "Images a step.", section="Machine", minimum=1, maximum=65536)
    num_workers: int | Literal["auto"] = flag(
        "auto", "Processes that decode images.", section="Machine", minimum=0, maximum=256
    )
    device: str = flag("auto", "auto, cpu, cuda, cuda:1 or mps.", section="Machine")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = flag(
        "auto", "Number format of the network's arithmetic; auto: as in the training.", section="Machine"
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Score predictions as a whole, by axis, group and class, and show the confusion."""

    source: Path = flag(MISSING, "A CSV of predictions, or a run folder.", word=True)
    truth: Path | None = flag(
        None,
        "CSV ImageID,ans with the true 18 classes; else the file's column truth. A column person may follow ans.",
    )
    classification: Literal["auto", "multi", "mask", "gender", "age", "multihead"] = flag(
        "auto", "What the file predicts; auto: from its run, or its number of columns."
    )
    confusion: Path | None = flag(None, "Write the confusion as a picture, FILE.png.")


@dataclass(frozen=True, kw_only=True)
class VoteConfig:
    """Vote over files of predictions."""

    files: tuple[Path, ...] = flag(
        (), "Prediction CSVs; three single-task ones in the order mask, gender, age.", word=True
    )
    out: Path | None = flag(None, "Write ImageID,ans here.", section="Output")
    soft_out: Path | None = flag(None, "Write the mixed probabilities here.", section="Output")
    how: str = flag("soft", "The rule of the vote.", section="Vote", kind="vote")
    how_args: dict[str, Any] = flag({}, "Options of the rule.", section="Vote")
    weights: tuple[float, ...] | None = flag(None, "One weight a file, in their order.", section="Vote", minimum=0)
    space: Literal["auto", "prob", "logit"] = flag(
        "auto", "What the columns hold; auto looks at each file and says what it found.", section="Vote"
    )
    mask: tuple[Path, ...] = flag((), "Files of the mask task, by comma.", section="Three tasks to one")
    gender: tuple[Path, ...] = flag((), "Files of the gender task, by comma.", section="Three tasks to one")
    age: tuple[Path, ...] = flag((), "Files of the age task, by comma.", section="Three tasks to one")


@dataclass(frozen=True, kw_only=True)
class ListPluginsConfig:
    """List every plugin: where it comes from, its state and cause, and what it offers."""

    kind: Literal["all", Kind] = flag("all", "Only components of this kind.")
    plugin: str | None = flag(None, "Only the plugin or distribution of this name, in full: with files and traceback.")
    format: Literal["table", "json"] = flag("table", "For people or for programs.")
    strict: bool = flag(False, "Exit with 1 when a plugin is BROKEN, in CONFLICT or EMPTY.")  # noqa: FBT003


@dataclass(frozen=True, kw_only=True)
class NewPluginConfig:
    """Write the package of a new plugin, which installs, is typed and is tested."""

    name: str = flag(MISSING, "Name of the package; in maskkit-poly, the component is called poly.", word=True)
    kind: Kind = flag(MISSING, "What it adds to maskkit.")
    out: Path | None = flag(None, "Folder to write, new or empty and not this one; else the name of the package, here.")


@dataclass(frozen=True, kw_only=True)
class CheckPluginConfig:
    """Check that a plugin keeps every contract, on tiny inputs."""

    plugin: str = flag(MISSING, "Folder with a pyproject.toml, or name of an installed plugin.", word=True)
    data_dir: Path | None = flag(None, "Folder for its data sets; else a tiny one in the competition's layout.")
    debug: bool = flag(False, "Show the traceback of each check that failed.")  # noqa: FBT003


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Look for all that is wrong or odd in a folder of photos, before hours of training."""

    data_dir: Path = flag(
        MISSING, "Folder of profiles, such as train/images; a train.csv beside it is compared.", word=True
    )
    sheet: Path | None = flag(None, "Write some photos of every class as a picture, FILE.png.")
    format: Literal["table", "json"] = flag("table", "For people or for programs.")


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """List the files in which runs share prepared images, --cache=disk, and how much they take."""

    clear: bool = flag(False, "Remove them; runs prepare their images anew.")  # noqa: FBT003


@dataclass(frozen=True, kw_only=True)
class VersionConfig:
    """Print the versions of maskkit, Python and torch."""
