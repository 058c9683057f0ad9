"""The hooks, each of which returns records of what a plugin offers.

A plugin is a module named by an entry point in the group `maskkit`; it implements any of these with `@hookimpl`. Each
example below is a whole one: the file my_plugin.py, to which the entry point `mine = "my_plugin"` leads. What is heavy
is imported within the factory, so that listing plugins loads no torch. A factory may as well stand in a module of its
own, which is imported when it is first used: `target="my_package.losses:Tempered"`.
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
    '''Offer networks.

    `maskkit train --model=NAME` trains one. `has_weights=True` says that it can load weights: only then is `pretrained`
    ever true. `mean` and `std` of their images replace maskkit's own; `size`, their height and width, is only noted.

    Example:
        from maskkit import Component, hookimpl

        @hookimpl
        def maskkit_models():
            yield Component(name="tiny", target="my_plugin:tiny", summary="One convolution")

        def tiny(num_outputs, *, pretrained, width: int = 16):
            """Return one convolution of so many channels, and a linear layer."""
            from torch import nn

            layers = [nn.Conv2d(3, width, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
            return nn.Sequential(*layers, nn.Linear(width, num_outputs))
    '''
    return []


@hookspec
def maskkit_losses() -> Iterable[Component]:
    '''Offer losses.

    `maskkit train --criterion=NAME` minimises one; each head of the network has one of its own. `soft_targets=True`
    says that it takes rows of probabilities [B, C] as well as classes [B], which `--mix` needs.

    Example:
        from maskkit import Component, hookimpl

        @hookimpl
        def maskkit_losses():
            yield Component(name="tempered", target="my_plugin:tempered", summary="Milder", soft_targets=True)

        def tempered(*, num_classes, class_counts, temperature: float = 2.0):
            """Return the cross entropy of logits divided by the temperature."""
            from torch import nn

            class Tempered(nn.CrossEntropyLoss):
                def forward(self, logits, targets):
                    return super().forward(logits / temperature, targets)

            return Tempered()
    '''
    return []


@hookspec
def maskkit_augmentations() -> Iterable[Component]:
    '''Offer preprocessing, and what training adds to it.

    `maskkit train --augmentation=NAME` uses one. `prepare` (an RGB picture -> uint8 [3, H, W]) is deterministic and all
    that validation sees; it goes to other processes, so it is a function of the module. `augment` (float [B, 3, H, W]
    in [0, 1] -> the same) varies a training batch by its `draws`.

    Example:
        from functools import partial
        from maskkit import Component, hookimpl

        @hookimpl
        def maskkit_augmentations():
            yield Component(name="mirror", target="my_plugin:mirror", summary="Resize; some mirrored")

        def mirror(*, size, share: float = 0.5):
            """Resize every picture; mirror such a share of those to learn from."""
            from maskkit import Augmentation

            def augment(images, draws):
                return images.where(draws.uniform(1, 1, 1) >= share, images.flip(3))

            return Augmentation(prepare=partial(resized, size=size), augment=augment)

        def resized(image, size):
            from torchvision.transforms.functional import pil_to_tensor

            return pil_to_tensor(image.resize((size[1], size[0])))
    '''
    return []


@hookspec
def maskkit_mixes() -> Iterable[Component]:
    '''Offer ways of mixing the images of a batch with each other.

    `maskkit train --mix=NAME` mixes training batches by one, after they were augmented: each row of the targets in the
    same shares as its image.

    Example:
        from maskkit import Component, hookimpl

        @hookimpl
        def maskkit_mixes():
            yield Component(name="ghost", target="my_plugin:ghost", summary="A faint neighbour")

        def ghost(*, num_classes, most: float = 0.2):
            """Show a neighbour through each image, by a share up to `most`."""
            def mix(images, targets, draws):
                share = most * draws.uniform(1)
                mixed = images.lerp(images.roll(1, 0), share[:, :, None, None])
                return mixed, targets.lerp(targets.roll(1, 0), share)

            return mix
    '''
    return []


@hookspec
def maskkit_datasets() -> Iterable[Component]:
    '''Offer readers of folders of images.

    `maskkit train --dataset=NAME --data_dir=FOLDER` reads one. What it gives holds a pandas table, a row an image, with
    the columns path (absolute), sample (unique) and person, all text, and as whole numbers mask (0 worn, 1 worn
    wrongly, 2 not worn), gender (0 male, 1 female) and age in years. `help(maskkit.Samples)` tells the rest.

    Example:
        from maskkit import Component, hookimpl
        from maskkit.errors import UsageError

        @hookimpl
        def maskkit_datasets():
            yield Component(name="listed", target="my_plugin:listed", summary="Images that a CSV lists")

        def listed(data_dir, *, file: str = "faces.csv"):
            """Read the images that a CSV file of the folder lists."""
            import pandas
            from maskkit import Samples

            if data_dir is None:
                raise UsageError("listed needs a folder", hint="Type --data_dir=FOLDER.")
            table = pandas.read_csv(data_dir / file, dtype={"sample": str, "person": str})
            return Samples(table.assign(path=[str(data_dir.absolute() / name) for name in table["sample"]]))
    '''
    return []


@hookspec
def maskkit_optimizers() -> Iterable[Component]:
    '''Offer optimizers.

    `maskkit train --optimizer=NAME` moves the weights by one, with `--lr` and `--weight_decay`.

    Example:
        from maskkit import Component, hookimpl

        @hookimpl
        def maskkit_optimizers():
            yield Component(name="RMSprop", target="my_plugin:rmsprop", summary="RMSprop of torch")

        def rmsprop(parameters, *, lr, weight_decay, momentum: float = 0.9):
            """Return RMSprop."""
            from torch.optim import RMSprop

            return RMSprop(parameters, lr=lr, weight_decay=weight_decay, momentum=momentum)
    '''
    return []


@hookspec
def maskkit_schedulers() -> Iterable[Component]:
    '''Offer schedules of the learning rate.

    `maskkit train --scheduler=NAME` follows one. It moves after every epoch or, as here, after every step.

    Example:
        from maskkit import Component, Schedule, hookimpl

        @hookimpl
        def maskkit_schedulers():
            yield Component(name="warm_up", target="my_plugin:warm_up", summary="From a tenth to all")

        def warm_up(optimizer, *, epochs, steps_per_epoch, over: int = 1):
            """Rise to the full rate over so many epochs."""
            from torch.optim.lr_scheduler import LinearLR

            steps = over * steps_per_epoch
            return Schedule(LinearLR(optimizer, start_factor=0.1, total_iters=steps), interval="step")
    '''
    return []


@hookspec
def maskkit_reporters() -> Iterable[Component]:
    '''Offer reporters of a run's events.

    `maskkit train --reporters=NAME,console` tells all that it names of the run, and nobody else.

    Example:
        from maskkit import Component, Reporter, hookimpl

        @hookimpl
        def maskkit_reporters():
            yield Component(name="best", target="my_plugin:Best", summary="best.txt, the best epoch so far")

        class Best(Reporter):
            """Keep the best epoch so far in best.txt."""

            def on_run_start(self, run):
                self.file = run.run_dir / "best.txt"

            def on_epoch_end(self, result):
                if result.is_best:
                    self.file.write_text(f"epoch {result.epoch}: macro F1 {result.macro_f1:.4f}\\n")
    '''
    return []


@hookspec
def maskkit_votes() -> Iterable[Component]:
    '''Offer rules of voting.

    `maskkit vote A.csv B.csv --how=NAME --out=vote.csv` votes by one. `from_answers=True` says that it takes files of
    answers, as rows of one 1, beside files of probabilities; `rowwise=True` that it scores each image by its own rows
    alone: then it is given some images at a time, and files may be larger than the memory.

    Example:
        from maskkit import Component, hookimpl

        @hookimpl
        def maskkit_votes():
            target = "my_plugin:geometric"
            yield Component(name="geometric", target=target, summary="Geometric mean", rowwise=True)

        def geometric():
            """Return the weighted geometric mean."""
            def rule(probabilities, weights):
                powers = (weights / weights.sum())[:, None, None]
                mixed = (probabilities.clip(1e-9) ** powers).prod(axis=0)
                return mixed / mixed.sum(axis=1, keepdims=True)

            return rule
    '''
    return []


@hookspec
def maskkit_tuners() -> Iterable[Component]:
    '''Offer engines of searches for the best flags.

    `maskkit tune --engine=NAME` searches with one; `algorithms` are what its `--tuner` takes, the first by default. It
    chooses, starts `maskkit train` for each choice, and tells of its trials; maskkit reads the space, shows the table
    and the best. `maskkit.LocalExperiment` trains on this machine what a function chooses, in the form of NNI.

    Example:
        from random import Random
        from maskkit import Component, LocalExperiment, hookimpl

        @hookimpl
        def maskkit_tuners():
            summary = "Choices, at random"
            yield Component(name="dice", target="my_plugin:Dice", summary=summary, algorithms=("Random",))

        class Dice:
            """Choose each value of each trial at random."""

            is_local = True

            def __init__(self, *, algorithm, seed: int = 0):
                self.seed = seed

            def objection(self, parameter, entry):
                is_plain = entry["_type"] == "choice" and not any(isinstance(one, dict) for one in entry["_value"])
                return "" if is_plain else "is no plain choice, which is all that dice knows"

            def check(self, search):
                """Nothing is needed."""

            def start(self, search, name=None):
                def choose(number, trials):
                    draws = Random(f"{self.seed} {number}")
                    return {name: draws.choice(entry["_value"]) for name, entry in search.space.items()}

                return LocalExperiment(search, choose, name)

            def resume(self, search, name, memory):
                return self.start(search, name)
    '''
    return []


@hookspec
def maskkit_commands() -> Iterable[Component]:
    '''Offer commands.

    `maskkit NAME` runs one; there is no other flag to choose it. `maskkit.load_run(RUN)` gives it a trained run: the
    network, what prepares its images, and the probabilities of its logits.

    Example:
        from pathlib import Path
        from typing import Annotated
        from maskkit import Component, hookimpl

        @hookimpl
        def maskkit_commands():
            yield Component(name="count", target="my_plugin:count", summary="Count the images of a folder.")

        def count(folder: Annotated[Path, "Where they are."], /, *, least: Annotated[int, "Fail below."] = 1):
            """maskkit count photos --least=100"""
            from maskkit import find_images

            found = len(find_images(folder))
            print(f"{found} images")
            return 0 if found >= least else 1
    '''
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
    "tuner": maskkit_tuners,
    "command": maskkit_commands,
}
"""The kinds of component, each with the hook that offers it."""
