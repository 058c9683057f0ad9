"""The installed command from outside: what is typed, what is printed, how it ends, and that nothing else happens."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Runner
from forked import Outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import maskkit as package
from maskkit.cli.catalogue import COMMANDS
from maskkit.cli.shell import main
from maskkit.config import TrainConfig
from maskkit.flags import Layer, as_json, build, flags_of, read_config_file

GOLDEN = Path(__file__).parent / "golden"
REFRESH = "MASKKIT_REFRESH_GOLDEN"
SCRIPT = Path(sysconfig.get_path("scripts")) / "maskkit"
HARD = "ImageID,ans\na.jpg,1\nb.jpg,17\n"
ODD_NAMES = [
    "1_000.csv",
    "a#b.csv",
    "None",
    "7.30",
    "'quoted'.csv",
    '"',
    "a b.csv",
    "a,b.csv",
    "[1]",
    "{}",
    "True",
    "0x1F",
]
ODD_NAMES += ["x=y", "-5.csv", "[red]", ":car:.csv", "$HOME", "back\\slash", "lambda: 0", "()", "1e3", "얼굴.csv"]


@pytest.fixture
def inside(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Runner:
    """Run a command line in this process, which saves starting Python and importing torch each time."""
    for name in set(os.environ) - set(environment):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def start(*words: str | Path) -> Outcome:
        code = main([str(word) for word in words])
        return Outcome(code, *capsys.readouterr())

    return start


def refusal_of(outcome: Outcome, *, code: int = 2) -> str:
    """Return the message of a command that did nothing but refuse."""
    assert (outcome.code, outcome.out) == (code, ""), outcome
    assert outcome.err.startswith("error: ")
    assert "Traceback" not in outcome.err
    return outcome.err.removeprefix("error: ")


def lines_of(outcome: Outcome) -> list[str]:
    """Return what a command printed that went well."""
    assert (outcome.code, outcome.err) == (0, ""), outcome
    return outcome.out.splitlines()


def write_hard_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(HARD, encoding="utf-8")


TRAPS = [
    ("train --modle=BaseModel", "unknown flag --modle\n  Did you mean --model?\n"),
    ("train --model=BaseModel --epochs=1 --zzz", "unknown flag --zzz\n  All flags: maskkit train --help\n"),
    ("train epochs=3", "unexpected word 'epochs=3'\n  Did you mean --epochs?\n"),
    ("train 3", "unexpected word '3'\n  Flags begin with --; see: maskkit train --help\n"),
    ("train --epochs", "--epochs needs a value\n  Type --epochs=INT. Passes over the training images.\n"),
    ("train --epochs --lr=1", "--epochs needs a value\n"),
    ("train --epochs=1_000", "--epochs must be a whole number; received '1_000'\n"),
    ("train --epochs=0", "--epochs must be at least 1; received '0'\n"),
    ("train --epochs=1 --epochs 2", "--epochs is given twice: '1' and '2'\n"),
    ("train --lr=abc", "--lr must be a number; received 'abc'\n"),
    ("train --lr -1", "--lr must be above 0; received '-1'\n"),
    ("train --val_ratio=2", "--val_ratio must be at most 0.9; received '2'\n"),
    ("train --resize 224 224 224", "unexpected word '224'\n"),
    ("train --resize=huge", "--resize must be height and width: 128,96 or 128x96, or one number for a square;"),
    ("train --no-epochs", "unknown flag --no-epochs\n"),
    ("train --no-pretrained=true", "--no-pretrained takes no value; received 'true'\n"),
    ("train --pretrained maybe", "unexpected word 'maybe'\n"),
    ("train --classification=masks", "--classification must be one of: multi, mask, gender, age, multihead; received"),
    ("train --help=1", "unknown flag --help\n"),
    ("train -", "'-' is no flag\n"),
    ("train --", "'--' is no flag\n"),
    ("train -e 3", "'-e' is no flag\n"),
    ("train --=3", "'--=3' is no flag\n"),
    ("predict", "RUN is missing: A run folder, also one of --folds, or a .safetensors checkpoint.\n  Type: maskkit"),
    ("evaluate a.csv b.csv", "unexpected word 'b.csv'\n"),
    ("vote a.csv --weights=1,x --out=o.csv", "--weights must be a number; received '1,x'\n"),
    ("vote a.csv", "nowhere to write the vote\n  Type --out=vote.csv, or --soft_out=FILE for probabilities.\n"),
    ("vote a.csv --how=sofft --out=o.csv", "unknown vote 'sofft'\n  Did you mean soft?\n  Valid: soft, hard.\n"),
    ("list-plugins --kind=losss", "--kind must be one of: all, model, loss, "),
    ("version upper", "unexpected word 'upper'\n"),
    ("version - upper", "'-' is no flag\n"),
    ("version -- --trace", "'--' is no flag\n"),
    ("version --interactive", "unknown flag --interactive\n"),
    ("trian", "unknown command 'trian'\n  Did you mean train?\n"),
    ("--epochs=3 train", "unknown command '--epochs=3'\n  Commands: train, tune, find-lr, predict, evaluate, vote, "),
    ("--vesion", "unknown command '--vesion'\n  Did you mean version?\n"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message"), TRAPS)
def test_a_faulty_line_is_refused_before_anything_happens(
    maskkit: Runner, tmp_path: Path, line: str, message: str
) -> None:
    assert refusal_of(maskkit(*line.split())).startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_what_it_does_not_know(inside: Runner, command: str) -> None:
    assert "unknown flag --zzz\n" in refusal_of(inside(command, "--zzz=1"))
    assert "'-z' is no flag\n" in refusal_of(inside(command, "-z"))


def assert_golden(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    text = text.replace(package.__version__, "VERSION")
    if os.environ.get(REFRESH):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    advice = f"What the command prints has changed. If that is meant: {REFRESH}=1 pytest {Path(__file__).name}"
    assert path.is_file(), advice
    assert text == path.read_text(encoding="utf-8"), advice


def test_the_overview_is_as_reviewed(maskkit: Runner) -> None:
    assert_golden("help", "\n".join([*lines_of(maskkit("--help")), ""]))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_is_as_reviewed(maskkit: Runner, command: str) -> None:
    assert_golden(f"help-{command}", "\n".join([*lines_of(maskkit(command, "--help")), ""]))


def test_the_list_of_what_is_in_the_box_is_as_reviewed(maskkit: Runner) -> None:
    first, *others = lines_of(maskkit("list-plugins"))
    guests = [row for row, line in enumerate(others) if not line.startswith(" ")]
    assert_golden("list-plugins", "\n".join([first, *others[: min(guests, default=None)], ""]))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_shows_every_flag_with_its_type_sentence_and_default(inside: Runner, command: str) -> None:
    text = " ".join(" ".join(lines_of(inside(command, "--help"))).split())
    assert f"Example: maskkit {command}" in text
    for flag in flags_of(COMMANDS[command].config).values():
        title = flag.name.upper() if flag.word else f"--{flag.name}={flag.type_name}"
        default = r"" if flag.word else r"( One of: [^.]+\.)? (Default: \S+|Must be given)\."
        assert re.search(rf"{re.escape(title)}( \.\.)? {re.escape(flag.text)}{default}", text), title


def test_the_help_names_what_is_installed(inside: Runner) -> None:
    text = " ".join(" ".join(lines_of(inside("train", "--help"))).split())
    assert "One of: cross_entropy, focal, label_smoothing, f1." in text


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"], ["--debug"]])
def test_without_a_command_the_commands_are_shown(inside: Runner, words: list[str]) -> None:
    assert lines_of(inside(*words)) == lines_of(inside("--help"))


@pytest.mark.parametrize(
    "line",
    [
        "train -h",
        "train --epochs=1 --help",
        "train --epochs=1 --help --resize=32",
        "train --modle=x --epochs=abc -h",
        "train stray --help",
        "train --name --help",
        "train -- --help",
        "train - --help",
    ],
)
def test_help_anywhere_only_shows_the_help(maskkit: Runner, tmp_path: Path, line: str) -> None:
    assert lines_of(maskkit(*line.split()))[0] == COMMANDS["train"].summary
    assert list(tmp_path.iterdir()) == []


def test_help_of_an_unknown_command_is_refused(inside: Runner) -> None:
    assert "Did you mean vote?" in refusal_of(inside("voet", "--help"))


def test_the_help_is_printed_without_a_pager(environment: dict[str, str]) -> None:
    terminal, side = pty.openpty()
    with subprocess.Popen(
        [SCRIPT, "train", "--help"], stdin=side, stdout=side, stderr=side, env=environment | {"PAGER": "echo paged"}
    ) as process:
        os.close(side)
        text = b"".join(chunks_of(terminal)).decode()
    assert process.returncode == 0
    assert "--epochs=INT" in text
    assert "paged" not in text


def chunks_of(terminal: int) -> Iterator[bytes]:
    """Yield what a pseudo-terminal shows; Linux ends it with an error, others with nothing."""
    with os.fdopen(terminal, "rb", buffering=0) as stream:
        while True:
            try:
                chunk = stream.read(4096)
            except OSError:
                return
            if not chunk:
                return
            yield chunk


@pytest.mark.parametrize("words", [["version"], ["--version"]])
def test_version_names_the_versions(inside: Runner, words: list[str]) -> None:
    first, second, third = lines_of(inside(*words))
    assert first == f"maskkit {package.__version__}"
    assert second.startswith(f"python {sys.version_info.major}.")
    assert third.startswith("torch ")


def test_the_module_is_the_same_command(environment: dict[str, str]) -> None:
    module = subprocess.run(
        [sys.executable, "-m", "maskkit", "version"], env=environment, capture_output=True, check=True
    )
    script = subprocess.run([SCRIPT, "version"], env=environment, capture_output=True, check=True)
    assert module.stdout == script.stdout != b""


def test_a_command_may_be_spelled_with_an_underscore(inside: Runner) -> None:
    assert lines_of(inside("list_plugins")) == lines_of(inside("list-plugins"))


def test_a_kind_is_listed_alone(inside: Runner) -> None:
    lines = lines_of(inside("list-plugins", "--kind=vote", "--no-strict"))
    assert [line.split()[0] for line in lines[1:4]] == ["vote", "soft", "hard"]


def test_names_of_files_arrive_exactly_as_typed(maskkit: Runner, tmp_path: Path) -> None:
    write_hard_files(tmp_path, *ODD_NAMES)
    lines = lines_of(maskkit("vote", *ODD_NAMES, "--how=hard", "--out=vote.csv"))
    numbered = [f"  {number}  hard  {name}" for number, name in enumerate(ODD_NAMES, start=1)]
    assert lines[1 : len(numbered) + 1] == numbered
    assert (tmp_path / "vote.csv").read_text(encoding="utf-8") == HARD


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_name_of_an_output_arrives_exactly_as_typed(inside: Runner, tmp_path: Path, name: str) -> None:
    (tmp_path / "answers").mkdir()
    write_hard_files(tmp_path, "in.csv")
    os.chdir("answers")
    for words in ([f"--out={name}"], ["--out", name]):
        lines = lines_of(inside("vote", "../in.csv", "--how=hard", *words))
        assert lines[-1] == f"wrote {name}"
        assert [path.name for path in (tmp_path / "answers").iterdir()] == [name]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_characters="\0")))
def test_any_text_reaches_the_command_unchanged(inside: Runner, text: str) -> None:
    assert refusal_of(inside("list-plugins", f"--kind=?{text}")).endswith(f"; received {'?' + text!r}\n")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=30).filter(str.isprintable))
def test_any_word_reaches_the_command_unchanged(inside: Runner, text: str) -> None:
    word = f"no such file {text}".rstrip("/.")
    expected = f"{Path(word)} cannot be read: "
    assert refusal_of(inside("evaluate", word), code=1).startswith(expected)


def test_a_name_that_the_terminal_cannot_show_is_shown_in_escapes(maskkit: Runner, tmp_path: Path) -> None:
    write_hard_files(tmp_path, "얼굴.csv")
    lines = lines_of(maskkit("vote", "얼굴.csv", "--how=hard", "--out=o.csv", env={"PYTHONIOENCODING": "ascii"}))
    assert lines[1] == r"  1  hard  \uc5bc\uad74.csv"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_a_name_that_is_no_text_still_works(maskkit: Runner, tmp_path: Path) -> None:
    write_hard_files(tmp_path, os.fsdecode(b"\xff.csv"))
    lines = lines_of(maskkit("vote", os.fsdecode(b"\xff.csv"), "--how=hard", "--out=o.csv"))
    assert lines[1] == r"  1  hard  \udcff.csv"


def test_a_failure_that_is_no_fault_of_the_line_exits_with_1(inside: Runner) -> None:
    assert (
        refusal_of(inside("evaluate", "absent.csv"), code=1) == "absent.csv cannot be read: No such file or directory\n"
    )


@pytest.mark.parametrize(
    ("out", "message"),
    [("in.csv/o.csv", "in.csv: File exists\n"), ("folder", "folder: Is a directory\n")],
)
def test_a_place_that_cannot_be_written_is_named(inside: Runner, tmp_path: Path, out: str, message: str) -> None:
    write_hard_files(tmp_path, "in.csv")
    (tmp_path / "folder").mkdir()
    outcome = inside("vote", "in.csv", "--how=hard", f"--out={out}")
    assert (outcome.code, outcome.err) == (1, f"error: {message}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "in.csv"]


@pytest.mark.parametrize("line", ["train --modle=x", "evaluate absent.csv", "trian"])
def test_a_traceback_is_shown_only_to_who_asks(inside: Runner, line: str) -> None:
    quiet, loud = inside(*line.split()), inside(*line.split(), "--debug")
    assert quiet.code == loud.code
    assert loud.err.startswith("Traceback")
    assert loud.err.endswith(quiet.err)
    assert "Traceback" not in quiet.err


def test_debug_changes_nothing_where_all_goes_well(inside: Runner) -> None:
    assert lines_of(inside("--debug", "version")) == lines_of(inside("version"))


@pytest.mark.parametrize("buffering", ["", "1"])
@pytest.mark.parametrize("line", ["--help", "train --help", "version", "list-plugins", "list-plugins --format=json"])
def test_a_reader_who_has_gone_is_no_error(environment: dict[str, str], line: str, buffering: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stream:
        done = subprocess.run(
            [SCRIPT, *line.split()],
            env=environment | {"PYTHONUNBUFFERED": buffering},
            stdout=stream,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.stderr == b""
    assert done.returncode in {0, 1}


@contextmanager
def interrupts_allowed() -> Iterator[None]:
    """Let a child process be interrupted even where this one, begun in the background, may not be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupted_command_says_so_and_exits_with_130(environment: dict[str, str], tmp_path: Path) -> None:
    pipe = tmp_path / "endless.csv"
    os.mkfifo(pipe)
    line: list[str | Path] = [SCRIPT, "evaluate", pipe]
    with interrupts_allowed(), subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True) as process:
        with pipe.open("wb", buffering=0) as stream:
            stream.write(b"x" * 200_000)  # more than a pipe holds: once it is written, the command is reading
            process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=60)
    assert (process.returncode, message) == (130, "interrupted\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"epoch": 3}', "unknown name 'epoch' in flags.json\n  Did you mean epochs?\n"),
        ('{"epochs": 0}', "flags.json: --epochs must be at least 1; received 0\n"),
        ('{"epochs": 1.5}', "flags.json: --epochs must be a whole number; received 1.5\n"),
        ('{"values": {"lr": "abc"}, "origins": {}}', "flags.json: --lr must be a number; received 'abc'\n"),
        ("epochs = 3", "--config: flags.json is no JSON (Expecting value at character 1)\n"),
        ("[3]", "--config: flags.json must hold a JSON object of flags and values\n"),
    ],
)
def test_a_faulty_config_file_is_named(inside: Runner, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "flags.json").write_text(content, encoding="utf-8")
    assert refusal_of(inside("train", "--config=flags.json")).startswith(message)


