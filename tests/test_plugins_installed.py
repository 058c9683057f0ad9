"""Plugins of strangers, really installed by pip: what breaks one leaves the others, and every command, alive."""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Overlay, run, write_faces
from crowd import CAUSES, SOURCES, WELL, make_package
from forked import Outcome

from maskkit.builtin.datasets import mask_split_by_profile
from maskkit.plugin.hookspecs import KINDS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crowd(overlay: Overlay, tmp_path_factory: pytest.TempPathFactory) -> Overlay:
    """An environment with every kind of guest, and the example of the manual."""
    folder = tmp_path_factory.mktemp("packages")
    packages = [make_package(folder, distribution, *what) for distribution, what in SOURCES.items()]
    overlay.install(*packages, ROOT / "examples" / "maskkit-hello")
    return overlay


@pytest.fixture(scope="module")
def listed(crowd: Overlay, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Any]]:
    """What `list-plugins` says of each distribution."""
    done = crowd.maskkit("list-plugins", "--format=json", cwd=tmp_path_factory.mktemp("empty"))
    assert done.code == 0, done.err
    records = json.loads(done.out)
    assert len({record["distribution"] for record in records}) == len(records)
    return {record["distribution"]: record for record in records}


def allow_only(*plugins: str) -> dict[str, str]:
    """Return an environment variable that switches off all guests but these."""
    off = {distribution for distribution, (name, _) in SOURCES.items() if name not in plugins}
    return {"MASKKIT_DISABLE_PLUGINS": ",".join(sorted(off))}


def refusal_of(outcome: Outcome) -> str:
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    return outcome.err


def test_every_plugin_is_listed_with_the_same_facts(listed: Mapping[str, Mapping[str, Any]]) -> None:
    assert set(listed) == {"maskkit", "maskkit-hello", *SOURCES}
    assert next(iter(listed)) == "maskkit"
    for record in listed.values():
        facts = ["name", "distribution", "version", "state", "cause", "file", "traceback", "components"]
        assert list(record) == facts
        assert bool(record["traceback"]) == (record["state"] == "BROKEN")
    assert [(listed[one]["name"], listed[one]["version"]) for one in SOURCES] == [
        (name, "1.2.3") for name, _ in SOURCES.values()
    ]


def test_a_healthy_plugin_is_ok_and_lists_what_it_offers(listed: Mapping[str, Mapping[str, Any]]) -> None:
    hello = listed["maskkit-hello"]
    assert (hello["name"], hello["state"], hello["cause"]) == ("hello", "OK", "")
    (component,) = hello["components"]
    assert component == {
        "kind": "loss",
        "name": "poly1",
        "summary": "Cross entropy plus epsilon (1 - p)",
        "target": "maskkit_hello.losses:Poly1",
    }
    assert listed["maskkit"]["state"] == listed["guest-chatty"]["state"] == "OK"


def test_the_crowd_is_large_and_many_in_it_are_well(listed: Mapping[str, Mapping[str, Any]]) -> None:
    assert len(SOURCES) > 20
    for distribution, kind in zip(WELL, KINDS, strict=True):
        assert (listed[distribution]["state"], listed[distribution]["cause"]) == ("OK", "")
        assert [component["kind"] for component in listed[distribution]["components"]] == [kind]


@pytest.mark.parametrize("distribution", CAUSES)
def test_a_plugin_that_fails_is_broken_with_its_cause_in_one_line(
    listed: Mapping[str, Mapping[str, Any]], distribution: str
) -> None:
    record = listed[distribution]
    assert record["state"] == "BROKEN"
    assert CAUSES[distribution] in record["cause"]
    assert "\n" not in record["cause"]
    assert record["components"] == []


def test_a_plugin_that_offers_nothing_is_empty_and_told_why(listed: Mapping[str, Mapping[str, Any]]) -> None:
    assert listed["guest-empty"]["state"] == listed["guest-unmarked"]["state"] == "EMPTY"
    assert listed["guest-empty"]["cause"] == "offers nothing: guest_empty implements no hook of maskkit"
    assert "is @hookimpl missing" in listed["guest-unmarked"]["cause"]
    assert "maskkit_losses" in listed["guest-unmarked"]["cause"]


@pytest.mark.parametrize(
    ("distribution", "cause"),
    [
        ("guest-focal", "loss 'focal' is offered by maskkit too; say refocus:focal"),
        ("guest-left", "vote 'twin' is offered by guest-right too; say left:twin"),
        ("guest-right", "vote 'twin' is offered by guest-left too; say right:twin"),
        ("guest-namesake", "the plugin name 'healthy' is used by guest-healthy too"),
        ("guest-healthy", "say guest-healthy:healthy_loss"),
    ],
)
def test_a_plugin_whose_names_are_taken_is_in_conflict_and_told_what_to_say(
    listed: Mapping[str, Mapping[str, Any]], distribution: str, cause: str
) -> None:
    assert listed[distribution]["state"] == "CONFLICT"
    assert cause in listed[distribution]["cause"]
    assert len(listed[distribution]["components"]) == 1


