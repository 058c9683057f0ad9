"""A new plugin of every kind, written by the command, installed by pip, and all of them used at once."""

import csv
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile

import pytest
from conftest import SHOTS, Overlay, write_faces

from maskkit.plugin.hookspecs import KINDS

pytestmark = pytest.mark.slow

FLAGS = {
    "model": ("--model=own_model", "--model_args=width=8,dropout=0.1"),
    "loss": ("--criterion=own_loss", "--criterion_args=q=0.5"),
    "augmentation": ("--augmentation=own_augmentation", "--augmentation_args=share=0.25"),
    "mix": ("--mix=own_mix", "--mix_args=most=0.3"),
    "dataset": ("--dataset=own_dataset", "--dataset_args=table=people.csv"),
    "optimizer": ("--optimizer=own_optimizer", "--optimizer_args=beta1=0.8"),
    "scheduler": ("--scheduler=own_scheduler", "--scheduler_args=power=2"),
    "reporter": ("--reporters=csv,own_reporter", '--reporters_args={"own_reporter": {"name": "log.jsonl"}}'),
}
OPTIONS = {
    "model": {"width": 8, "dropout": 0.1},
    "loss": {"q": 0.5},
    "augmentation": {"share": 0.25},
    "mix": {"most": 0.3},
    "dataset": {"table": "people.csv"},
    "optimizer": {"beta1": 0.8},
    "scheduler": {"power": 2},
}


@dataclass(frozen=True)
class Street:
    """An environment with a package of each kind, the folder that they lie in, and what was printed of each."""

    overlay: Overlay
    folder: Path
    printed: Mapping[str, str]

    def home(self, kind: str) -> Path:
        return self.folder / f"maskkit-own-{kind}"


@pytest.fixture(scope="module")
def street(overlay: Overlay, tmp_path_factory: pytest.TempPathFactory) -> Street:
    folder = tmp_path_factory.mktemp("street")
    printed = {}
    for kind in KINDS:
        done = overlay.maskkit("new-plugin", f"maskkit-own-{kind}", f"--kind={kind}", cwd=folder)
        assert done.code == 0, done.err
        printed[kind] = done.out
    overlay.install(*(folder / f"maskkit-own-{kind}" for kind in KINDS))
    return Street(overlay, folder, printed)


