"""Components with one fault each, and the sentence by which the kit tells its author: what `test_kit.py` runs."""

from typing import NamedTuple

from fault_sources import (
    augmentation,
    command,
    dataset,
    factory,
    loss,
    mix,
    network,
    optimizer,
    reporter,
    scheduler,
    signed,
    tuner,
    vote,
)

__all__ = ["COMPONENTS", "Fault"]

# By the check that finds them: a part of what is said, the code, and what the record says beside it.
Faults = dict[str, list[tuple[str, str] | tuple[str, str, str]]]


class Fault(NamedTuple):
    """A faulty component: its kind, the check that finds it, what is said of it, its code, and its record."""

    kind: str
    check: str
    sentence: str
    code: str
    record: str = ""


RECORDS: Faults = {
    "its name and summary fit in the list": [
        (
            "its summary must fit in a line of list-plugins, 100 characters",
            network("logits"),
            f'summary="{"long " * 21}"',
        ),
        ("its name must fit in a line of list-plugins, 40 characters", network("logits"), f'name="{"long" * 11}"'),
    ],
    "its name is not another's in other letters": [
        ("maskkit offers the model BaseModel; choose another", network("logits"), 'name="BASEmodel"'),
    ],
    "its factory can be imported": [
        ("parts:broken must be importable, but that raised ModuleNotFoundError", "import absent_module"),
        ("parts:broken must be a function or a class, but is 3", "broken = 3"),
    ],
    "its factory has a docstring": [
        ("the class", "class broken(nn.Module):\n    pass"),
        ("the function", "def broken(num_outputs, *, pretrained):\n    pass"),
    ],
    "it takes what maskkit passes": [
        (
            "but it takes (num_outputs, *, pretraind); add the argument pretrained",
            signed("num_outputs, *, pretraind"),
        ),
        ("it takes (*, num_outputs, pretrained): too many positional arguments", signed("*, num_outputs, pretrained")),
    ],
    "its options are spelled out": [
        ("but **options would swallow a mistyped one", signed("num_outputs, *, pretrained, **options")),
        ("its option drop must be keyword-only", signed("num_outputs, pretrained, drop: float = 0.1")),
    ],
    "its options have defaults": [
        ("its option drop must have a default", signed("num_outputs, *, pretrained, drop: float")),
    ],
    "its options can be typed": [
        ("its option drop must have a type", signed("num_outputs, *, pretrained, drop=0.1")),
        (
            "its option drop must be of a type that text can be turned into, but is list[float]",
            signed("num_outputs, *, pretrained, drop: list[float] = 1"),
        ),
        (
            "its option drop must be of a type that text can be turned into, but is Absent",
            signed('num_outputs, *, pretrained, drop: "Absent" = 1'),
        ),
        (
            "the default of its option drop must be of its type, FLOAT, but is None",
            signed("num_outputs, *, pretrained, drop: float = None"),
        ),
        (
            "the default of its option size must be of its type, HxW or None, but is (1, 2, 3)",
            signed("num_outputs, *, pretrained, size: tuple[int, int] | None = (1, 2, 3)"),
        ),
    ],
}

