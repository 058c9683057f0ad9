"""`maskkit check-plugin` and the kit's pytest plugin, from outside: what they print, and how they end."""

import os
import pty
import shutil
import subprocess
import sys
import sysconfig
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import ROOT, Overlay, Runner, run
from fault_sources import factory, reporter, vote
from forked import Outcome
from guest_packages import HOOK, PROJECT, write_component, write_package
from test_cli import chunks_of

HELLO = ROOT / "examples" / "maskkit-hello"
OF_HELLO = """\
package
  ok       maskkit finds it
  ok       it has a summary
  ok       its requirements take this maskkit
  ok       its hooks are marked
  ok       it imports nothing heavy
loss poly1
  ok       its name and summary fit in the list
  ok       its name is not another's in other letters
  ok       its factory can be imported
  ok       its factory has a docstring
  ok       it takes what maskkit passes
  ok       its options are spelled out
  ok       its options have defaults
  ok       its options can be typed
  ok       it gives one finite number
  ok       its gradients are finite
  ok       it gives the same twice
  ok       its state fits into a checkpoint
  skipped  it takes rows of one 1 as classes: its record does not say soft_targets
  skipped  it takes mixed rows: its record does not say soft_targets
  skipped  it weighs the shares of mixed rows: its record does not say soft_targets
20 checks: 17 passed, 0 failed, 3 skipped
"""


def failures_of(outcome: Outcome) -> dict[str, str]:
    """Return what is said of each failed check, by its name."""
    assert (outcome.code, outcome.err) == (1, ""), outcome
    lines = outcome.out.splitlines()
    assert lines[-1].partition(": ")[2].split(", ")[1] != "0 failed"
    return {
        line.removeprefix("  FAILED   "): said.strip() for line, said in pairwise(lines) if line.startswith("  FAILED ")
    }


def test_the_example_keeps_every_contract(maskkit: Runner) -> None:
    outcome = maskkit("check-plugin", HELLO)
    title, _, others = outcome.out.partition("\n")
    assert title == f"hello  maskkit-hello 0.1.0  {HELLO}/maskkit_hello/__init__.py"
    assert (others, outcome.code, outcome.err) == (OF_HELLO, 0, "")


def test_the_folder_one_stands_in_is_checked(maskkit: Runner) -> None:
    assert maskkit("check-plugin", ".", cwd=HELLO).out.endswith(OF_HELLO)


def test_a_check_that_fails_says_what_to_do_and_the_command_exits_with_1(maskkit: Runner, tmp_path: Path) -> None:
    record = 'summary="For tests, of which there can never be enough" * 3'
    code = factory("loss", 'return nn.CrossEntropyLoss(reduction="none")')
    outcome = maskkit("check-plugin", write_component(tmp_path, "loss", code, record))
    assert failures_of(outcome) == {
        "its name and summary fit in the list": "its summary must fit in a line of list-plugins, 100 characters,"
        " but has 135; shorten it",
        "it gives one finite number": "for 8 images of 2 classes it must give one number, but gave the shape [8]; take"
        " the mean over the batch",
    }
    assert "  skipped  it gives the same twice: it gives no number\n" in outcome.out
    assert outcome.out.splitlines()[-1] == "20 checks: 14 passed, 2 failed, 4 skipped"


def test_a_broken_package_is_told_its_cause(maskkit: Runner, tmp_path: Path) -> None:
    folder = write_package(tmp_path, "import absent", PROJECT.replace("description", "keywords = []\n# "))
    outcome = maskkit("check-plugin", folder)
    assert failures_of(outcome) == {
        "maskkit finds it": "maskkit must find it OK, but it is BROKEN: ModuleNotFoundError: No module named 'absent'",
        "it has a summary": 'the package must say what it is; add description = ".." below [project] in its'
        " pyproject.toml",
    }
    assert outcome.out.splitlines()[-1] == "5 checks: 1 passed, 2 failed, 2 skipped"


FAILING = {"rule": vote("mean / 0", "raise SystemExit('enough')"), "factory": "import sys\n\nsys.exit(3)\n"}


@pytest.mark.parametrize(("code", "said"), [(FAILING["rule"], "SystemExit: enough"), (FAILING["factory"], "exit: 3")])
def test_whatever_a_plugin_raises_is_a_failure_in_a_line(maskkit: Runner, tmp_path: Path, code: str, said: str) -> None:
    outcome = maskkit("check-plugin", write_component(tmp_path, "vote", code))
    assert said.casefold() in " ".join(failures_of(outcome).values()).casefold()