@pytest.fixture(scope="module")
def trained(street: Street, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a training in which everything that can be is a new plugin's."""
    folder = tmp_path_factory.mktemp("trained")
    write_table(write_faces(folder / "faces", people=12))
    flags = [flag for pair in FLAGS.values() for flag in pair]
    small = ("--epochs=2", "--resize=32", "--num_workers=0", "--batch_size=16", "--name=own")
    done = street.overlay.maskkit("train", "--data_dir=faces", *flags, *small, cwd=folder)
    assert (done.code, done.err) == (0, ""), done
    return folder / "runs" / "own"


def write_table(folder: Path) -> None:
    """Write people.csv beside the profiles of `write_faces`."""
    rows = ["path,person,mask,gender,age"]
    for profile in sorted(path.name for path in folder.iterdir()):
        person, gender, _, age = profile.split("_")
        numbers = ("male", "female").index(gender), age
        for position, shot in enumerate(SHOTS):
            rows.append(f"{profile}/{shot}.png,{person},{max(0, position - 4)},{numbers[0]},{numbers[1]}")
    (folder / "people.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_new_plugin_is_found_well(street: Street) -> None:
    done = street.overlay.maskkit("list-plugins", "--format=json", "--strict", cwd=street.folder)
    assert done.code == 0, done.out
    records = {record["distribution"]: record for record in json.loads(done.out)}
    for kind in KINDS:
        record = records[f"maskkit-own-{kind}"]
        assert (record["name"], record["version"], record["state"]) == (f"own-{kind}", "0.1.0", "OK")
        assert [(one["kind"], one["name"]) for one in record["components"]] == [(kind, f"own_{kind}")]


def test_a_training_of_new_parts_alone_records_each_with_its_options(trained: Path) -> None:
    config = json.loads((trained / "config.json").read_text(encoding="utf-8"))
    for kind, options in OPTIONS.items():
        part = config["losses"][0] if kind == "loss" else config["components"][kind]
        assert (part["name"], part["distribution"]) == (f"own_{kind}", f"maskkit-own-{kind}")
        assert part["options"] == options


def test_the_new_reporter_and_scheduler_did_their_work(trained: Path) -> None:
    metrics = rows_of(trained / "metrics.csv")
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1]
    for line, row in zip(lines, metrics, strict=True):
        assert line["valid_loss"] == pytest.approx(float(row["valid_loss"]))
    # At the beginning of the second epoch half of the steps are left, and the power is 2.
    assert [float(row["lr"]) for row in metrics] == pytest.approx([0.001, 0.001 / 4])


def test_the_new_dataset_gave_the_people_of_its_table(trained: Path) -> None:
    with_fold = rows_of(trained / "samples.csv")
    assert len(with_fold) == 12 * len(SHOTS)
    assert len({row["person"] for row in with_fold}) == 12


def test_the_new_vote_votes(street: Street, trained: Path, tmp_path: Path) -> None:
    soft = trained / "predictions" / "valid_soft.csv"
    for name in ("a.csv", "b.csv"):
        copyfile(soft, tmp_path / name)
    done = street.overlay.maskkit(
        "vote", "a.csv", "b.csv", "--how=own_vote", "--how_args=least=0.01", "--out=vote.csv", cwd=tmp_path
    )
    assert done.code == 0, done.err
    assert [row["ans"] for row in rows_of(tmp_path / "vote.csv")] == [row["ans"] for row in rows_of(soft)]


def test_the_new_command_prints_shares_and_refuses_what_it_cannot_read(
    street: Street, trained: Path, tmp_path: Path
) -> None:
    soft = trained / "predictions" / "valid_soft.csv"
    answers = [row["ans"] for row in rows_of(soft)]
    done = street.overlay.maskkit("own-command", soft, "--order=share", cwd=tmp_path)
    assert done.code == 0, done.err
    first, *rows = done.out.splitlines()
    assert first == f"{len(answers)} images"
    printed = {row.split()[0]: int(row.split()[2]) for row in rows}
    assert printed == {answer: answers.count(answer) for answer in answers}
    assert list(printed.values()) == sorted(printed.values(), reverse=True)
    refused = street.overlay.maskkit("own-command", "absent.csv", cwd=tmp_path)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("error: cannot read absent.csv")


def test_the_new_tuner_searches(street: Street, tmp_path: Path) -> None:
    write_faces(tmp_path / "faces", people=12)
    small = ("--epochs=1", "--resize=16", "--num_workers=0", "--reporters=csv", "--data_dir=faces")
    words = ("--engine=own_tuner", "--engine_args=seed=3", "--trials=2", "--criterion=f1", "--model_dir=searches")
    done = street.overlay.maskkit("tune", *words, *small, cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    table = rows_of(next((tmp_path / "searches").glob("*/trials.csv")))
    assert [row["status"] for row in table] == ["SUCCEEDED"] * 2
    assert len({row["lr"] for row in table}) == 2
    assert done.out.splitlines()[-1].startswith("maskkit train --data_dir=faces")


@pytest.mark.parametrize("kind", ["model", "mix"])
def test_an_option_out_of_place_is_refused_by_the_new_part(street: Street, tmp_path: Path, kind: str) -> None:
    component, options = FLAGS[kind]
    name = options.partition("=")[0]
    done = street.overlay.maskkit("train", component, f"{name}=nonsense=1", cwd=tmp_path)
    assert done.code == 2
    assert f"{kind} own_{kind} has no option 'nonsense'" in done.err


def test_what_it_says_to_type_next_works_for_its_own_faces(street: Street) -> None:
    *_, line = street.printed["dataset"].splitlines()
    command, *words = shlex.split(line)
    done = street.overlay.maskkit(*words, "--resize=32", "--num_workers=0", "--name=faces", cwd=street.folder)
    assert (command, done.code) == ("maskkit", 0), done.err


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_says_to_type_next_names_what_is_there(street: Street, kind: str) -> None:
    _, _, steps = street.printed[kind].partition("next:\n")
    install, check, *use = [line.strip() for line in steps.splitlines()]
    assert install == f"pip install -e ./maskkit-own-{kind}"
    assert check.startswith(f"maskkit check-plugin ./maskkit-own-{kind}")
    for line in use:
        _, command, *words = shlex.split(line)
        shown = street.overlay.maskkit(command, "--help", cwd=street.folder)
        assert shown.code == 0, shown.err
        for word in words:
            assert not word.startswith("--") or f"  {word.partition('=')[0]}=" in shown.out
    assert re.search(rf"\bown_{kind}\b", "\n".join(use))


@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_a_new_package_pass(street: Street, kind: str) -> None:
    done = street.overlay.forked("pytest", "-p", "no:cacheprovider", cwd=street.home(kind))
    assert done.code == 0, done.out + done.err
    assert " failed" not in done.out


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_passes_the_check_that_it_advises(street: Street, kind: str) -> None:
    (line,) = re.findall("^  maskkit (check-plugin .+)$", street.printed[kind], re.MULTILINE)
    done = street.overlay.maskkit(*shlex.split(line), cwd=street.folder)
    assert done.code == 0, done.out + done.err
    assert "skipped" not in done.out


def test_an_installed_package_passes_by_its_name(street: Street, tmp_path: Path) -> None:
    done = street.overlay.maskkit("check-plugin", "own-loss", cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    assert "20 passed, 0 failed" in done.out