def test_the_table_shows_each_plugin_its_cause_and_what_it_offers(crowd: Overlay, tmp_path: Path) -> None:
    done = crowd.maskkit("list-plugins", cwd=tmp_path)
    assert done.code == 0
    assert "Traceback" not in done.err
    lines = done.out.splitlines()
    for title in (
        "unimportable  guest-unimportable 1.2.3  BROKEN",
        "empty  guest-empty 1.2.3  EMPTY",
        "refocus  guest-focal 1.2.3  CONFLICT",
        "hello  maskkit-hello 0.1.0  OK",
    ):
        assert title in lines
    broken = lines.index("unimportable  guest-unimportable 1.2.3  BROKEN")
    assert lines[broken + 1] == f"  {CAUSES['guest-unimportable']}"
    assert "    poly1                       Cross entropy plus epsilon (1 - p)" in lines


def test_what_a_plugin_prints_stays_out_of_the_output(crowd: Overlay, tmp_path: Path) -> None:
    done = crowd.maskkit("list-plugins", "--format=json", cwd=tmp_path)
    assert "Welcome!" not in done.out
    assert done.err == "Welcome!\n"


def test_one_kind_is_listed_alone(crowd: Overlay, tmp_path: Path) -> None:
    done = crowd.maskkit("list-plugins", "--kind=model", "--format=json", cwd=tmp_path)
    records = {record["distribution"]: record["components"] for record in json.loads(done.out)}
    assert {component["kind"] for component in records["maskkit"]} == {"model"}
    assert records["maskkit-hello"] == []


@pytest.mark.parametrize(
    ("allowed", "code"), [([], 0), (["chatty"], 0), (["empty"], 1), (["exiting"], 1), (["refocus"], 1)]
)
def test_strict_fails_when_a_plugin_is_not_well(crowd: Overlay, tmp_path: Path, allowed: list[str], code: int) -> None:
    env = allow_only(*allowed)
    assert crowd.maskkit("list-plugins", "--strict", cwd=tmp_path, env=env).code == code
    assert crowd.maskkit("list-plugins", "--no-strict", cwd=tmp_path, env=env).code == 0


@pytest.mark.parametrize("names", ["exiting, guest-raising", "*"])
def test_a_plugin_is_switched_off_by_its_name_its_distribution_or_with_all(
    crowd: Overlay, tmp_path: Path, names: str
) -> None:
    env = {"MASKKIT_DISABLE_PLUGINS": names}
    done = crowd.maskkit("list-plugins", "--format=json", cwd=tmp_path, env=env)
    records = {record["distribution"]: record for record in json.loads(done.out)}
    off = {name for name, record in records.items() if record["state"] == "DISABLED"}
    assert off == (set(records) - {"maskkit"} if names == "*" else {"guest-exiting", "guest-raising"})
    for name in off:
        assert records[name]["cause"] == "switched off by MASKKIT_DISABLE_PLUGINS"
        assert records[name]["components"] == []


