"""What ships in the box, offered through the same hooks as a stranger's package; the tables load no torch."""

from collections.abc import Iterable

from maskkit import Component, hookimpl

_EFFICIENTNET_PARAMETERS = {"b0": 5, "b1": 8, "b2": 9, "b3": 12, "b4": 19, "b5": 30, "b6": 43, "b7": 66}


@hookimpl
def maskkit_models() -> Iterable[Component]:
    yield Component(
        name="BaseModel",
        target="maskkit.builtin.base_model:base_model",
        summary="Three convolutions, for a laptop and for a first try",
    )
    for size, millions in _EFFICIENTNET_PARAMETERS.items():
        yield Component(
            name=f"Efficientnet_{size}",
            target=f"maskkit.builtin.models:efficientnet_{size}",
            summary=f"EfficientNet-{size.upper()}, {millions} M parameters, ImageNet weights by download",
            has_weights=True,
        )


@hookimpl
def maskkit_losses() -> Iterable[Component]:
    losses = {
        "cross_entropy": "Cross entropy",
        "focal": "Focal loss, gamma 2: hard images weigh more",
        "label_smoothing": "Cross entropy with smoothed labels, smoothing 0.01",
        "f1": "One minus the macro soft F1 of the batch",
    }
    for name, summary in losses.items():
        yield Component(name=name, target=f"maskkit.builtin.losses:{name}", summary=summary, soft_targets=True)


@hookimpl
def maskkit_augmentations() -> Iterable[Component]:
    augmentations = {
        "BaseAugmentation": ("base", "Centre crop, resize; nothing random"),
        "AffineAugmentation": (
            "affine",
            "Base, with shear, scale and colour jitter in training; flip=0.5 mirrors half",
        ),
        "GaussianAugmentation": ("gaussian", "Base, with colour jitter and Gaussian noise in training"),
    }
    for name, (factory, summary) in augmentations.items():
        yield Component(name=name, target=f"maskkit.builtin.augmentations:{factory}", summary=summary)


@hookimpl
def maskkit_mixes() -> Iterable[Component]:
    for name, summary in {
        "mixup": "Each image blended with its neighbour in the batch",
        "cutmix": "A rectangle of its neighbour pasted into each image",
        "half_face": "Left half of each image, right half of an old person's",
    }.items():
        yield Component(name=name, target=f"maskkit.builtin.mixes:{name}", summary=summary)


@hookimpl
def maskkit_datasets() -> Iterable[Component]:
    datasets = {
        "MaskSplitByProfileDataset": (
            "datasets:mask_split_by_profile",
            "Folders of profiles, split by person (the default)",
        ),
        "MaskBaseDataset": ("datasets:mask_base", "Folders of profiles, split by image: leaks people into validation"),
        "TestDataset": ("datasets:test_dataset", "A folder of images to predict, in the order of its info.csv"),
        "DrawnFaces": ("drawn_dataset:drawn_faces", "Faces drawn on the spot, for a first try without data"),
    }
    for name, (factory, summary) in datasets.items():
        yield Component(name=name, target=f"maskkit.builtin.{factory}", summary=summary)


@hookimpl
def maskkit_optimizers() -> Iterable[Component]:
    for name, summary in {
        "SGD": "Stochastic gradient descent, Nesterov momentum 0.9",
        "Adam": "Adam, the decay added to the gradient",
        "AdamW": "Adam with decoupled weight decay",
    }.items():
        yield Component(name=name, target=f"maskkit.builtin.optimizers:{name.lower()}", summary=summary)


@hookimpl
def maskkit_schedulers() -> Iterable[Component]:
    schedulers = {
        "step10": "A tenth after epochs 10, 20 and 25, counted from 0",
        "StepLR": "A tenth every step_size epochs",
        "cosine": "Down to zero along a cosine, step by step; warmup_epochs=1 rises to it first",
        "warm_restarts": "Cosines that start again, each longer than the last",
        "plateau": "A tenth when validation macro F1 stands still",
    }
    for name, summary in schedulers.items():
        yield Component(name=name, target=f"maskkit.builtin.schedulers:{name.lower()}", summary=summary)


@hookimpl
def maskkit_reporters() -> Iterable[Component]:
    reporters = {
        "console": ("ConsoleReporter", "Progress and tables by Rich; plain lines without a terminal"),
        "tensorboard": ("TensorBoardReporter", "Curves, flags beside results, confusion and mistakes for TensorBoard"),
        "csv": ("CsvReporter", "metrics.csv, a row an epoch"),
        "profile": ("ProfileReporter", "Where the time of a step goes: a trace for Perfetto and a table, by --profile"),
    }
    for name, (factory, summary) in reporters.items():
        yield Component(name=name, target=f"maskkit.builtin.{name}_reporter:{factory}", summary=summary)
    yield Component(
        name="nni",
        target="maskkit.tuning.nni.trial:NniReporter",
        summary="Macro F1 for the tuner of NNI, by itself in every trial; silent elsewhere",
    )


@hookimpl
def maskkit_votes() -> Iterable[Component]:
    yield Component(
        name="soft",
        target="maskkit.builtin.votes:soft",
        summary="Weighted mean of the probabilities",
        rowwise=True,
    )
    yield Component(
        name="hard",
        target="maskkit.builtin.votes:hard",
        summary="Weighted count of the answers; takes hard files too",
        from_answers=True,
        rowwise=True,
    )


@hookimpl
def maskkit_tuners() -> Iterable[Component]:
    yield Component(
        name="nni",
        target="maskkit.tuning.nni.tuner:NniTuner",
        summary="NNI 3.0, here or on other machines by ssh; pip install 'maskkit[nni]'",
        algorithms=("TPE", "Random", "Evolution", "Hyperband", "GP"),
    )