def test_a_traceback_is_shown_only_to_who_asks(maskkit: Runner, tmp_path: Path) -> None:
    folder = write_component(tmp_path, "vote", vote("mean", "1 / 0"))
    quiet, loud = maskkit("check-plugin", folder), maskkit("check-plugin", folder, "--debug")
    assert failures_of(quiet)["it gives a row an image"] == "ZeroDivisionError: division by zero"
    assert (loud.code, loud.out) == (1, quiet.out)
    assert loud.err.count("Traceback") == loud.err.count("parts.py") > 1


def test_what_a_plugin_prints_stays_out_of_the_output(maskkit: Runner, tmp_path: Path) -> None:
    folder = write_component(tmp_path, "reporter", reporter("on_run_start(self, run): print('Welcome!')"))
    outcome = maskkit("check-plugin", folder)
    assert (outcome.code, outcome.err) == (0, "")
    assert "Welcome!" not in outcome.out


@pytest.mark.slow
def test_a_data_set_reads_the_folder_given(maskkit: Runner, tmp_path: Path, train_images: Path) -> None:
    body = (
        'if data_dir.parent.name != "train" or len(list(data_dir.iterdir())) != 30:\n    raise ValueError(data_dir)\n'
    )
    body += 'paths = sorted(map(str, data_dir.rglob("*.jpg")))\n'
    body += 'return Samples(pd.DataFrame({"path": paths, "sample": paths}), unit="image")'
    folder = write_component(tmp_path, "dataset", factory("dataset", body))
    outcome = maskkit("check-plugin", folder, f"--data_dir={train_images}")
    assert outcome.code == 0, outcome.out
    assert "its split keeps units together: it has no labels" in outcome.out
    assert maskkit("check-plugin", folder).code == 1


def install(folder: Path, site: Path) -> dict[str, str]:
    """Put a package on the path as pip would leave it there, and return the environment that finds it."""
    shutil.copytree(folder, site)
    (site / "pyproject.toml").unlink()
    facts = site / "guest-2.0.dist-info"
    facts.mkdir()
    (module,) = (path.name for path in site.glob("maskkit_*"))
    (facts / "METADATA").write_text("Name: maskkit-guest\nVersion: 2.0\nSummary: x\nRequires-Dist: maskkit\n")
    (facts / "entry_points.txt").write_text(f"[maskkit]\nguest = {module}\n", encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))}