MODELS: Faults = {
    "it gives as many logits as it is asked for": [
        (
            "for 2 images and num_outputs=8 the logits must have the shape [2, 8], but have [2, 18]",
            factory("model", "return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 18))"),
        ),
        ("it must give a torch.nn.Module, but gave str", factory("model", 'return "network"')),
        (
            "its factory, called with (18, pretrained=False), must give a model, but raised ValueError: no",
            factory("model", 'raise ValueError("no")'),
        ),
        ("the logits must be float32, but are torch.float64", network("logits.double()")),
        ("the logits must be finite", network("logits / 0")),
    ],
    "it takes images of other sizes": [
        (
            "it must take images of any size, but for 96x80 it raised RuntimeError",
            factory("model", "return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 48, num_outputs))"),
        ),
    ],
    "every parameter gets a finite gradient": [
        (
            "every parameter must take part, but spare gets no gradient",
            network("logits", "self.spare = nn.Parameter(torch.zeros(1))"),
        ),
        (
            "gradients must be finite, but that of sharp is not",
            network("logits + self.sharp.sqrt()", "self.sharp = nn.Parameter(torch.zeros(1))"),
        ),
        ("none has requires_grad", network("logits", "self.requires_grad_(False)")),
        ("its logits must lead back", network("logits.detach()")),
    ],
    "evaluation gives the same twice": [
        ("in evaluation it must give the same logits each time", network("nn.functional.dropout(logits)")),
    ],
    "evaluation takes each image by itself": [
        ("the logits of an image must not depend on its batch", network("logits - 5 * logits.mean(0)")),
    ],
    "it comes back from its state": [
        (
            "a new network that loads the state_dict must give the same logits",
            network("logits + self.offset", "self.offset = torch.randn(num_outputs)"),
        ),
    ],
    "its state fits into a checkpoint": [
        (
            "a checkpoint cannot hold model._extra_state, which is {1}",
            network("logits") + "\nNet.get_extra_state = lambda self: {1}\n",
        ),
    ],
    "it bears bfloat16": [
        (
            "under torch.autocast in bfloat16 its logits must be finite",
            network("logits * (1.0 if logits.dtype == torch.float32 else float('inf'))"),
        ),
    ],
}

LOSSES: Faults = {
    "it gives one finite number": [
        (
            "for 8 images of 2 classes it must give one number, but gave the shape [8]",
            factory("loss", 'return nn.CrossEntropyLoss(reduction="none")'),
        ),
        (
            "for logits of 30 for the right one of 2 classes it must give a finite number, but gave inf",
            loss("-(1 - p.gather(1, targets[:, None])).log().mean()"),
        ),
        ("for one image of 2 classes it must give a finite number, but gave nan", loss("plain / logits[:, 0].std()")),
        ("it must give float32, but gave torch.float64", loss("plain.double()")),
        (
            "must give a loss, but raised ZeroDivisionError",
            factory("loss", "return [1 / int(count) for count in class_counts]"),
        ),
    ],
    "its gradients are finite": [
        (
            "for logits of 30 for the right one of 2 classes its gradient must be finite",
            loss("(1 - p.gather(1, targets[:, None])).sqrt().mean()"),
        ),
        ("its number must lead back to the logits", loss("plain.detach()")),
    ],
    "it gives the same twice": [
        ("in evaluation it must give the same number each time", loss("plain + torch.rand(())")),
    ],
    "its state fits into a checkpoint": [
        (
            "a checkpoint cannot hold objective._extra_state, which is {1}",
            loss("plain", "def get_extra_state(self): return {1}"),
        ),
    ],
    "it takes rows of one 1 as classes": [
        (
            "for 8 images of 2 classes it gave",
            loss("plain * (2 if targets.is_floating_point() else 1)"),
            "soft_targets=True",
        ),
    ],
    "it weighs the shares of mixed rows": [
        (
            "rows with shares of .9 and .1 must count otherwise than those of .6 and .4",
            loss("nn.functional.cross_entropy(logits, targets.argmax(1) if targets.ndim == 2 else targets)"),
            "soft_targets=True",
        ),
    ],
    "it takes mixed rows": [
        (
            "for rows that mix two of 3 classes it must give a finite number, but gave nan",
            loss("plain + (targets * targets.log()).sum()"),
            "soft_targets=True",
        ),
    ],
}

AUGMENTATIONS: Faults = {
    "it gives an Augmentation": [
        (
            "it must give a maskkit.Augmentation, but gave function",
            factory("augmentation", "return lambda image: image"),
        ),
    ],
    "prepare takes any photo": [
        (
            "must make a photo of 90x60 uint8 [3, 40, 32], but it gave torch.uint8 [3, 32, 40]",
            augmentation(prepare="pixels.transpose(1, 2)"),
        ),
        ("uint8 [3, 40, 32], but it gave torch.float32 [3, 40, 32]", augmentation(prepare="pixels / 255")),
        ("but it gave ndarray", augmentation(prepare="pixels.numpy()")),
    ],
    "prepare gives the same twice": [
        ("prepare must give the same for the same photo", augmentation(prepare="pixels + np.random.randint(9)")),
    ],
    "prepare reaches other processes": [
        ("pickling it raised", factory("augmentation", "return Augmentation(lambda image: image)")),
    ],
    "augment keeps shape, type and range": [
        ("augment must give pixels in 0..1, but gave", augmentation("images * 2")),
        (
            "augment must give float32 [5, 3, 40, 32], but gave torch.float32 [5, 1, 40, 32]",
            augmentation("images[:, :1]"),
        ),
    ],
    "augment takes each image by itself": [
        ("must not depend on the others of its batch", augmentation("images * images.mean()")),
    ],
    "augment draws from its draws alone": [
        ("augment must depend on its draws alone", augmentation("images * torch.rand(len(images), 1, 1, 1)")),
        (
            "leave the global generators of random numbers as they are, but moved that of numpy",
            augmentation("(np.random.rand(), images)[1]"),
        ),
    ],
}

