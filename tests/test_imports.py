"""Imports run one way, and what is heavy is loaded only by the commands that need it."""

import ast
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest
from conftest import ROOT, run

PACKAGE = ROOT / "maskkit"

# A room may import from the rooms of the lines above its own, from itself, and from no other.
ORDER: tuple[set[str], ...] = (
    {"conversion", "errors", "files", "processes", "progress"},
    {"criterion", "csv_files", "labels"},
    {"tables"},
    {"plugin"},
    {"flags"},
    {"run_flags"},
    {"bootstrap", "config", "metrics", "people", "predictions", "reporting", "row_store"},
    {"alignment", "arithmetic", "breakdown", "readings"},
    {"data", "ensemble", "evaluation"},
    {"engine", "tuning"},
    {"cli"},
    {"testing"},
    {"__main__"},
)
# Rooms that stand outside that order, with all that they may import beside themselves. `maskkit` stands for the names
# that the package itself offers, which it imports only when they are asked for.
APART = {
    "maskkit": set[str](),
    "builtin": {"maskkit", "labels", "errors"},
}
# Those that may say `import maskkit`, for its version and for what it offers.
VERSION_READERS = {"cli", "engine", "plugin", "testing", "tuning"}
# The kit checks commands by what makes them, so it stands after cli; the command that runs it is the one way back.
WAYS_BACK = {("maskkit.cli.checking", "testing")}

TORCH = {"efficientnet_pytorch", "safetensors", "tensorboard", "torch", "torchvision"}
TORCH_ROOMS = {"arithmetic", "builtin", "data", "engine", "testing"}
TORCH_FREE_TESTING = "check collecting command faces package_checks packages pytest_hooks tuner vote"
TORCH_FREE_MODULES = {f"maskkit.{name}" for name in ("arithmetic", "builtin", "builtin.votes", "data", "engine")} | {
    "maskkit.testing",
    *(f"maskkit.testing.{name}" for name in TORCH_FREE_TESTING.split()),
}

