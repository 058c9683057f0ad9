"""Real experiments of NNI through a real sshd: by the shipped config_remote.yml, and by `maskkit tune --remote`."""

import json
import os
import shutil
import signal
import sys
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, run, write_faces
from experiments import end_all, experiment, free_port, home_of, running, wait_for
from searches import CRASHING, KILLED, LONG, MASKKIT, NAN, TINY, Search, Tuning, begun, rows, scores, trial_process
from sshd import Server, another_host, sshd

import maskkit

pytestmark = pytest.mark.slow

PYTHON = Path(sys.executable)
WELL = 0.003


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of whose mask a network can tell in a few steps."""
    return write_faces(tmp_path_factory.mktemp("faces") / "images", 12)


@pytest.fixture
def home(environment: Mapping[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment with a home of its own on the near side."""
    return home_of(tmp_path / "home", environment)


@pytest.fixture
def far(environment: Mapping[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of whoever logs in: another home, no plugins, and a pip that asks nobody."""
    folder = tmp_path / "far"
    names = ("XDG_CACHE_HOME", "MASKKIT_DISABLE_PLUGINS", "OMP_NUM_THREADS")
    variables = {name: environment[name] for name in names} | {"PIP_NO_INDEX": "1"}
    yield home_of(folder, variables)
    end_all(folder)


def shipped(folder: Path, trials: list[dict[str, Any]], server: Server, images: Path) -> Path:
    """Copy config_remote.yml with what it names, and change where it logs in, and what is no matter of this machine.

    Changed are ip, port, username and key, pythonPath and the paths in the command. What is for GPUs is left out, as
    the file says, since none is needed; the way back is loopback; and a few tiny trials take the place of fifty.
    """
    shutil.copytree(ROOT / "examples" / "nni", folder / "examples" / "nni")
    config = yaml.safe_load((ROOT / "config_remote.yml").read_text(encoding="utf-8"))
    (machine,) = config["machineList"]
    machine |= {"ip": server.address, "port": server.port, "username": server.user, "sshKeyPath": str(server.key)}
    machine["pythonPath"] = str(PYTHON.parent)
    config["trial"]["command"] = f"{PYTHON} -m maskkit train {TINY} --data_dir={images} --model_dir={folder / 'runs'}"
    del config["trial"]["gpuNum"], machine["maxTrialNumPerGpu"], machine["useActiveGpu"]
    config |= {"nniManagerIp": "127.0.0.1", "maxTrialNum": len(trials), "tuner": {"builtinTunerName": "BatchTuner"}}
    (folder / "config_remote.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    space = {"combine_params": {"_type": "choice", "_value": trials}}
    (folder / "search_space.json").write_text(json.dumps(space), encoding="utf-8")
    return folder / "config_remote.yml"


def test_an_experiment_through_ssh_ends_well_whatever_befalls_its_trials(
    home: dict[str, str], far: dict[str, str], images: Path, tmp_path: Path
) -> None:
    trials = [{"lr": rate, "epochs": 2} for rate in (WELL, NAN, CRASHING)] + [{"lr": KILLED, "epochs": LONG}]
    with sshd(tmp_path / "sshd", far) as server:
        config = shipped(tmp_path, trials, server, images)
        with experiment(config, home) as found:
            process = trial_process(begun(found, KILLED))
            assert process is not None
            assert process.environ()["HOME"] == far["HOME"]
            process.kill()
            found.wait_until_done()
            search = Search(found, tmp_path / "runs")
        assert {rate: trial["status"] for rate, trial in search.trials.items()} == {
            WELL: "SUCCEEDED",
            NAN: "FAILED",
            CRASHING: "FAILED",
            KILLED: "USER_CANCELED",  # ended by a signal
        }
        trial, run_dir = search.trials[WELL]["trialJobId"], search.run_dir(WELL)
        assert len(scores(run_dir)) == 2
        assert search.intermediate[trial] == pytest.approx(scores(run_dir), abs=1e-9)
        assert search.final == {trial: pytest.approx([max(scores(run_dir))], abs=1e-9)}
        uploaded = list(Path(far["HOME"]).rglob("upload/trial_code/*"))
        assert {path.name for path in uploaded} == {path.name for path in (ROOT / "examples" / "nni").iterdir()}
        wait_for(lambda: not [name for name in running(far["HOME"]) if "sshd" not in name], 30)


RATES = [1e-9, 0.003]
FLAGS = [*TINY.split(), "--epochs=2", "--space=space.json", "--trials=2"]


def machines(folder: Path, server: Server, *, gpus: int | None = None, **changes: Any) -> Path:
    """Write the file of machines that `maskkit tune --remote` reads, with one machine."""
    one = {"host": server.address, "port": server.port, "user": server.user, "sshKeyFile": str(server.key)}
    content = {"machineList": [one | {"pythonPath": str(PYTHON.parent)} | changes]}
    number = {} if gpus is None else {"trialGpuNumber": gpus}
    path = folder / "machines.yml"
    path.write_text(yaml.safe_dump({"trainingService": {"platform": "remote", **content, **number}}), encoding="utf-8")
    (folder / "space.json").write_text(json.dumps({"lr": {"_type": "choice", "_value": RATES}}), encoding="utf-8")
    return path


def with_programs(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    return {**environment, "PATH": f"{folder}:{environment['PATH']}"}


def test_a_search_on_another_host_goes_on_after_an_interrupt_and_leaves_nothing_running(
    home: dict[str, str], far: dict[str, str], images: Path, tmp_path: Path
) -> None:
    with another_host() as host, sshd(tmp_path / "sshd", far, host) as server:
        near = with_programs(home, server.programs)
        port = f"--port={free_port()}"
        words = [*FLAGS, f"--remote={machines(tmp_path, server)}", f"--data_dir={images}", port]
        search = Tuning(*words, home=near, cwd=tmp_path)
        name = search.until(r"^experiment (\w+): 2 trials, TPE")
        search.until(r"^trial +0  (SUCCEEDED)")
        stopped = search.end(signal.SIGINT)
        assert stopped.code == 130, stopped
        assert f"maskkit tune --resume={name}" in stopped.err
        assert running(home["HOME"]) == []
        assert trainings(far) == []
        runs = Path(far["HOME"], "maskkit-runs", name)
        finished = {path: path.read_bytes() for path in runs.glob("*/metrics.csv")}

        done = run(MASKKIT, "tune", f"--resume={name}", port, env=near, cwd=tmp_path)
        assert done.code == 0, done.out + done.err
        assert "2 succeeded" in done.out
        assert running(home["HOME"]) == []
        assert trainings(far) == []
    table = rows(tmp_path / "runs" / name / "trials.csv")
    assert {float(row["lr"]) for row in table} == {*RATES}
    for row in table:
        told = max(scores(runs / f"exp-{row['trial']}"))
        assert float(row["valid_f1_macro"]) == pytest.approx(told, abs=1e-9)
    first = runs / f"exp-{table[0]['trial']}" / "metrics.csv"
    assert first.read_bytes() == finished[first]
    assert not list(tmp_path.glob("runs/*/exp-*"))


def trainings(far: Mapping[str, str]) -> list[str]:
    return [line for line in running(far["HOME"]) if "maskkit" in line]


def test_a_search_says_what_a_machine_lacks_and_what_to_do(
    home: dict[str, str], far: dict[str, str], images: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False, symlinks=True)
    stranger = tmp_path / "stranger"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger)
    with sshd(tmp_path / "sshd", far) as server:

        def refusal(data_dir: Path = images, **changes: Any) -> str:
            words = [*FLAGS, f"--remote={machines(tmp_path, server, **changes)}", f"--port={free_port()}"]
            near = with_programs(home, server.programs)
            done = run(MASKKIT, "tune", *words, f"--data_dir={data_dir}", env=near, cwd=tmp_path)
            assert done.code == 1, done
            assert "error: the search cannot begin:" in done.err
            assert "Traceback" not in done.err
            return done.err.partition("begin:")[2]

        place = f"{server.user}@127.0.0.1, port"
        assert f"cannot log in as {place} {server.port} with the key {stranger}: " in refusal(sshKeyFile=str(stranger))
        assert f"ssh-copy-id -i {stranger} -p {server.port} {server.user}@127.0.0.1" in refusal(
            sshKeyFile=str(stranger)
        )
        assert f"cannot log in as {place} 1 with" in refusal(port=1)
        assert "Connection refused" in refusal(port=1)
        assert f"127.0.0.1 has no {tmp_path}/python; pythonPath names the directory" in refusal(
            pythonPath=str(tmp_path)
        )
        lacking = refusal(pythonPath=str(bare / "bin"))
        assert f"has no maskkit for {bare}/bin/python, not {maskkit.__version__}; type there: {bare}/bin/pyt" in lacking
        assert f"has no nni for {bare}/bin/python, not 3.0" in lacking
        assert "127.0.0.1 has no /data/faces; copy the data there, or" in refusal(Path("/data/faces"))
        assert "127.0.0.1 has 0 GPUs, not gpuNum: 1; leave that out where there is none" in refusal(gpus=1)
    assert running(home["HOME"]) == []
    assert not (tmp_path / "runs").exists()


def test_one_gpu_alone_is_given_to_trials_only_when_they_may_share_it(
    home: dict[str, str], far: dict[str, str], images: Path, tmp_path: Path
) -> None:
    tool = tmp_path / "tools" / "nvidia-smi"  # as it answers on a machine with one GPU
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'GPU 0: Tesla T4 (UUID: GPU-d8a5)'\n")
    tool.chmod(0o755)
    with sshd(tmp_path / "sshd", with_programs({"PATH": os.environ["PATH"]} | far, tool.parent)) as server:
        words = [*FLAGS, f"--remote={machines(tmp_path, server, gpus=1)}", f"--port={free_port()}"]
        near = with_programs(home, server.programs)
        done = run(MASKKIT, "tune", *words, f"--data_dir={images}", env=near, cwd=tmp_path)
    assert done.code == 1
    assert "127.0.0.1 has one GPU, which NNI takes only with maxTrialNumPerGpu: 2 and useActiveGpu: true" in done.err