MIXES: Faults = {
    "it keeps shapes and types": [
        ("for 8 images it must give (images, targets), two tensors, but gave Tensor", mix("images")),
        (
            "for 8 images its targets must be float32 [8, 18], but are torch.int64 [8]",
            mix("(images, targets.argmax(1))"),
        ),
        (
            "for 1 images its images must be float32 [1, 3, 40, 32], but are torch.float32 [0, 3, 40, 32]",
            mix("(images[: len(images) // 4 * 8 or len(images) // 5 * 5], targets)"),
        ),
        ("it must give a function of (images, targets, draws), but gave NoneType", factory("mix", "return None")),
    ],
    "its targets go on summing to 1": [
        ("each row of its targets must sum to 1, but one sums to 2", mix("(images, targets + targets.roll(1, 0))")),
        (
            "its targets must be shares of 0 or more, but the lowest is -1",
            mix("(images, 2 * targets - targets.roll(1, 1))"),
        ),
    ],
    "its pixels stay in range": [
        ("its images must have pixels in 0..1, but have", mix("(images + images.roll(1, 0), targets)")),
    ],
    "targets have the shares of their images": [
        ("must have the shares of its image", mix("(images.roll(1, 0), targets)")),
    ],
    "it draws from its draws alone": [
        ("it must depend on its draws alone", mix("(images[torch.randperm(len(images))], targets)")),
        ("but moved that of torch", mix("(torch.rand(1), (images, targets))[1]")),
    ],
}

DATASETS: Faults = {
    "it gives images that open": [
        ("it must give maskkit.Samples, but gave DataFrame", dataset("table")),
        ("the files of its table must open, but", dataset('Samples(table.assign(path=table["path"] + "x"))')),
        ("must give a dataset, but raised KeyError: 'image'", dataset('Samples(table["image"])')),
    ],
    "it reads the same twice": [
        (
            "it must read a folder the same way each time",
            dataset("Samples(table.assign(age=random.sample(range(1, 100), 8)))"),
        ),
    ],
    "its split keeps units together": [
        ("and train on others (1), but gave folds [1]", dataset("Folds(table)", "np.ones(8, int)")),
        ("keep each person together, but ['a'] fell on both sides", dataset("Folds(table)", "np.arange(8) % 2")),
        ("must give a fold for each image, but gave (3,)", dataset("Folds(table)", "np.arange(3)")),
        ("a split must be the same for the same seed", dataset("Folds(table)", "np.random.rand(8) > 0.5")),
    ],
}

OPTIMIZERS: Faults = {
    "it gives an optimizer of the lr asked for": [
        ("must give a torch.optim.Optimizer, which schedules can move, but gave str", optimizer('"SGD"')),
        ("must have the lr that it was given, 0.01, but has 0.02", optimizer("Odd(parameters, lr=2 * lr)")),
        ("it must hold every parameter that it was given", optimizer("Odd([next(parameters)], lr=lr)")),
    ],
    "it makes a loss smaller": [
        (
            "100 steps of lr 0.01 must make the loss of a small bowl smaller",
            optimizer("Odd(parameters, lr=lr, maximize=True)"),
        ),
    ],
    "it heeds the weight decay": [
        ("weight_decay must change what it does", optimizer("Odd(parameters, lr=lr)")),
    ],
    "it goes on from its state to the same bits": [
        (
            "must take the same next step to the bit",
            optimizer("Odd(parameters, lr=lr)", "self.param_groups[0]['lr'] = 0.01 / self.num_steps; super().step()"),
        ),
    ],
    "its state fits into a checkpoint": [
        (
            "a checkpoint cannot hold optimizer.param_groups.0.rule, which is <built-in function print>",
            optimizer('Odd([{"params": list(parameters), "rule": print}], lr=lr)'),
        ),
    ],
}

