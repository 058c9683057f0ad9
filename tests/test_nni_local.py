"""Real experiments of NNI on this machine: what its API tells is what the runs say, whatever befalls a trial."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, run, write_faces
from experiments import Experiment, experiment, home_of
from searches import CRASHING, KILLED, LONG, NAN, TINY, Search, begun, scores, trial_process

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples" / "nni"
MISSPELLED, STOPPED = 0.2, 1e-8
WELL = [0.003, 0.01]
DRAWN = "--dataset=DrawnFaces --dataset_args=people=12,eval_people=1"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of whose mask a network can tell in a few steps."""
    return write_faces(tmp_path_factory.mktemp("faces") / "images", 12)


@pytest.fixture(scope="module")
def home(environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with a home of its own, in which `maskkit` is found."""
    scripts = str(Path(sys.executable).parent)
    found = home_of(tmp_path_factory.mktemp("home"), environment)
    return found | {"PATH": f"{scripts}:{found['PATH']}"}


def shipped(name: str, folder: Path, trials: list[dict[str, Any]], command: str, **changes: Any) -> Path:
    """Copy the examples and return the file of that name, which now makes these trials one after the other."""
    shutil.copytree(EXAMPLES, folder)
    config = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
    config |= {"tuner": {"builtinTunerName": "BatchTuner"}, "maxTrialNum": len(trials), **changes}
    config["trial"]["command"] = command
    (folder / name).write_text(yaml.safe_dump(config), encoding="utf-8")
    space = {"combine_params": {"_type": "choice", "_value": trials}}
    (folder / "search_space.json").write_text(json.dumps(space), encoding="utf-8")
    return folder / name


@dataclass(frozen=True)
class Befallen:
    """An experiment whose trials met all that can befall them, and NNI's page, if Chromium shows it, as one ran."""

    search: Search
    running: str
    page: str | None


@pytest.fixture(scope="module")
def befallen(home: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Befallen:
    folder = tmp_path_factory.mktemp("befallen")
    epochs = dict.fromkeys([*WELL, NAN, CRASHING], 2.0) | dict.fromkeys([KILLED, STOPPED], LONG)
    trials = [{"lr": rate, "epochs": number} for rate, number in epochs.items()]
    trials.insert(0, {"lr": MISSPELLED, "epoch": 2})
    command = f"maskkit train {TINY} {DRAWN} --lr=0.5 --model_dir={folder / 'runs'}"
    with experiment(shipped("local_cpu.yml", folder / "nni", trials, command), home) as found:
        running = begun(found, KILLED)
        page = page_of(found, folder / "browser", home)
        process = trial_process(running)
        assert process is not None
        process.kill()
        found.ask(f"trial-jobs/{begun(found, STOPPED)}", "DELETE")
        found.wait_until_done()
        return Befallen(Search(found, folder / "runs"), running, page)


def page_of(found: Experiment, profile: Path, home: dict[str, str]) -> str | None:
    """Return what Chromium shows of NNI's page with the trials, None without Chromium."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        return None
    words = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    address = f"http://127.0.0.1:{found.port}/detail"
    return run(*words, "--virtual-time-budget=5000", "--dump-dom", address, env=home, timeout=120).out


def test_an_experiment_by_the_shipped_file_ends_well_whatever_befalls_its_trials(
    home: dict[str, str], befallen: Befallen
) -> None:
    search = befallen.search
    assert_each_is_counted_as_what_became_of_it(search)
    for rate in WELL:
        assert_the_tuner_was_told_what_the_run_says(search, rate)
    assert_each_says_why_it_failed(search)
    for rate in (KILLED, STOPPED):
        assert_what_it_had_learned_is_kept(search, rate, home)


def test_the_page_shows_the_trials(befallen: Befallen) -> None:
    if befallen.page is None:
        pytest.skip("no Chromium is installed, so NNI's page was not looked at")
    assert befallen.running in befallen.page
    for rate in WELL:
        assert befallen.search.trials[rate]["trialJobId"] in befallen.page
    for status in ("SUCCEEDED", "FAILED", "RUNNING"):
        assert status in befallen.page


def assert_each_is_counted_as_what_became_of_it(search: Search) -> None:
    assert search.status == "DONE"
    ends = {rate: trial["status"] for rate, trial in search.trials.items()}
    assert ends == (
        dict.fromkeys(WELL, "SUCCEEDED")
        | dict.fromkeys([NAN, CRASHING, MISSPELLED], "FAILED")
        | dict.fromkeys([KILLED, STOPPED], "USER_CANCELED")  # ended by a signal, whoever sent it
    )
    assert search.final.keys() == {search.trials[rate]["trialJobId"] for rate in WELL}


def assert_the_tuner_was_told_what_the_run_says(search: Search, rate: float) -> None:
    trial, run_dir = search.trials[rate]["trialJobId"], search.run_dir(rate)
    assert len(scores(run_dir)) == 2
    assert search.intermediate[trial] == pytest.approx(scores(run_dir), abs=1e-9)
    assert search.final[trial] == pytest.approx([max(scores(run_dir))], abs=1e-9)
    config = json.loads((run_dir / "config.json").read_text())
    assert config["origins"]["lr"] == config["origins"]["epochs"] == "the tuner"
    assert config["values"]["lr"] == rate
    assert "--lr=0.5 is left aside: the tuner gives" in search.said(rate)


def assert_each_says_why_it_failed(search: Search) -> None:
    assert "error: the loss became" in search.said(NAN)
    assert "error: the tuner: --lr must be above 0; received -1" in search.said(CRASHING)
    assert "error: unknown name 'epoch' in the tuner\n  Did you mean epochs?" in search.said(MISSPELLED)
    assert "interrupted" in search.said(STOPPED).splitlines()  # by itself, in the five seconds that it had
    assert "Traceback" not in "".join(search.said(rate) for rate in search.trials)


def assert_what_it_had_learned_is_kept(search: Search, rate: float, home: dict[str, str]) -> None:
    run_dir = search.run_dir(rate)
    done = len(scores(run_dir))
    assert done >= len(search.intermediate[search.trials[rate]["trialJobId"]]) >= 1
    resumed = run("maskkit", "train", f"--resume={run_dir}", f"--epochs={done + 1}", env=home)
    assert resumed.code == 0, resumed.err
    assert len(scores(run_dir)) == done + 1


ASSESSORS = [
    ("Medianstop", {"optimize_mode": "maximize", "start_step": 5}),
    ("Curvefitting", {"epoch_num": 40, "start_step": 6}),
]


@pytest.mark.parametrize(("assessor", "arguments"), ASSESSORS, ids=[name for name, _ in ASSESSORS])
def test_an_assessor_ends_a_hopeless_trial_early(
    home: dict[str, str], images: Path, tmp_path: Path, assessor: str, arguments: dict[str, Any]
) -> None:
    trials = [{"lr": 0.003, "epochs": 40}, {"lr": 1e-9, "epochs": 2000}]
    command = f"maskkit train {TINY} --data_dir={images} --model_dir={tmp_path / 'runs'}"
    named = {"assessor": {"builtinAssessorName": assessor, "classArgs": arguments}}
    with experiment(shipped("local_cpu.yml", tmp_path / "nni", trials, command, **named), home) as found:
        found.wait_until_done()
        search = Search(found, tmp_path / "runs")
    assert {rate: trial["status"] for rate, trial in search.trials.items()} == {
        0.003: "SUCCEEDED",
        1e-9: "USER_CANCELED",  # as NNI 3.0 calls it, which notes only later that it was the assessor
    }
    assert 5 <= len(scores(search.run_dir(1e-9))) < 2000
    assert search.trials[1e-9]["trialJobId"] not in search.final


LOADER = """
import sys, yaml
from pathlib import Path
from nni.experiment.config import ExperimentConfig, convert, utils
for path in map(Path, sys.argv[1:]):
    content = yaml.safe_load(path.read_text())
    utils.set_base_path(path.parent)
    config = ExperimentConfig(**(convert.to_v2(content) if "trainingServicePlatform" in content else content))
    canon = config.canonical_copy()
    print(path.name, canon.search_space_file, canon.trial_code_directory, canon.trial_gpu_number)
    utils.unset_base_path()
"""


def test_nni_itself_understands_every_shipped_file(home: dict[str, str]) -> None:
    key = Path(home["HOME"], ".ssh", "id_ed25519")
    key.parent.mkdir(exist_ok=True)
    key.touch()
    files = [ROOT / "config_remote.yml", *sorted(EXAMPLES.glob("*.yml"))]
    done = subprocess.run([sys.executable, "-c", LOADER, *files], env=home, capture_output=True, text=True, check=True)
    told = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if ".yml " in line}
    assert told.keys() == {path.name for path in files}
    for space, code, gpus in told.values():
        assert Path(space).is_file()
        assert Path(code) == EXAMPLES
        assert gpus in {"None", "1"}
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*")) < 100_000
