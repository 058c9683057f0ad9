"""The flags of a training: what a run is made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from maskkit.flags import flag

__all__ = ["RunFlags"]


@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """What a training is made of."""

    data_dir: Path | None = flag(
        None,
        "Folder of <id>_<gender>_<race>_<age> folders; else $SM_CHANNEL_TRAIN, /opt/ml/input/data/train/images,"
        " or drawn faces when there is none of these.",
        section="Data",
    )
    dataset: str | None = flag(
        None,
        "How the folder is read and split; MaskSplitByProfileDataset where there is data, else DrawnFaces.",
        section="Data",
        kind="dataset",
    )
    dataset_args: dict[str, Any] = flag({}, "Options of the dataset.", section="Data")
    val_ratio: float = flag(0.2, "Share of the people held out for validation.", section="Data", above=0, maximum=0.9)
    folds: int | None = flag(
        None,
        "Train so many runs in one folder, each with another part of the people held out, and join their predictions.",
        section="Data",
        minimum=2,
        maximum=100,
    )
    fold: int | None = flag(
        None, "Of --folds, train this one alone; they are counted from 0.", section="Data", minimum=0, maximum=99
    )
    split_file: Path | None = flag(
        None, "Take the split from this CSV, sample or person and fold, such as the samples.csv of a run.",
        section="Data",
    )  # fmt: skip
    relabel: Literal["known"] | Path | None = flag(
        None,
        "Put labels right by this CSV, id,field,from,to; known: what several teams found in the competition's data.",
        section="Data",
    )
    drop_ages: tuple[str, ...] = flag(
        (), "Leave people of these ages out of training, as 27-29,57-59; they are scored as ever.", section="Data"
    )
    old_from: int = flag(
        60, "Call people old from this age on, in training; scores always do from 60 on.", section="Data",
        minimum=31, maximum=60,
    )  # fmt: skip
    balance: Literal["none", "class", "person_age"] = flag(
        "none", "Draw the classes equally often in an epoch, or the age groups, and in each of them its people.",
        section="Data",
    )  # fmt: skip
    oversample_old: float = flag(
        1.0, "Draw images of old people so many times as often as they would be.", section="Data", above=0, maximum=100
    )
    eval_dir: Path | Literal["auto", "none"] = flag(
        "auto", "Folder with info.csv and images/ to predict; auto: the eval folder beside train.", section="Data"
    )
    augmentation: str = flag("BaseAugmentation", "Preprocessing and augmentation.", section="Data", kind="augmentation")
    augmentation_args: dict[str, Any] = flag({}, "Options of the augmentation.", section="Data")
    mix: str | None = flag(None, "How the images of a batch are mixed with each other.", section="Data", kind="mix")
    mix_args: dict[str, Any] = flag({}, "Options of the mix.", section="Data")
    mix_probability: float = flag(1.0, "Share of the images that are mixed.", section="Data", above=0, maximum=1)
    resize: tuple[int, int] = flag(
        (128, 96), "Height and width that the network sees.", section="Data", minimum=16, maximum=4096
    )
    resize_from: tuple[int, int] | None = flag(
        None, "Begin with images of this size, and grow to --resize until two thirds of the epochs are done.",
        section="Data", minimum=16, maximum=4096,
    )  # fmt: skip
    on_bad_image: Literal["error", "skip"] = flag(
        "error", "What to do about images that cannot be read; skip leaves them out and lists them.", section="Data"
    )
    cache: Literal["auto", "ram", "disk", "none"] = flag(
        "auto",
        "Where images stay once they are prepared; disk: in a file that runs share, see maskkit cache; auto: in memory"
        " or else on disk, if a quarter of what is free there does.",
        section="Data",
    )
    batch_size: int | Literal["auto"] = flag(
        64, "Images at once; auto: as many as memory holds. It is halved when memory runs out.", section="Data",
        minimum=1, maximum=65536,
    )  # fmt: skip
    accumulate: int = flag(
        1, "Batches a step of each process; their losses are averaged by their sizes, so f1 or a weighted loss sees"
        " each batch by itself.",
        section="Data", minimum=1, maximum=65536,
    )  # fmt: skip
    valid_batch_size: int = flag(256, "Images a validation step.", section="Data", minimum=1, maximum=65536)
    num_workers: int | Literal["auto"] = flag(
        "auto",
        "Processes that decode images; auto fits the cores that are really available.",
        section="Data",
        minimum=0,
        maximum=256,
    )

    classification: Literal["multi", "mask", "gender", "age", "multihead"] = flag(
        "multi", "What to learn: one softmax of 18, one axis, or three heads composed to 18.", section="Model"
    )
    model: str = flag("BaseModel", "The network.", section="Model", kind="model")
    model_args: dict[str, Any] = flag({}, "Options of the network.", section="Model")
    pretrained: bool | Literal["auto"] = flag(
        "auto", "Start from ImageNet weights; auto: where the model has them.", section="Model"
    )
    weights: str | None = flag(
        None, "Start from this .pth or .safetensors file, or URL of one, instead.", section="Model"
    )

    criterion: str = flag(
        "cross_entropy", "The loss, or a sum of them, as cross_entropy+f1 or 0.3*cross_entropy+0.7*f1.",
        section="Optimisation", kind="loss",
    )  # fmt: skip
    criterion_args: dict[str, Any] = flag(
        {}, 'Options of the loss; of a sum, a JSON object of objects, as {"focal": {"gamma": 1}}.',
        section="Optimisation",
    )  # fmt: skip
    label_smoothing: float = flag(
        0.0, "Give the true class this much less than 1, in training, and the others the rest, whatever the loss.",
        section="Optimisation", minimum=0, maximum=0.9,
    )  # fmt: skip
    class_weights: Literal["none", "balanced"] = flag(
        "none", "Weigh classes by N/(K n_k) in a loss that can.", section="Optimisation"
    )
    epochs: int = flag(30, "Passes over the training images.", section="Optimisation", minimum=1)
    optimizer: str = flag("Adam", "The optimizer.", section="Optimisation", kind="optimizer")
    optimizer_args: dict[str, Any] = flag({}, "Options of the optimizer.", section="Optimisation")
    lr: float = flag(1e-3, "Learning rate.", section="Optimisation", above=0)
    first_layer_lr: float = flag(
        1.0, "Share of --lr at which the first layer learns; it grows from layer to layer, to all of it at the last.",
        section="Optimisation", above=0, maximum=1,
    )  # fmt: skip
    freeze_epochs: int = flag(
        0, "Train nothing but the last layer for so many epochs first.", section="Optimisation", minimum=0
    )
    weight_decay: float = flag(5e-5, "Weight decay.", section="Optimisation", minimum=0)
    scheduler: str = flag(
        "step10", "How the learning rate moves; step10 divides it by 10 after epochs 10, 20 and 25, counted from 0.",
        section="Optimisation", kind="scheduler",
    )  # fmt: skip
    scheduler_args: dict[str, Any] = flag({}, "Options of the scheduler.", section="Optimisation")
    lr_decay_step: int | None = flag(
        None, "Divide the learning rate by 10 every so many epochs (selects StepLR).", section="Optimisation", minimum=1
    )
    clip_norm: float | None = flag(None, "Clip the norm of the gradient to this.", section="Optimisation", above=0)
    ema_decay: float | None = flag(
        None,
        "Measure, keep and predict with a running mean of the weights, of which each step leaves this share; less in"
        " the first steps.",
        section="Optimisation", above=0, maximum=0.99999,
    )  # fmt: skip
    patience: int = flag(
        0, "Stop after so many epochs without a better validation macro F1; 0 never stops.", section="Optimisation",
        minimum=0,
    )  # fmt: skip

    device: str = flag("auto", "auto, cpu, cuda, cuda:1 or mps.", section="Machine")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = flag(
        "auto", "Number format of the network's arithmetic; the loss is always float32.", section="Machine"
    )
    compile: Literal["no", "default", "graphs"] = flag(
        "no",
        "Let torch compile the network, which takes minutes; graphs: as CUDA graphs too, where a GPU waits for Python.",
        section="Machine",
    )
    sync_batchnorm: bool = flag(
        False,  # noqa: FBT003
        "Let batch norms see the batches of all GPUs together, under torchrun; else each its own, and their statistics"
        " are averaged after each epoch.",
        section="Machine",
    )
    seed: int = flag(42, "Fixes the split, the weights, the order and the augmentation.", section="Machine", minimum=0)

    name: str = flag("exp", "Name of the run folder; -2, -3 .. is added when it exists.", section="Output")
    model_dir: Path | None = flag(None, "Folder of run folders; else $SM_MODEL_DIR, or runs.", section="Output")
    reporters: tuple[str, ...] = flag(
        ("console", "tensorboard", "csv"), "Who reports the run.", section="Output", kind="reporter"
    )
    reporters_args: dict[str, Any] = flag(
        {}, 'Options of each reporter: a JSON object of objects, as {"NAME": {"option": 1}}.', section="Output"
    )
    log_interval: int = flag(20, "Steps between two reports of the loss.", section="Output", minimum=1)
    test_flip: Literal["no", "predictions", "always"] = flag(
        "no", "Average each image with its mirror image in predictions; always: in the validation of each epoch too.",
        section="Output",
    )  # fmt: skip
