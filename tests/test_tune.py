"""`maskkit tune` on the real NNI: it finds what is best, goes on after any end, and leaves nothing running."""

import json
import queue
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import run, write_faces
from experiments import end_all, free_port, home_of, running, wait_for
from nni.runtime import msg_dispatcher_base
from nni.runtime.env_vars import dispatcher_env_vars
from nni.runtime.tuner_command_channel.command_type import CommandType
from searches import MASKKIT, Tuning, rows

from maskkit.tuning.nni.algorithms import GP, Hyperband

pytestmark = pytest.mark.slow

RATES = [1e-9, 0.003]
FEW = ["--epochs=2", "--classification=mask", "--resize=32", "--batch_size=16", "--num_workers=0", "--reporters=csv"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos of whose mask anybody can tell, and a space of a rate that learns and one that does not."""
    folder = tmp_path_factory.mktemp("tune")
    write_faces(folder / "images", 24)
    (folder / "space.json").write_text(json.dumps({"lr": {"_type": "choice", "_value": RATES}}))
    return folder


@pytest.fixture(scope="module")
def home(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("home")
    yield home_of(folder, environment)
    end_all(folder)


def test_a_search_finds_what_is_best_though_it_is_interrupted_and_killed(place: Path, home: dict[str, str]) -> None:
    port = str(free_port())
    flags = [*FEW, "--data_dir=images", "--space=space.json", "--trials=3", f"--port={port}"]
    search = Tuning(*flags, home=home, cwd=place)
    name = search.until(r"^experiment (\w+): 3 trials, TPE")
    assert addresses(int(port)) == {"127.0.0.1"}
    search.until(r"^trial +0  (SUCCEEDED)")
    folder = place / "runs" / name
    wait_for(lambda: len(rows(folder / "trials.csv")) == 2)  # NNI has given both rates now, and the second runs
    first = folder / f"exp-{rows(folder / 'trials.csv')[0]['trial']}" / "metrics.csv"
    finished = first.read_bytes(), first.stat().st_mtime_ns

    search.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    stopped = search.end(signal.SIGINT)  # once more, by somebody impatient
    assert stopped.code == 130
    assert f"maskkit tune --resume={name}" in stopped.err
    assert running(home["HOME"]) == []

    again = Tuning(f"--resume={name}", f"--port={port}", home=home, cwd=place)
    again.until(r"^trial +1  (SUCCEEDED)")
    again.end(signal.SIGKILL)
    manager = next(process for process in psutil.process_iter(["cmdline"]) if name in (process.info["cmdline"] or ()))
    manager.kill()
    wait_for(lambda: not psutil.pid_exists(manager.pid) or manager.status() == psutil.STATUS_ZOMBIE)

    done = run(MASKKIT, "tune", f"--resume={name}", f"--port={port}", env=home, cwd=place)
    assert done.code == 0, done.out + done.err
    assert "3 succeeded" in done.out, done.out + done.err
    assert running(home["HOME"]) == []
    table = rows(folder / "trials.csv")
    assert [row["status"] for row in table] == ["SUCCEEDED"] * 3
    assert {float(row["lr"]) for row in table[:2]} == {*RATES}
    assert len(sorted(folder.glob("exp-*"))) == 3
    assert (first.read_bytes(), first.stat().st_mtime_ns) == finished
    assert (folder / "trials.png").read_bytes().startswith(b"\x89PNG")

    best = done.out.splitlines()[-1]
    assert best.startswith("maskkit train ")
    assert "--lr=0.003" in best
    repeated = run(MASKKIT, *shlex.split(best)[1:], "--model_dir=again", env=home, cwd=place)
    assert repeated.code == 0, repeated.err
    scores = [float(row["valid_f1_macro"]) for row in rows(place / "again" / "exp" / "metrics.csv")]
    assert max(scores) == pytest.approx(max(float(row["valid_f1_macro"]) for row in table), abs=1e-9)


def addresses(port: int) -> set[str]:
    """Return the addresses of this machine on which somebody listens at a port."""
    listening = [one.laddr for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    return {address.ip for address in listening if address and address.port == port}


def test_hyperband_gives_few_epochs_to_all_and_many_to_the_best(place: Path, home: dict[str, str]) -> None:
    (place / "rates.json").write_text(json.dumps({"lr": {"_type": "choice", "_value": [1e-9, 0.003, 2e-9]}}))
    flags = [*FEW[1:], "--epochs=3", "--data_dir=images", "--space=rates.json", "--trials=4", "--tuner=Hyperband"]
    done = run(MASKKIT, "tune", *flags, f"--port={free_port()}", "--model_dir=bands", env=home, cwd=place)
    assert done.code == 0, done.out + done.err
    table = rows(next((place / "bands").glob("*/trials.csv")))
    assert [(row["status"], row["epochs"]) for row in table] == [("SUCCEEDED", number) for number in "1113"]
    *short, longest = table
    best_of_short = max((row["valid_f1_macro"] for row in short), key=float)
    assert longest["lr"] in {row["lr"] for row in short if row["valid_f1_macro"] == best_of_short}
    best = max(table, key=lambda row: float(row["valid_f1_macro"]))
    assert f"--lr={best['lr']} --epochs={best['epochs']}" in done.out.splitlines()[-1]


def test_hyperband_answers_what_it_is_asked_in_the_order_of_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = dispatcher_env_vars._replace(NNI_TUNER_COMMAND_CHANNEL="ws://_unittest_")  # a word of NNI itself
    monkeypatch.setattr(msg_dispatcher_base, "dispatcher_env_vars", nowhere)
    advisor = Hyperband(R=3, eta=3, optimize_mode="maximize")
    sent: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(advisor, "send", lambda _, text: sent.put(text))
    advisor.handle_initialize({"rate": {"_type": "uniform", "_value": [0, 1]}})
    sent.get()
    advisor.default_worker.start()
    advisor.assessor_worker.start()
    for _ in range(40):
        asked = []
        for _ in range(6):  # three trials of one epoch, the best of them for three, and two others for three
            advisor.enqueue_command(CommandType.RequestTrialJobs, 1)
            trial = json.loads(sent.get(timeout=10))
            asked.append(trial["parameters"])
            of_trial = {"trial_job_id": trial["parameter_id"], "parameter_id": trial["parameter_id"], "sequence": 0}
            for kind in ("PERIODICAL", "FINAL"):
                result = {**of_trial, "type": kind, "value": json.dumps(trial["parameters"]["rate"])}
                advisor.enqueue_command(CommandType.ReportMetricData, result)
            advisor.enqueue_command(CommandType.TrialEnd, {**of_trial, "hyper_params": json.dumps(trial)})
        assert [one["TRIAL_BUDGET"] for one in asked] == [1, 1, 1, 3, 3, 3]
        assert asked[3]["rate"] == max(one["rate"] for one in asked[:3])
    advisor.stopping = True


def test_the_gaussian_process_goes_beyond_its_random_start_and_nears_the_best() -> None:
    tuner = GP(optimize_mode="maximize")
    tuner.update_search_space({"lr": {"_type": "uniform", "_value": [0, 1]}})
    asked = []
    for number in range(12):
        asked.append(tuner.generate_parameters(number)["lr"])
        tuner.receive_trial_result(number, {"lr": asked[-1]}, 1 - (asked[-1] - 0.7) ** 2)
    assert abs(min(asked[-3:], key=lambda rate: abs(rate - 0.7)) - 0.7) < 0.1