HEAVY = ("torch", "torchvision", "sklearn", "tensorboard", "matplotlib", "nni", "scipy")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(source: str, module: str, *, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """Yield line and full name of all that a source imports, in functions too, but not what type checkers alone see."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module if is_package else module.rpartition(".")[0]
            home = resolve_name("." * node.level + (node.module or ""), package)
            yield from ((node.lineno, f"{home}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def room_of(imported: str) -> str | None:
    """Return the room of maskkit that an imported name lies in, `maskkit` for the package's own, None for strangers."""
    top, *rest = imported.split(".")
    if top != "maskkit":
        return None
    is_room = bool(rest) and (f"maskkit.{rest[0]}" in MODULES)
    return rest[0] if is_room else "maskkit"


def allowed(room: str) -> set[str]:
    """Return the rooms that a room may import from."""
    if room in APART:
        return APART[room] | {room}
    place = next((number for number, rooms in enumerate(ORDER) if room in rooms), None)
    assert place is not None, f"maskkit/{room} has no place in ORDER of {Path(__file__).name}; give it one"
    return {room}.union(*ORDER[:place])


def violations_of(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Return a sentence for each import of a module that runs against the order."""
    room = room_of(module) or module
    faults = []
    for line, imported in imports_of(source, module, is_package=is_package):
        target = room_of(imported)
        if imported == "maskkit" and room in VERSION_READERS:
            continue
        if target is not None and target not in allowed(room) and (module, target) not in WAYS_BACK:
            faults.append(f"{module}, line {line}: {room} must not import {imported}")
        is_torch_room = room in TORCH_ROOMS and module not in TORCH_FREE_MODULES
        if imported.partition(".")[0] in TORCH and not is_torch_room:
            faults.append(f"{module}, line {line}: {imported} is only for modules of {', '.join(sorted(TORCH_ROOMS))}")
    return faults


def test_imports_run_one_way() -> None:
    faults = [
        fault
        for module, path in MODULES.items()
        for fault in violations_of(path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py")
    ]
    assert not faults, "\n".join(faults)


def test_every_room_that_has_a_place_is_there() -> None:
    named = set(APART).union(*ORDER)
    assert named == {room_of(module) for module in MODULES}


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("maskkit.errors", "import maskkit.labels", "errors must not import maskkit.labels"),
        ("maskkit.plugin.registry", "from maskkit import config", "plugin must not import maskkit.config"),
        ("maskkit.metrics", "from . import predictions", "metrics must not import maskkit.predictions"),
        ("maskkit.engine.trainer", "def f():\n    from ..cli.shell import main", "engine must not import maskkit.cli"),
        ("maskkit.engine.parts", "from maskkit.builtin.losses import f1", "engine must not import maskkit.builtin"),
        ("maskkit.data.loader", "from maskkit import fetch_weights", "data must not import maskkit.fetch_weights"),
        ("maskkit.builtin.losses", "from maskkit.flags import flag", "builtin must not import maskkit.flags"),
        ("maskkit.flags", "import maskkit", "flags must not import maskkit"),
        ("maskkit.predictions", "try:\n    import torch.nn\nexcept ImportError:\n    pass", "torch.nn is only for"),
        ("maskkit.builtin", "from torch import nn", "torch.nn is only for"),
        ("maskkit.cli.help", "if TYPE_CHECKING:\n    pass\nelse:\n    import torch", "torch is only for"),
    ],
)
def test_an_arrow_that_runs_back_is_found(module: str, source: str, found: str) -> None:
    (fault,) = violations_of(source, module, is_package=module == "maskkit.builtin")
    assert fault.startswith(f"{module}, line ")
    assert found in fault


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "maskkit.plugin.contracts",
            "if TYPE_CHECKING:\n    from torch import nn\n    from maskkit.data import samples",
        ),
        ("maskkit.engine.training", "import maskkit\nfrom maskkit import metrics\nimport torch"),
        ("maskkit.builtin.models", "from maskkit import fetch_weights\nfrom maskkit.errors import WeightsError"),
        ("maskkit.cli.commands", "def train():\n    from maskkit.engine.training import train"),
        ("maskkit.errors", "import difflib, pandas, torchmetrics"),
    ],
)
def test_an_arrow_that_runs_forward_is_fine(module: str, source: str) -> None:
    assert violations_of(source, module) == []


def loaded_by(code: str, *words: str | Path, env: dict[str, str], cwd: Path) -> set[str]:
    """Return the top-level modules that a fresh process has loaded after some code."""
    report = "\nprint('loaded:', *{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    done = run(sys.executable, "-c", f"import sys\n{code}{report}", *words, env=env, cwd=cwd)
    assert done.code == 0, done.err
    last = done.err.splitlines()[-1]
    assert last.startswith("loaded: ")
    return set(last.split()[1:])


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "train --help",
        "predict --help",
        "version",
        "list-plugins",
        "list-plugins --format=json",
        "vote a.csv b.csv --out=vote.csv --soft_out=soft.csv",
        "vote a.csv b.csv --how=hard --out=vote.csv",
        "evaluate a.csv",
        "evaluate a.csv --truth=b.csv",
    ],
)
def test_a_command_that_trains_nothing_loads_nothing_heavy(
    environment: dict[str, str], tmp_path: Path, line: str
) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(f"ImageID,ans,truth,{','.join(map(str, range(18)))}\nx,0,0,1{',0' * 17}\n")
    code = "from maskkit.cli.shell import main\nassert main(sys.argv[1:]) == 0"
    assert loaded_by(code, *line.split(), env=environment, cwd=tmp_path).isdisjoint(HEAVY)


def test_a_picture_of_the_confusion_loads_no_torch(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ImageID,ans,truth\nx,0,0\n")
    code = "from maskkit.cli.shell import main\nassert main(sys.argv[1:]) == 0"
    loaded = loaded_by(code, "evaluate", "a.csv", "--confusion=a.png", env=environment, cwd=tmp_path)
    assert loaded & {*HEAVY} == {"matplotlib"}


@pytest.mark.parametrize("line", ["train --modle=x", "train --lr=abc", "predict", "trian", "check-plugin zzz"])
def test_a_refused_line_loads_nothing_heavy(environment: dict[str, str], tmp_path: Path, line: str) -> None:
    code = "from maskkit.cli.shell import main\nassert main(sys.argv[1:]) == 2"
    assert loaded_by(code, *line.split(), env=environment, cwd=tmp_path).isdisjoint({*HEAVY, "numpy", "pandas"})


def test_importing_the_package_loads_next_to_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    loaded = loaded_by("import maskkit", env=environment, cwd=tmp_path)
    assert loaded.isdisjoint({*HEAVY, "numpy", "pandas", "pluggy", "fire", "rich"})


def test_a_plugin_author_imports_the_hook_and_the_record_without_torch(
    environment: dict[str, str], tmp_path: Path
) -> None:
    loaded = loaded_by("from maskkit import Component, hookimpl", env=environment, cwd=tmp_path)
    assert loaded.isdisjoint({*HEAVY, "numpy", "pandas"})


def test_the_kit_is_at_hand_without_torch_or_pytest(environment: dict[str, str], tmp_path: Path) -> None:
    loaded = loaded_by("from maskkit.testing import Check, checks_of", env=environment, cwd=tmp_path)
    assert loaded.isdisjoint({*HEAVY, "numpy", "pandas", "pytest", "_pytest"})


def test_every_name_that_the_package_offers_is_there() -> None:
    import maskkit

    for name in maskkit.__all__:
        assert getattr(maskkit, name) is not None
    assert dir(maskkit) == sorted(maskkit.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Compnent'"):
        getattr(maskkit, "Compnent")  # noqa: B009  a name that type checkers refuse