def test_an_installed_plugin_is_checked_by_its_name_or_its_distributions(maskkit: Runner, tmp_path: Path) -> None:
    env = install(write_component(tmp_path, "vote", vote("mean")), tmp_path / "site")
    for name in ("guest", "maskkit-guest"):
        outcome = maskkit("check-plugin", name, env=env)
        assert outcome.out.startswith("guest  maskkit-guest 2.0  "), outcome
        assert outcome.out.endswith("\n19 checks: 19 passed, 0 failed\n")
        assert outcome.code == 0
    (tmp_path / "guest").mkdir()  # a folder without a pyproject.toml hides no plugin of its name
    assert maskkit("check-plugin", "guest", env=env).code == 0
    assert "guest/pyproject.toml cannot be read" in maskkit("check-plugin", "./guest", env=env).err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("check-plugin", "PLUGIN is missing: Folder with a pyproject.toml, or name of an installed plugin.\n"),
        ("check-plugin a b", "unexpected word 'b'\n"),
        ("check-plugin buildin", "no plugin 'buildin' is installed\n  Did you mean builtin?\n"),
        ("check-plugin zzz", "no plugin 'zzz' is installed\n  Installed: builtin"),
        ("check-plugin ./zzz", "/zzz/pyproject.toml cannot be read: No such file or directory\n  Name the folder of a"),
        ("check-plugin .", "/pyproject.toml cannot be read: No such file or directory\n"),
        ("check-plugin builtin --data-dri=x", "unknown flag --data-dri\n  Did you mean --data_dir?\n"),
    ],
)
def test_a_wrong_word_is_refused(maskkit: Runner, line: str, message: str) -> None:
    outcome = maskkit(*line.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_a_terminal_shows_what_runs_right_now(environment: dict[str, str]) -> None:
    terminal, side = pty.openpty()
    words: list[str | Path] = [Path(sysconfig.get_path("scripts")) / "maskkit", "check-plugin", HELLO]
    with subprocess.Popen(words, stdout=side, stderr=side, env=environment | {"TERM": "xterm"}) as process:
        os.close(side)
        text = b"".join(chunks_of(terminal)).decode()
    assert process.returncode == 0
    running, done = text.find("it imports nothing heavy"), text.rfind("it imports nothing heavy")
    assert -1 < running < done
    assert "20 checks: 17 passed" in text


TEST = """
from maskkit.testing import Check


def test_it_keeps_the_contracts(maskkit_check: Check) -> None:
    maskkit_check()
"""
SETTINGS = '\n[tool.pytest.ini_options]\naddopts = "-p maskkit.testing"\n'
GOOD = HOOK.replace("{hook}", "votes").replace("{record}", "")


def pytest_in(folder: Path, environment: dict[str, str], settings: str, *words: str) -> Outcome:
    """Run pytest in the folder of a package, with its own settings and the one test."""
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(SETTINGS + settings)
    (folder / "test_contracts.py").write_text(TEST, encoding="utf-8")
    command = (sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-W", "error")
    return run(*command, *words, cwd=folder, env=environment)


def test_pytest_runs_a_test_for_each_check(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = write_component(tmp_path, "vote", vote("mean"))
    outcome = pytest_in(folder, environment, 'maskkit_plugin = "."\n')
    assert outcome.code == 0, outcome.out
    assert "test_it_keeps_the_contracts[vote broken: the order of files does not matter] PASSED" in outcome.out
    assert "19 passed" in outcome.out


def test_pytest_shows_the_sentence_of_a_check_that_fails(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = write_component(tmp_path, "vote", vote("probabilities[0]"))
    outcome = pytest_in(folder, environment, f'maskkit_plugin = "../{folder.name}"\n')
    assert outcome.code == 1
    assert "1 failed, 18 passed" in outcome.out
    assert "the order of the files must not matter, since their weights move along" in outcome.out


@pytest.mark.slow
def test_pytest_checks_an_installed_plugin_on_a_folder(
    tmp_path: Path, environment: dict[str, str], train_images: Path
) -> None:
    folder = write_package(tmp_path, "")
    data_dir = os.path.relpath(train_images, folder)
    settings = f'maskkit_plugin = "maskkit"\nmaskkit_data_dir = "{data_dir}"\n'
    outcome = pytest_in(folder, environment, settings, "-k", "ProfileDataset or TestDataset")
    assert "[dataset MaskSplitByProfileDataset: its split keeps units together] PASSED" in outcome.out
    assert "[dataset TestDataset: it gives images that open] FAILED" in outcome.out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("", 'which plugin is to be checked? Say maskkit_plugin = "." below [tool.pytest.ini_options]'),
        ('maskkit_plugin = "hallo"\n', "maskkit_plugin = 'hallo': no plugin 'hallo' is installed"),
    ],
)
def test_pytest_is_told_when_it_cannot_know_the_plugin(
    tmp_path: Path, environment: dict[str, str], settings: str, message: str
) -> None:
    outcome = pytest_in(write_package(tmp_path, GOOD), environment, settings)
    assert outcome.code == 2
    assert message in outcome.out
    assert "Traceback" not in outcome.out
    assert "pytest_hooks.py" not in outcome.out


def test_a_plugin_that_hangs_is_given_up(maskkit: Runner, tmp_path: Path) -> None:
    folder = write_package(tmp_path, "import time\n\ntime.sleep(100)\n")
    outcome = maskkit("check-plugin", folder, env={"MASKKIT_PLUGIN_TIMEOUT": "0.3"}, timeout=60)
    assert "GivenUp: no answer within 0.3 s" in failures_of(outcome)["maskkit finds it"]
    assert outcome.out.endswith("\n5 checks: 2 passed, 1 failed, 2 skipped\n")


@pytest.mark.slow
def test_a_folder_whose_entry_point_changed_since_it_was_installed_is_told_so(overlay: Overlay, tmp_path: Path) -> None:
    folder = tmp_path / "hello"
    shutil.copytree(HELLO, folder)
    overlay.install("--editable", folder)
    assert overlay.maskkit("check-plugin", "./hello", cwd=tmp_path).code == 0
    project = folder / "pyproject.toml"
    project.write_text(project.read_text(encoding="utf-8").replace('hello = "', 'renamed = "'), encoding="utf-8")
    assert overlay.maskkit("check-plugin", "Maskkit_Hello", cwd=tmp_path).code == 0
    outcome = overlay.maskkit("check-plugin", "./hello", cwd=tmp_path)
    assert outcome.code == 1
    assert "pip installed it with {'hello': 'maskkit_hello'}; run pip install again" in outcome.out