SCHEDULERS: Faults = {
    "it gives a Schedule": [
        ("it must give a maskkit.Schedule, but gave StepLR", scheduler("StepLR(optimizer, 3)")),
        ('must be "epoch" or "step", but is \'batch\'', scheduler('Schedule(StepLR(optimizer, 3), interval="batch")')),
        (
            "must be a column of metrics.csv, but is 'f1'",
            scheduler('Schedule(ReduceLROnPlateau(optimizer), monitor="f1")'),
        ),
        (
            "watches valid_loss, which is known once an epoch",
            scheduler('Schedule(ReduceLROnPlateau(optimizer), interval="step", monitor="valid_loss")'),
        ),
    ],
    "its lrs are sane in runs of any length": [
        (
            "but is -0.1 in step 9 of a run of 6 epochs of 4 steps",
            scheduler("Schedule(LambdaLR(optimizer, lambda epoch: 1 - epoch))"),
        ),
        ("ZeroDivisionError", scheduler("Schedule(LambdaLR(optimizer, lambda epoch: 1 / (epochs - 1)))")),
    ],
    "it goes on from its state with the same lrs": [
        (
            "must go on with the same lrs, but step 5 after it has 0.1 instead of 0.01",
            scheduler(
                "Schedule(Odd(optimizer, 4))",
                "state_dict = lambda self: {}; load_state_dict = lambda self, state: None",
            ),
        ),
    ],
    "its state fits into a checkpoint": [
        (
            "a checkpoint cannot hold scheduler.rule",
            scheduler(
                "Schedule(Odd(optimizer, 4))", "def __init__(self, *given): self.rule = print; super().__init__(*given)"
            ),
        ),
    ],
}

REPORTERS: Faults = {
    "it is a Reporter": [
        ("it must give a maskkit.Reporter, but gave object", factory("reporter", "return object()")),
    ],
    "it hears a whole run": [
        (
            "on_step_end must bear a step without a loss, but raised TypeError",
            reporter("on_step_end(self, step): format(step.loss, '.3f')"),
        ),
        (
            "on_epoch_end must bear an epoch without some of the metrics, but raised",
            reporter("on_epoch_end(self, result): sum(result.metrics.values())"),
        ),
    ],
    "it hears of a run that fails at once": [
        (
            "on_run_end must bear a run that fails before its first epoch is done",
            reporter("on_run_end(self, outcome): outcome.best.macro_f1"),
        ),
    ],
    "it goes on with a resumed run": [
        (
            "on_run_start must bear a run that goes on at epoch 2, but raised FileExistsError",
            reporter("on_run_start(self, run): (run.run_dir / 'mine').mkdir()"),
        ),
    ],
    "it changes nothing": [
        (
            "it must only watch, but changed what on_epoch_end was given",
            reporter("on_epoch_end(self, result): result.counts.fill(0)"),
        ),
        ("but moved that of random", reporter("on_epoch_end(self, result): random.random()")),
    ],
}

VOTES: Faults = {
    "it gives a row an image": [
        ("it must give numbers of the shape (30, 2), but gave (30,)", vote("mean.argmax(1)")),
        ("its numbers must be finite", vote("mean / (weights.min() * mean)")),
        ("but gave list", vote("mean.tolist()")),
        ("it must give a function of (probabilities, weights), but gave str", factory("vote", 'return "soft"')),
    ],
    "it changes none of its inputs": [
        ("it must leave the arrays that it is given as they are", vote("mean", "weights /= 2 * weights.sum()")),
    ],
    "the order of files does not matter": [
        ("the order of the files must not matter", vote("probabilities[0]")),
    ],
    "one file alone keeps its answers": [
        ("it must keep the answers of one file alone, but changed 30 of 30", vote("-mean")),
        ("it must keep the answers of one file alone", vote("mean % 1"), "from_answers=True"),
    ],
    "files that agree keep their answers": [
        (
            "it must keep the answers on which all files agree, but changed 30 of 30",
            vote("mean if len(weights) == 1 else -mean"),
        ),
    ],
    "images that are voted on apart keep their scores": [
        ("must not depend on the other images", vote("mean / mean.max()"), "rowwise=True"),
    ],
}