def test_a_config_file_that_is_not_there_is_refused(inside: Runner) -> None:
    assert refusal_of(inside("train", "--config=absent")) == "--config: cannot read absent: No such file or directory\n"
    assert refusal_of(inside("train", "--config=~/absent-maskkit")).startswith(f"--config: cannot read {Path.home()}/")
    assert refusal_of(inside("train", "--config")).startswith("--config needs a value\n")
    assert refusal_of(inside("vote", "--config=x.json")).startswith("unknown flag --config\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "--criterion=focal --criterion_args=gama=1",
            "loss focal has no option 'gama'\n  Did you mean gamma? It takes: class_weights, gamma.\n",
        ),
        ("--criterion=focal --criterion_args=gamma=x", "option gamma of loss focal must be a number; received 'x'\n"),
        (
            "--criterion=focal --criterion_args=num_classes=3",
            "loss focal has no option 'num_classes'\n  num_classes is set by maskkit itself.\n",
        ),
        ("--model_args=drop=.5", "model BaseModel has no option 'drop'\n"),
        ("--criterion=f1 --class_weights=balanced", "--class_weights=balanced: the loss f1 takes no class weights\n"),
        ("--criterion=focall", "unknown loss 'focall'\n  Did you mean focal?\n"),
        ("--model=Efficientnet_b9", "unknown model 'Efficientnet_b9'\n  Did you mean Efficientnet_b"),
        ("--model=efficientnet-b3", "unknown model 'efficientnet-b3'\n  Did you mean Efficientnet_b3?\n"),
        ("--optimizer=adam", "unknown optimizer 'adam'\n  Did you mean Adam?\n"),
        ("--reporters=console,cvs", "unknown reporter 'cvs'\n  Did you mean csv?\n"),
        ("--lr_decay_step=2 --scheduler=cosine", "--lr_decay_step selects StepLR, but --scheduler=cosine is given\n"),
    ],
)
def test_a_wrong_component_or_option_is_refused_before_data_is_looked_at(
    inside: Runner, tmp_path: Path, line: str, message: str
) -> None:
    assert refusal_of(inside("train", "--data_dir=absent", *line.split())).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_missing_data_is_a_failure_that_writes_nothing(inside: Runner, tmp_path: Path) -> None:
    assert "absent" in refusal_of(inside("train", "--data_dir=absent"), code=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_flags_win_over_a_config_file_and_a_runs_config_is_one(
    inside: Runner, tmp_path: Path, train_images: Path
) -> None:
    small = {"resize": [32, 32], "batch-size": 16, "epochs": 2, "num_workers": 0, "reporters": ["csv"]}
    (tmp_path / "small.json").write_text(json.dumps(small), encoding="utf-8")
    done = inside(
        "train", "--config=small.json", "--epochs=1", f"--data_dir={train_images}", "--eval_dir=none", "--name=7.30"
    )
    assert done.code == 0, done.err
    path = Path("runs/7.30/config.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    values, origins = content["values"], content["origins"]
    assert (values["epochs"], values["batch_size"], values["resize"], values["lr"]) == (1, 16, [32, 32], 0.001)
    assert (origins["epochs"], origins["batch_size"], origins["lr"]) == ("flag", "small.json", "default")

    replayed, origins = build(TrainConfig, [read_config_file(path), Layer("flag", {"name": "again"})])
    assert as_json(replayed) == {**values, "name": "again"}
    assert (origins["name"], origins["epochs"]) == ("flag", str(path))
    assert refusal_of(inside("train", f"--config={path}", "--lr=0")) == "--lr must be above 0; received '0'\n"
