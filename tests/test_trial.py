"""The side of a trial: parameters come from NNI's file, and results go to NNI's file, where its manager reads them."""

import json
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Runner, run, write_faces
from experiments import wait_for
from searches import MASKKIT

TINY = ["train", "--classification=mask", "--resize=16", "--batch_size=16", "--num_workers=0", "--reporters=csv"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces") / "images", 12)


class Trial:
    """What the manager of NNI gives a trial on its own machine, and what it reads of it."""

    def __init__(self, folder: Path, parameters: object) -> None:
        self.folder = folder / "trial"
        self.folder.mkdir()
        record = {"parameter_id": 0, "parameter_source": "algorithm", "parameters": parameters}
        (self.folder / "parameter.cfg").write_text(json.dumps(record), encoding="utf-8")
        place = {"NNI_SYS_DIR": str(self.folder), "NNI_OUTPUT_DIR": str(self.folder)}
        names = {"NNI_EXP_ID": "search", "NNI_TRIAL_JOB_ID": "one", "NNI_TRIAL_SEQ_ID": "0"}
        self.environment = {"NNI_PLATFORM": "local", **place, **names}
        self.run_dir = folder / "runs" / "search" / "exp-one"

    def told(self, what: str) -> list[float]:
        """Return the results that the manager was told so far, PERIODICAL or FINAL."""
        text = (self.folder / ".nni" / "metrics").read_text(encoding="utf-8")
        results = [json.loads(line) for line in re.findall(r"^ME\d{6}(.*)$", text, re.MULTILINE)]
        return [float(json.loads(one["value"])) for one in results if one["type"] == what]


@pytest.mark.slow
def test_a_trial_whose_run_had_ended_before_the_tuner_heard_tells_it_when_it_runs_again(
    maskkit: Runner, images: Path, tmp_path: Path
) -> None:
    words = [*TINY, f"--data_dir={images}", "--epochs=2"]
    trial = Trial(tmp_path, {"lr": 0.003})
    once = maskkit(*words, env=trial.environment)
    assert once.code == 0, once
    scores = trial.told("PERIODICAL")
    assert len(scores) == 2
    assert trial.told("FINAL") == [max(scores)]
    before = (trial.run_dir / "metrics.csv").read_bytes()

    again = maskkit(*words, env=trial.environment)
    assert again.code == 0, again
    assert trial.told("PERIODICAL") == scores
    assert trial.told("FINAL") == [max(scores)] * 2  # one for each time that the manager started it
    assert (trial.run_dir / "metrics.csv").read_bytes() == before
    assert [path.name for path in trial.run_dir.parent.iterdir()] == ["exp-one"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "values"),
    [
        (None, {}),
        ({"patience": 2.0, "lr": 1e-2}, {"patience": 2, "lr": 0.01}),
        ({"criterion": {"_name": "focal", "gamma": 3}}, {"criterion": "focal", "criterion_args": {"gamma": 3}}),
        ({"lr": 0.01, "TRIAL_BUDGET": 2}, {"lr": 0.01, "epochs": 2}),
        ({"class-weights": "balanced"}, {"class_weights": "balanced"}),
    ],
)
def test_parameters_become_flags_of_the_run(
    maskkit: Runner, images: Path, tmp_path: Path, parameters: object, values: dict[str, Any]
) -> None:
    trial = Trial(tmp_path, parameters)
    done = maskkit(*TINY, f"--data_dir={images}", "--epochs=1", env=trial.environment)
    assert done.code == 0, done
    config = json.loads((trial.run_dir / "config.json").read_text())
    assert {name: config["values"][name] for name in values} == values
    assert [name for name, origin in config["origins"].items() if origin == "the tuner"] == [
        name for name in config["origins"] if name in values
    ]
    assert config["origins"]["name"] == config["origins"]["model_dir"] == "the trial"
    assert len(trial.told("FINAL")) == 1


def test_a_trial_asks_for_its_parameters_before_anything_can_fail(environment: dict[str, str], tmp_path: Path) -> None:
    trial = Trial(tmp_path, {"epoch": 3})
    waiting = (trial.folder / "parameter.cfg").rename(trial.folder / "not yet")
    process = subprocess.Popen(
        [MASKKIT, "train", "--modle=BaseModel"], env=environment | trial.environment, stderr=subprocess.PIPE, text=True
    )
    metrics = trial.folder / ".nni" / "metrics"
    wait_for(lambda: metrics.exists() and "REQUEST_PARAMETER" in metrics.read_text(), 30)
    assert process.poll() is None
    waiting.rename(trial.folder / "parameter.cfg")
    _, told = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "unknown flag --modle" in told
    assert trial.told("FINAL") == trial.told("PERIODICAL") == []


@pytest.mark.slow
def test_outside_a_trial_the_reporter_imports_nothing(environment: dict[str, str], images: Path) -> None:
    code = "import sys; from maskkit.cli.shell import main; print(main(sys.argv[1:]), 'nni' in sys.modules)"
    words = [*TINY[:-1], f"--data_dir={images}", "--reporters=csv,nni", "--epochs=1"]
    done = run(sys.executable, "-c", code, *words, env=environment, cwd=images.parent)
    assert done.out.splitlines()[-1] == "0 False", done


def without(names: Iterable[str], folder: Path) -> Path:
    """Make an environment that has all that is installed here but some packages, and return its Python."""
    venv.create(folder / "env", with_pip=False, symlinks=True)
    packages = folder / "packages"
    packages.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(tuple(names)):
            (packages / path.name).symlink_to(path)
    python = folder / "env" / "bin" / "python"
    found = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").out.strip()
    Path(found, "packages.pth").write_text(f"import site; site.addsitedir({str(packages)!r})\n", encoding="utf-8")
    return python


def test_without_the_extra_a_search_and_a_trial_say_what_to_install(
    environment: dict[str, str], images: Path, tmp_path: Path
) -> None:
    python = without(["nni", "psutil", "yaml", "_yaml"], tmp_path)
    search = run(python, "-m", "maskkit", "tune", f"--data_dir={images}", env=environment, cwd=tmp_path)
    missing = ["error: NNI is not installed, which searches", "  Type: pip install 'maskkit[nni]'"]
    assert (search.code, search.err.splitlines()) == (1, missing)
    remote = ROOT / "config_remote.yml"
    search = run(python, "-m", "maskkit", "tune", f"--remote={remote}", env=environment, cwd=tmp_path)
    assert (search.code, search.err.splitlines()) == (1, missing)
    trial = run(
        python,
        "-m",
        "maskkit",
        "train",
        f"--data_dir={images}",
        env=environment | {"NNI_PLATFORM": "local"},
        cwd=tmp_path,
    )
    assert trial.code == 1, trial
    assert trial.err.splitlines() == [
        "error: this is a trial of NNI, but NNI cannot be imported: No module named 'nni'",
        "  Type: pip install 'maskkit[nni]'",
    ]
    assert not (tmp_path / "runs").exists()
    plain = run(python, "-m", "maskkit", "list-plugins", "--strict", env=environment, cwd=tmp_path)
    assert plain.code == 0, plain


def test_without_pkg_resources_a_search_says_which_setuptools_to_install(
    environment: dict[str, str], images: Path, tmp_path: Path
) -> None:
    python = without(["pkg_resources"], tmp_path)
    done = run(python, "-m", "maskkit", "tune", f"--data_dir={images}", env=environment, cwd=tmp_path)
    assert done.code == 1, done
    assert "Type: pip install 'setuptools>=77.0.3,<82'" in done.err