COMMANDS: Faults = {
    "it has the form of a command": [
        ("its signature must make words and flags: count must be annotated", command("*, count=3")),
        ("--debug is maskkit's own", command('*, debug: Annotated[bool, "Say more."] = False')),
    ],
    "its help has an example": [
        (
            'must have an example; add a line to its docstring that begins with "maskkit broken"',
            command(example="Type broken."),
        ),
    ],
    "its examples can be typed": [
        (
            "'maskkit broken --cuont=3' must be a line that can be typed, but unknown flag --cuont",
            command(example="maskkit broken --cuont=3"),
        ),
        ("but it begins with maskkit borken", command(example="maskkit borken")),
        ("but it is No closing quotation", command(example="maskkit broken 'a")),
    ],
    "its flags differ": [
        (
            "--no-strict is also how --strict is switched off",
            command('*, strict: Annotated[bool, "Be strict."] = True, no_strict: Annotated[bool, "Be mild."] = True'),
        ),
    ],
    "its defaults are of their types": [
        (
            "the default of --count must be of its type, but: --count must be a whole number; received 1.5",
            command('*, count: Annotated[int, "How many."] = 1.5'),
        ),
    ],
}

NAMED = 'algorithms=("Random",)'
TUNERS: Faults = {
    "it gives a Tuner": [
        ("it must give a maskkit.Tuner, but dict has no method objection, check", factory("tuner", "return {}"), NAMED),
        ("its is_local must be True or False, but is 'here'", tuner('is_local = "here"'), NAMED),
    ],
    "it names its algorithms": [
        ('add algorithms=("Random",) to its Component', tuner()),
        ("must differ by more than case, but are TPE, tpe", tuner(), 'algorithms=("TPE", "tpe")'),
    ],
    "it says what it cannot search": [
        (
            "empty where lr can be searched, but gave None",
            tuner("def objection(self, parameter, entry): return None"),
            NAMED,
        ),
        (
            "but objects to all of lr, weight_decay",
            tuner("def objection(self, parameter, entry): return 'is none of mine'"),
            NAMED,
        ),
    ],
    "it searches to its end": [
        ("the numbers must be 0 and 1, in this order, but are [1, 0]", tuner(trials="[ended(1), ended(0)]"), NAMED),
        (
            "every trial must have ended, but one is RUNNING",
            tuner(trials='[ended(0), ended(1, status="RUNNING")]'),
            NAMED,
        ),
        ("a trial must succeed", tuner(trials='[ended(n, status="FAILED") for n in range(search.trials)]'), NAMED),
        (
            "must be its best score, 0.5, but is 0.75",
            tuner(trials="[ended(n, final=0.75) for n in range(search.trials)]"),
            NAMED,
        ),
        (
            "must be those of the space, lr, weight_decay, patience, criterion, but are {'model': 'x'}",
            tuner(trials="[ended(n, flags={'model': 'x'}) for n in range(search.trials)]"),
            NAMED,
        ),
    ],
    "it goes on with a search": [
        ("must add one trial and end it, but there are 2", tuner(trials="[ended(0), ended(1)]"), NAMED),
        (
            "must keep the trials that had ended, but one became another",
            tuner(trials="[ended(n, flags={'lr': search.trials}) for n in range(search.trials)]"),
            NAMED,
        ),
    ],
}

TABLES = {
    "loss": LOSSES,
    "augmentation": AUGMENTATIONS,
    "mix": MIXES,
    "dataset": DATASETS,
    "optimizer": OPTIMIZERS,
    "scheduler": SCHEDULERS,
    "reporter": REPORTERS,
    "vote": VOTES,
    "tuner": TUNERS,
    "command": COMMANDS,
}
COMPONENTS = [
    Fault(kind, check, *told)
    for kind, table in [("model", RECORDS), ("model", MODELS), *TABLES.items()]
    for check, faults in table.items()
    for told in faults
]
