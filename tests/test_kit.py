"""The kit finds each fault that it looks for, and tells its author what is wrong."""

import os
import random
import sys
from pathlib import Path
from unittest import SkipTest

import pytest
import torch
from fault_sources import factory
from faults import COMPONENTS, Fault
from guest_packages import HOOK, PROJECT, write_component, write_package
from PIL import Image

from maskkit.cli.reference import example
from maskkit.errors import UsageError
from maskkit.plugin.hookspecs import KINDS
from maskkit.testing import Check, CheckError, checks_of


@pytest.fixture(autouse=True)
def path_of_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back what the kit adds to the path."""
    monkeypatch.setattr(sys, "path", list(sys.path))


def check_named(folder: Path, name: str) -> Check:
    (check,) = (check for check in checks_of(folder) if check.name == name)
    return check


@pytest.mark.parametrize("fault", COMPONENTS, ids=lambda fault: f"{fault.kind}: {fault.sentence[:50]}")
def test_a_faulty_component_is_found_and_told_in_a_sentence(tmp_path: Path, fault: Fault) -> None:
    folder = write_component(tmp_path, fault.kind, fault.code, fault.record)
    with pytest.raises(CheckError) as caught:
        check_named(folder, fault.check)()
    assert fault.sentence in str(caught.value)


GOOD = HOOK.replace("{hook}", "models").replace("{record}", "")
UNMARKED = GOOD + "\n\ndef maskkit_losses():\n    return []\n"
EARLY = "from PIL import Image\n" + GOOD
LATE = GOOD.replace("    given", "    import numpy as np\n    given")
TWICE = "import os\n\nif os.getpid() != {pid}:\n    raise RuntimeError('no licence')\n" + GOOD
NEEDS = 'dependencies = ["maskkit"]\n'

PACKAGES = [
    ("maskkit finds it", "maskkit must find it OK, but it is BROKEN: ModuleNotFoundError: ", "import absent", PROJECT),
    ("maskkit finds it", "maskkit must find it OK, but it is EMPTY: offers nothing", "", PROJECT),
    (
        "maskkit finds it",
        "CONFLICT: model 'BaseModel' is offered by maskkit too; say guest",
        GOOD.replace('"broken"', '"BaseModel"'),
        PROJECT,
    ),
    (
        "maskkit finds it",
        "CONFLICT: command 'train' is offered by maskkit too; say guest",
        GOOD.replace('"broken"', '"train"').replace("_models", "_commands"),
        PROJECT,
    ),
    ("it has a summary", 'add description = ".."', GOOD, PROJECT.replace('description = "For tests."\n', "")),
    (
        "its requirements take this maskkit",
        'the package must need maskkit; add "maskkit>=',
        GOOD,
        PROJECT.replace(NEEDS, ""),
    ),
    (
        "its requirements take this maskkit",
        "the package must need maskkit",
        GOOD,
        PROJECT.replace(NEEDS, """dependencies = ["maskkit; extra == 'all'", "maskkit-hello"]\n"""),
    ),
    (
        "its requirements take this maskkit",
        "its requirement Maskkit>=99 must take this maskkit, ",
        GOOD,
        PROJECT.replace(NEEDS, 'dependencies = ["Maskkit>=99"]\n'),
    ),
    (
        "its requirements take this maskkit",
        "its requirement 'maskkit >> 1' must be one that pip understands",
        GOOD,
        PROJECT.replace(NEEDS, 'dependencies = ["maskkit >> 1"]\n'),
    ),
    ("its hooks are marked", "but maskkit_losses is not marked; write @hookimpl above it", UNMARKED, PROJECT),
    ("it imports nothing heavy", "must load nothing heavy, but loads PIL; import it in", EARLY, PROJECT),
    ("it imports nothing heavy", "in a process of its own must work, but: RuntimeError: no licence", TWICE, PROJECT),
    ("it imports nothing heavy", "must load nothing heavy, but loads numpy; import it in", LATE, PROJECT),
]


@pytest.mark.parametrize(("name", "sentence", "source", "project"), PACKAGES, ids=lambda text: str(text)[:40].strip())
def test_a_faulty_package_is_found_and_told_in_a_sentence(
    tmp_path: Path, name: str, sentence: str, source: str, project: str
) -> None:
    source = source.replace("{pid}", str(os.getpid()))
    with pytest.raises(CheckError) as caught:
        check_named(write_package(tmp_path, source, project), name)()
    assert sentence in str(caught.value)


def test_a_module_from_elsewhere_is_not_taken_for_that_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "stray_plugin.py").write_text(GOOD.replace("{module}", "stray_plugin"), encoding="utf-8")
    monkeypatch.syspath_prepend(str(elsewhere))
    head, table, _ = PROJECT.partition("[project.entry-points.maskkit]")
    folder = write_package(tmp_path / "own", "", f'{head}{table}\nguest = "stray_plugin"\n')
    with pytest.raises(CheckError, match=r"its module must stand in .*, but stray_plugin comes from"):
        check_named(folder, "maskkit finds it")()


def test_every_check_of_the_kit_has_a_fault_that_it_finds(tmp_path: Path) -> None:
    found = {(fault.kind, fault.check) for fault in COMPONENTS} | {("package", name) for name, *_ in PACKAGES}
    checks = [check for kind in KINDS for check in checks_of(write_component(tmp_path, kind, ""))]
    names = {(check.subject.split()[0], check.name) for check in checks}
    shared = {name for kind, name in names if kind == "model"} & {name for kind, name in names if kind == "vote"}
    assert {(kind, name) for kind, name in names if name not in shared} <= found
    assert {("model", name) for name in shared} <= found


def reason_of(check: Check) -> str:
    with pytest.raises(SkipTest) as caught:
        check()
    return str(caught.value)


def failures_of(folder: Path, *, data_dir: Path | None = None) -> list[str]:
    """Return the names of the checks that fail."""
    names = []
    for check in checks_of(folder, data_dir=data_dir):
        try:
            check()
        except SkipTest:
            continue
        except CheckError:
            names.append(check.name)
    return names


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"command"}))
def test_what_cannot_be_imported_fails_in_one_check_and_is_left_out_of_the_others(tmp_path: Path, kind: str) -> None:
    assert failures_of(write_component(tmp_path, kind, "import absent")) == ["its factory can be imported"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_hooks_show_keeps_the_contracts(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"my_{kind}.py").write_text(example(kind).replace("my_plugin", f"my_{kind}"), encoding="utf-8")
    project = PROJECT.replace("{distribution}", "mine").replace("{name}", "mine").replace("{module}", f"my_{kind}")
    (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8")
    assert failures_of(tmp_path) == []


def test_requirements_that_are_not_known_before_the_build_are_not_judged(tmp_path: Path) -> None:
    project = PROJECT.replace(NEEDS, 'dynamic = ["dependencies", "version"]\n').replace('version = "1.2.3"\n', "")
    folder = write_package(tmp_path, GOOD, project)
    reason = reason_of(check_named(folder, "its requirements take this maskkit"))
    assert reason == "its dependencies are dynamic; install it and check it by name"


def test_a_network_whose_record_names_its_size_may_take_that_alone(tmp_path: Path) -> None:
    code = factory("model", "return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 40, num_outputs))")
    folder = write_component(tmp_path, "model", code, "size=(32, 40)")
    assert failures_of(folder) == []
    reason = reason_of(check_named(folder, "it takes images of other sizes"))
    assert reason == "its record says 32x40, and it takes no other size"


LISTED = factory(
    "dataset",
    """
    table = pd.read_csv(data_dir / "people.csv").assign(mask=0, gender=0, age=30)
    return Samples(table.assign(path=[str(data_dir / name) for name in table["sample"]]))
    """,
)


def test_a_data_set_of_another_layout_needs_a_folder_of_its_own(tmp_path: Path) -> None:
    folder, photos = write_component(tmp_path, "dataset", LISTED), tmp_path / "photos"
    reason = reason_of(check_named(folder, "it gives images that open"))
    assert reason.startswith("it cannot read the kit's tiny folder (")
    assert reason.endswith("people.csv'); pass --data_dir")
    assert "it gives images that open" in failures_of(folder, data_dir=photos)
    photos.mkdir()
    names = [f"{number}.png" for number in range(4)]
    for name in names:
        Image.new("RGB", (8, 8)).save(photos / name)
    (photos / "people.csv").write_text("\n".join(["sample,person", *(f"{name},{name}" for name in names)]))
    assert failures_of(folder, data_dir=photos) == []


def test_a_plugin_may_lie_in_a_folder_src(tmp_path: Path) -> None:
    folder = write_package(tmp_path, GOOD, home="src")
    check_named(folder, "maskkit finds it")()
    check_named(folder, "it imports nothing heavy")()


def test_an_installed_copy_of_the_same_package_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_package(tmp_path, GOOD)
    name = folder.name.removeprefix("maskkit-")
    for number, distribution in enumerate((folder.name.replace("-", "_"), "another")):
        facts = tmp_path / f"site{number}" / f"{distribution}-1.0.dist-info"
        facts.mkdir(parents=True)
        (facts / "METADATA").write_text(f"Name: {distribution}\nVersion: 1.0\n", encoding="utf-8")
        (facts / "entry_points.txt").write_text(f"[maskkit]\n{name} = maskkit_{name}\n", encoding="utf-8")
        monkeypatch.syspath_prepend(facts.parent)
        check = check_named(folder, "maskkit finds it")
        if distribution == "another":
            with pytest.raises(CheckError, match=f"the plugin name '{name}' is used by another too"):
                check()
        else:
            check()


def test_a_plugin_that_is_switched_off_is_checked_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKKIT_DISABLE_PLUGINS", "*")
    check_named(write_package(tmp_path, GOOD), "maskkit finds it")()


def test_a_package_of_two_plugins_is_checked_whole(tmp_path: Path) -> None:
    folder = write_package(tmp_path, GOOD, PROJECT + 'second = "absent"\n')
    subjects = list(dict.fromkeys(check.subject for check in checks_of(folder)))
    name = folder.name.removeprefix("maskkit-")
    assert subjects == [f"plugin {name}", "model broken", "plugin second"]


@pytest.mark.parametrize(
    ("project", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("[project", "is no TOML"),
        ("[tool.x]\n", "has no [project] table with a name"),
        ('project = "x"\n', "has no [project] table with a name"),
        ('[project]\nname = "x"\n', "declares no plugin"),
        ('[project]\nname = "x"\n[project.entry-points]\nmaskkit = "x"\n', "declares no plugin"),
    ],
)
def test_a_folder_that_is_no_plugin_is_refused(tmp_path: Path, project: str | None, message: str) -> None:
    if project is not None:
        (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        checks_of(tmp_path)
    assert caught.value.message.startswith(f"{tmp_path / 'pyproject.toml'} ")
    assert message in caught.value.message
    assert caught.value.hint


def test_a_check_reads_as_a_sentence_and_leaves_the_generators_alone() -> None:
    states = random.getstate(), torch.get_rng_state()
    names = [str(check) for check in checks_of("maskkit") if check.subject == "loss focal"]
    for check in checks_of("maskkit"):
        if check.subject in {"loss focal", "augmentation AffineAugmentation"}:
            check()
    assert "loss focal: its gradients are finite" in names
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
