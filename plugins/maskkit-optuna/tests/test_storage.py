"""The database: many open it at once, one of them takes a trial that waits, and what goes wrong is told."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from maskkit_optuna.history import History
from maskkit_optuna.storage import explaining, open_storage, quietly, retry
from optuna.trial import TrialState, create_trial

from maskkit.errors import TuningError

PROCESSES, WAITING = 6, 90
TAKER = """
import sys, time
import optuna
from maskkit_optuna.storage import open_storage, quietly

time.sleep(max(0, float(sys.argv[2]) - time.time()))
with quietly():
    study = optuna.create_study(storage=open_storage(sys.argv[1]), study_name="queue", load_if_exists=True)
print("open", flush=True)
sys.stdin.readline()
taken = []
with quietly():
    while (trial := study.ask()).number < int(sys.argv[3]):
        taken.append(trial.number)
print(*taken)
"""


@pytest.mark.slow
def test_many_open_a_new_database_at_once_and_each_trial_that_waits_is_taken_by_one(database: str) -> None:
    begin = str(time.time() + 6)  # when all of them have loaded what they need
    line = [sys.executable, "-c", TAKER, database, begin, str(WAITING)]
    pipe = subprocess.PIPE
    takers = [subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True) for _ in range(PROCESSES)]
    for taker in takers:
        assert taker.stdout is not None
        assert taker.stdout.readline() == "open\n"
    study = optuna.load_study(study_name="queue", storage=open_storage(database))
    for _ in range(WAITING):
        study.add_trial(create_trial(state=TrialState.WAITING))
    for taker in takers:
        assert taker.stdin is not None
        taker.stdin.write("go\n")
        taker.stdin.flush()
    taken = [taker.communicate(timeout=120)[0].split() for taker in takers]
    counts = Counter(number for numbers in taken for number in numbers)
    assert counts == Counter(map(str, range(WAITING)))
    assert sum(map(bool, taken)) > 1, "several took some"
    assert [trial.number for trial in study.trials] == [*range(WAITING + PROCESSES)]


def test_only_one_of_two_workers_fails_a_trial_that_gives_no_sign_of_life(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'searches.db'}"
    first, second = (open_storage(url, heartbeat=1, retries=3) for _ in range(2))
    study = optuna.create_study(storage=first, study_name="one")
    with quietly():
        lost = study.ask()
    lost.suggest_float("lr", 0, 1)
    first.record_heartbeat(lost._trial_id)  # noqa: SLF001  Optuna has no public name for it
    with first.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00'")
    with quietly():
        optuna.storages.fail_stale_trials(study)
        optuna.storages.fail_stale_trials(optuna.load_study(study_name="one", storage=second))
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert study.trials[1].params == lost.params
    (shown,) = History(study.trials).trials()
    assert (shown.id, shown.number, shown.status) == ("0", 0, "WAITING")


def test_a_trial_is_put_into_the_queue_so_often_and_no_more(tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path / 'searches.db'}"))
    for _ in range(4):
        with quietly():
            study.tell(study.ask(), state=TrialState.FAIL)
        retry(study, study.trials[-1], 3)
    assert [trial.state.name for trial in study.trials] == ["FAIL"] * 4
    history = History(study.trials)
    assert (len(history), history.is_unfinished()) == (1, False)
    (trial,) = history.trials()
    assert history.error_of(trial) == "its worker was lost, and so were those that began it again"


def test_a_database_that_fails_on_the_way_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "searches.db"
    url = f"sqlite:///{path}"
    storage = open_storage(url)
    storage.engine.dispose()
    for file in tmp_path.iterdir():
        file.unlink()
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(TuningError, match=r"searches\.db does not answer: .*not a database"), explaining(url):
        storage.get_all_studies()
    with pytest.raises(TuningError, match=r"searches\.db cannot be opened: file is not a database"):
        open_storage(url)
