"""The code of components in which one expression is left to fill in, so that each fault of a test stands alone."""

from textwrap import dedent, indent

__all__ = ["augmentation", "command", "dataset", "factory", "loss", "mix", "network", "optimizer", "reporter"]
__all__ += ["scheduler", "signed", "tuner", "vote"]


# What each kind's factory takes when it is well; a fault is its body, and the name of each is `broken`.
FACTORIES = {
    "model": "num_outputs, *, pretrained",
    "loss": "*, num_classes, class_counts",
    "augmentation": "*, size",
    "mix": "*, num_classes",
    "dataset": "data_dir",
    "optimizer": "parameters, *, lr, weight_decay",
    "scheduler": "optimizer, *, epochs, steps_per_epoch",
    "reporter": "",
    "vote": "",
    "tuner": "*, algorithm",
}


def factory(kind: str, body: str, before: str = "") -> str:
    """Return a module with a factory of that body, after a class or function that it uses."""
    head = f'def broken({FACTORIES[kind]}):\n    """Give something."""\n'
    return f"{dedent(before)}\n\n{head}{indent(dedent(body).strip(), '    ')}\n"


def network(forward: str, init: str = "pass") -> str:
    """Return a module with a network of one layer, made and used as said."""
    return factory(
        "model",
        "return Net(num_outputs)",
        f"""
        class Net(nn.Module):
            def __init__(self, num_outputs):
                super().__init__()
                self.head = nn.Linear(3, num_outputs)
                {init}

            def forward(self, images):
                logits = self.head(images.mean((2, 3)))
                return {forward}
        """,
    )


def loss(forward: str, methods: str = "") -> str:
    """Return a module with a loss, whose `p` are the probabilities [B, C]."""
    return factory(
        "loss",
        "return Loss()",
        f"""
        class Loss(nn.Module):
            def forward(self, logits, targets):
                p, plain = logits.softmax(1), nn.functional.cross_entropy(logits, targets)
                return {forward}

            {methods}
        """,
    )


def augmentation(augment: str = "images", prepare: str = "pixels") -> str:
    """Return a module with an augmentation of some expression each."""
    return factory(
        "augmentation",
        "return Augmentation(partial(prepare, size=size), augment)",
        f"""
        def prepare(image, size):
            pixels = torch.from_numpy(np.array(image.resize((size[1], size[0])))).permute(2, 0, 1)
            return {prepare}

        def augment(images, draws):
            return {augment}
        """,
    )


def mix(mixed: str) -> str:
    """Return a module with a mix that gives some expression."""
    return factory("mix", f"return lambda images, targets, draws: {mixed}")


def dataset(samples: str, more: str = "") -> str:
    """Return a module with a data set that has a table of eight images of four people."""
    return factory(
        "dataset",
        f"""
        paths = sorted(str(path) for path in data_dir.rglob("*.jpg"))[:8]
        table = pd.DataFrame({{"path": paths, "sample": paths, "person": list("aabbccdd")}})
        table = table.assign(mask=0, gender=0, age=30)
        return {samples}
        """,
        f"""
        class Folds(Samples):
            def split(self, *, val_ratio, seed):
                return {more or "super().split(val_ratio=val_ratio, seed=seed)"}
        """,
    )


def optimizer(given: str, step: str = "return super().step(closure)") -> str:
    """Return a module with an optimizer."""
    return factory(
        "optimizer",
        f"return {given}",
        f"""
        class Odd(torch.optim.SGD):
            num_steps = 0

            def step(self, closure=None):
                self.num_steps += 1
                {step}
        """,
    )


def scheduler(given: str, more: str = "pass") -> str:
    """Return a module with a schedule."""
    return factory(
        "scheduler",
        f"return {given}",
        f"""
        class Odd(StepLR):
            {more}
        """,
    )


def reporter(method: str) -> str:
    """Return a module with a reporter of one method."""
    return factory(
        "reporter",
        "return Watcher()",
        f"""
        class Watcher(Reporter):
            def {method}
        """,
    )


def vote(scores: str, before: str = "pass") -> str:
    """Return a module with a rule of voting that gives some expression."""
    return factory(
        "vote",
        f"""
        def rule(probabilities, weights):
            {before}
            mean = np.average(probabilities, axis=0, weights=weights)
            return {scores}
        return rule
        """,
    )


def tuner(method: str = "", *, trials: str = "[ended(number) for number in range(search.trials)]") -> str:
    """Return a module with an engine whose trials are made up, one method of which may be another."""
    return factory(
        "tuner",
        "return Engine()",
        f"""
        def ended(number, **changes):
            return replace(Trial(str(number), number, "SUCCEEDED", {{"lr": 1e-3}}, (0.25, 0.5), 0.5, 1.0), **changes)

        class Running:
            id, memory = "made-up", {{}}

            def __init__(self, trials):
                self.trials = lambda: trials

            def advance(self):
                return False

            def stop(self):
                pass

        class Engine:
            is_local = True

            def objection(self, parameter, entry):
                return ""

            def check(self, search):
                pass

            def start(self, search):
                return Running({trials})

            def resume(self, search, name, memory):
                return self.start(search)

            {method or "pass"}
        """,
    )


def command(signature: str = "", example: str = "maskkit broken") -> str:
    """Return a module with a command."""
    return f'def broken({signature}):\n    """Do something.\n\n    {example}\n    """\n'


def signed(signature: str) -> str:
    """Return a module with a model of some signature."""
    return f'def broken({signature}):\n    """Give something."""\n    return nn.Flatten()\n'