def test_a_plugin_that_is_switched_off_is_not_imported(crowd: Overlay, tmp_path: Path) -> None:
    assert crowd.maskkit("list-plugins", cwd=tmp_path, env={"MASKKIT_DISABLE_PLUGINS": "chatty"}).err == ""


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "version",
        "list-plugins",
        "list-plugins --format=json",
        "list-plugins --plugin=my-model",
        "vote a.csv b.csv --how=geometric --out=vote.csv",
        "evaluate a.csv",
        "count .",
        *(f"{command} --help" for command in ("train", "predict", "evaluate", "vote", "list-plugins", "version")),
        "count --help",
    ],
)
def test_every_command_works_in_the_crowd_and_loads_no_torch(crowd: Overlay, tmp_path: Path, line: str) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("ImageID,ans,truth,0,1\nx.jpg,1,0,0.25,0.75\n", encoding="utf-8")
    (tmp_path / "x.jpg").touch()
    done = crowd.module("maskkit", *line.split(), cwd=tmp_path, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.code == 0, done.err
    imported = set(re.findall(r"^import time:.*\| +([\w.]+)$", done.err, re.MULTILINE))
    assert "maskkit.cli.shell" in imported
    assert imported.isdisjoint({"torch", "torchvision", "sklearn", "matplotlib", "tensorboard"})


def test_a_fault_of_a_plugin_is_told_in_a_line_and_traced_on_demand(crowd: Overlay, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ImageID,ans\nx.jpg,3\n", encoding="utf-8")
    line = ("vote", "a.csv", "--how=lost", "--out=vote.csv")
    quiet = crowd.maskkit(*line, cwd=tmp_path, env=allow_only("failing"))
    assert (quiet.code, quiet.out) == (1, "")
    assert quiet.err.startswith(
        "error: vote lost of guest-failing 1.2.3 failed: ZeroDivisionError: nothing to divide\n"
    )
    assert "--debug" in quiet.err
    assert "Traceback" not in quiet.err
    loud = crowd.maskkit(*line, "--debug", cwd=tmp_path, env=allow_only("failing"))
    assert loud.code == 1
    assert loud.err.startswith("Traceback")
    assert "in fail" in loud.err


def test_the_help_offers_names_as_they_can_be_typed(crowd: Overlay, tmp_path: Path) -> None:
    text = " ".join(crowd.maskkit("train", "--help", cwd=tmp_path).out.split())
    losses = text.partition("--criterion=NAME")[2].partition("One of: ")[2].partition(".")[0].split(", ")
    assert {"focal", "refocus:focal", "poly1", "guest-healthy:healthy_loss"} <= set(losses)
    assert not {"healthy_loss", "x"} & set(losses)


def test_a_bare_name_of_two_guests_is_refused_with_both_spellings_and_each_of_them_works(
    crowd: Overlay, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("ImageID,ans,0,1\nx.jpg,1,0.25,0.75\n", encoding="utf-8")
    env = allow_only("left", "right")
    refusal = refusal_of(crowd.maskkit("vote", "a.csv", "--how=twin", "--out=o.csv", cwd=tmp_path, env=env))
    assert refusal == "error: 2 plugins offer a vote named 'twin'\n  Say left:twin or right:twin.\n"
    for name in ("left:twin", "right:twin", "guest-left:twin"):
        done = crowd.maskkit("vote", "a.csv", f"--how={name}", "--out=o.csv", cwd=tmp_path, env=env)
        assert done.code == 0, done.err
        assert done.out.startswith(f"1 file of gender, 2 classes; {name} vote\n")


def test_an_unknown_name_tells_of_the_plugins_that_are_broken(crowd: Overlay, tmp_path: Path) -> None:
    line = ("vote", "a.csv", "--how=sofft", "--out=o.csv")
    refusal = refusal_of(crowd.maskkit(*line, cwd=tmp_path, env=allow_only("unimportable")))
    assert "Did you mean soft?" in refusal
    assert f"unimportable ({CAUSES['guest-unimportable']})" in refusal


def test_the_option_of_a_guest_is_checked_like_one_of_the_box(crowd: Overlay, tmp_path: Path) -> None:
    words = ("train", "--criterion=poly1", "--criterion_args=epsilom=2")
    refusal = refusal_of(crowd.maskkit(*words, cwd=tmp_path, env=allow_only()))
    assert refusal == "error: loss poly1 has no option 'epsilom'\n  Did you mean epsilon? It takes: epsilon.\n"


def test_a_broken_plugin_is_shown_in_full_with_its_file_and_traceback(crowd: Overlay, tmp_path: Path) -> None:
    shown = crowd.maskkit("list-plugins", "--plugin=unimportable", cwd=tmp_path)
    assert shown.code == 0, shown.err
    title, cause, file, *rest = shown.out.splitlines()
    assert title == "unimportable  guest-unimportable 1.2.3  BROKEN"
    assert cause == f"  {CAUSES['guest-unimportable']}"
    assert file.endswith("/guest_unimportable/__init__.py")
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == CAUSES["guest-unimportable"]
    assert any("guest_unimportable/__init__.py" in line for line in rest)


def test_a_plugin_shown_in_full_tells_where_its_components_stand(crowd: Overlay, tmp_path: Path) -> None:
    shown = crowd.maskkit("list-plugins", "--plugin=maskkit-hello", cwd=tmp_path).out
    assert shown.splitlines()[0] == "hello  maskkit-hello 0.1.0  OK"
    assert "maskkit_hello.losses:Poly1" in shown
    both = crowd.maskkit("list-plugins", "--plugin=healthy", "--format=json", cwd=tmp_path).out
    assert {record["distribution"] for record in json.loads(both)} == {"guest-healthy", "guest-namesake"}
    refused = crowd.maskkit("list-plugins", "--plugin=hallo", cwd=tmp_path)
    assert refusal_of(refused).endswith("error: no plugin 'hallo' is installed\n  Did you mean hello?\n")


def test_each_call_into_a_plugin_is_traced_when_asked(crowd: Overlay, tmp_path: Path) -> None:
    traced = crowd.maskkit("list-plugins", cwd=tmp_path, env={"MASKKIT_TRACE_PLUGINS": "1"})
    calls = re.findall(r"^trace: (\S+) (\S+) [0-9.]+ ms$", traced.err, re.MULTILINE)
    assert {("hello", "import"), ("hello", "maskkit_losses"), ("unimportable", "import")} <= set(calls)
    assert ("raising", "maskkit_losses") in calls
    assert ("hello", "maskkit_models") not in calls


@pytest.mark.parametrize(
    ("how", "advice"), [("soft", "It takes: none."), ("resoft:soft", "Did you mean sharpness? It takes: sharpness.")]
)
def test_the_bare_name_stays_with_the_box_and_the_guest_is_within_reach(
    crowd: Overlay, tmp_path: Path, how: str, advice: str
) -> None:
    (tmp_path / "a.csv").write_text("ImageID,ans,0,1\nx.jpg,1,0.25,0.75\n", encoding="utf-8")
    words = ("vote", "a.csv", f"--how={how}", "--how_args=sharpnes=2", "--out=o.csv")
    refusal = refusal_of(crowd.maskkit(*words, cwd=tmp_path, env=allow_only("resoft")))
    assert refusal == f"error: vote soft has no option 'sharpnes'\n  {advice}\n"


@pytest.fixture
def guests_alone(tmp_path: Path) -> list[str]:
    """Return the flags of a training in which every part is a guest's."""
    faces = write_faces(tmp_path / "faces", people=6)
    mask_split_by_profile(faces).table.drop(columns="path").to_csv(faces / "faces.csv", index=False)
    parts = {
        "data_dir": faces,
        "dataset": "listed",
        "model": "my-model:tiny",
        "augmentation": "mirror",
        "optimizer": "RMSprop",
        "scheduler": "warm_up",
        "criterion": "poly1",
        "criterion_args": "epsilon=2",
        "reporters": "csv,best",
    }
    small = {"epochs": 1, "resize": 32, "num_workers": 0, "eval_dir": "none"}
    return [f"--{name}={value}" for name, value in (parts | small).items()]


def test_a_run_of_guests_alone_is_trained_predicted_scored_and_taken_up_in_the_crowd(
    crowd: Overlay, tmp_path: Path, guests_alone: list[str]
) -> None:
    def do(*words: str) -> None:
        done = crowd.maskkit(*words, cwd=tmp_path)
        assert (done.code, done.err.removeprefix("Welcome!\n")) == (0, "")

    do("train", *guests_alone)
    run_folder = tmp_path / "runs" / "exp"
    assert (run_folder / "best.txt").read_text(encoding="utf-8").startswith("epoch 0: macro F1 ")
    record = json.loads((run_folder / "config.json").read_text(encoding="utf-8"))
    assert {kind: part["distribution"] for kind, part in record["components"].items()} == {
        kind: f"guest-{kind}" for kind in ("dataset", "model", "augmentation", "optimizer", "scheduler")
    }
    assert [(part["distribution"], part["options"]) for part in record["losses"]] == [("maskkit-hello", {"epsilon": 2})]
    images = next((tmp_path / "faces").glob("*/"))
    do("predict", "runs/exp", f"--images={images}", "--out=answers", "--num_workers=0")
    do("evaluate", "runs/exp")
    do("vote", "answers/eval_soft.csv", "--how=geometric", "--out=vote.csv")
    for name in ("answers/eval_hard.csv", "answers/eval_soft.csv", "vote.csv"):
        rows = (tmp_path / name).read_text(encoding="utf-8").splitlines()
        assert [row.partition(",")[0] for row in rows] == ["ImageID", *sorted(path.name for path in images.iterdir())]
    resume = ("train", "--resume=runs/exp", "--epochs=2")
    refused = crowd.maskkit(*resume, cwd=tmp_path, env={"MASKKIT_DISABLE_PLUGINS": "hello"})
    assert refused.code == 1
    assert "error: the run needs the loss poly1 of maskkit-hello 0.1.0, which is not there\n" in refused.err
    assert "Install maskkit-hello 0.1.0" in refused.err
    do(*resume)
    assert len((run_folder / "metrics.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_the_environment_of_the_tests_is_not_touched(crowd: Overlay) -> None:
    assert crowd.python != Path(sys.executable)
    names = run(
        sys.executable, "-c", "from importlib.metadata import entry_points as e; print(e(group='maskkit').names)"
    )
    assert "misspelled" not in names.out
