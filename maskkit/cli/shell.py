"""python-fire, tamed: the command line is checked whole, then Fire picks the command, and the command runs last.

Fire by itself runs a function before it notices an unknown flag, binds stray words to the next parameter and guesses
at types. So each token is checked first against the command's config, its text is handed to Fire as a quoted literal,
which arrives unchanged, and what Fire calls only notes what to do.
"""

import gc
import os
import signal
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Literal

from maskkit.cli import commands
from maskkit.cli.arguments import read_arguments
from maskkit.cli.catalogue import COMMANDS
from maskkit.cli.command import Command
from maskkit.errors import LostProcessError, MaskkitError, NonFiniteLossError, UsageError
from maskkit.flags import Flag, Layer, build, flag, flags_of, read_config_file, read_preset
from maskkit.processes import place_in
from maskkit.tuning.nni.trial import in_trial, tuned_layer

__all__ = ["flags_with_files", "main"]

INTERRUPTED, TERMINATED = 130, 143
_TOGETHER = {"train", "predict"}  # the commands that torchrun may run in several processes
_TOLD_BY_THE_FIRST = (UsageError, NonFiniteLossError, LostProcessError, KeyboardInterrupt)


class _Terminated(KeyboardInterrupt):
    """The process was asked to end, as a scheduler of jobs does; it is cleaned up after as after Ctrl-C."""


class Job:
    """What Fire returns: inert, with nothing that it could chain, print or call."""

    def __init__(self, command: Command, words: tuple[str, ...], flags: Mapping[str, str]) -> None:
        self._command, self._words, self._flags = command, words, flags


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 done, 1 failed, 2 usage, 130 interrupted, 143 terminated."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    code = _run(tokens)
    if tokens and tokens[0] in _TOGETHER and not place_in().is_alone:
        _end_at_once(code)
    return code


def _run(tokens: list[str]) -> int:
    _print_any_text()
    signal.signal(signal.SIGTERM, _terminate)
    if not place_in().is_first and tokens and tokens[0] in _TOGETHER:
        _leave_words_to_the_first()
    debug = "--debug" in tokens
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = _dispatch([word for word in tokens if word != "--debug"], debug=debug)
            print(end="", flush=True)  # a reader who has gone is noticed here, not while Python ends
            return code
    except KeyboardInterrupt as error:
        text, code = ("terminated", TERMINATED) if isinstance(error, _Terminated) else ("interrupted", INTERRUPTED)
        _fail(text, code, error, debug=debug)
        if in_trial():
            _end_by_signal()
        return code
    except MaskkitError as error:
        return _fail(str(error), error.exit_code, error, debug=debug)
    except BrokenPipeError:
        # Whoever read the output has gone, as `| head` does; a second attempt to flush would complain.
        with suppress(OSError):
            sys.stdout.close()
        return 0
    except OSError as error:
        place = error.filename2 or error.filename
        text = error.strerror or str(error) or type(error).__name__
        return _fail(f"{place}: {text}" if place else text, 1, error, debug=debug)
    except Exception as error:  # noqa: BLE001  a person gets one line; --debug shows where it came from
        text = f"{type(error).__name__}: {error}\nThis is a fault of maskkit or of a plugin; --debug shows where."
        return _fail(text, 1, error, debug=debug)


def _dispatch(tokens: list[str], *, debug: bool) -> int:
    if not tokens or tokens[0] in {"-h", "--help", "help"}:
        return commands.show_overview(commands.installed())
    word = {"--version": "version"}.get(tokens[0], tokens[0])
    command = COMMANDS.get(word.replace("_", "-"))
    # Of several processes the first one asks the tuner, and the others take its flags.
    asks_tuner = in_trial() and place_in().is_first and (command is None or command.is_tuned)
    tuned = tuned_layer() if asks_tuner else None
    asks_help = not {"-h", "--help"}.isdisjoint(tokens[1:])
    if command is None or asks_help:
        registry = commands.installed()
        command = command or commands.guest(word, registry)
        if asks_help:
            return commands.show_help(command, registry)
    told = ["--debug"] if debug and "debug" in flags_of(command.config) else []
    job = _ask_fire(command, tokens[1:] + told)
    config, sources = _fill(command, job._words, job._flags, tuned)  # noqa: SLF001  so that Fire cannot chain into it
    return command.run(config, sources)


def _ask_fire(command: Command, tokens: list[str]) -> Job:
    """Let Fire pick the command; tokens are checked before, and every value reaches it as a quoted literal."""
    import fire

    arguments = read_arguments(tokens, flags_with_files(command), command.name)

    def note(*words: str, **flags: str) -> Job:
        return Job(command, words, flags)

    line = [command.name, *map(repr, arguments.words)]
    line += [f"--{name}={text!r}" for name, text in arguments.flags.items()]
    job = fire.Fire({command.name: note}, command=line, name="maskkit", serialize=lambda _: None)
    if not isinstance(job, Job):
        raise UsageError(f"{' '.join(tokens)!r} is not understood", hint=f"See: maskkit {command.name} --help")
    return job


def flags_with_files(command: Command) -> dict[str, Flag]:
    """Return the flags of a command by name, with those that name a file of flags where it takes one."""
    return flags_of(command.config) | (flags_of(_ConfigFile) if command.takes_config_file else {})


@dataclass(frozen=True, kw_only=True)
class _ConfigFile:
    """The flags that name a file of flags."""

    preset: Literal["baseline", "strong"] | None = flag(None, "A recipe of maskkit's own; see maskkit/presets.")
    config: Path | None = flag(None, "A config.json, or any JSON object of flags.")


def _fill(
    command: Command, words: tuple[str, ...], texts: Mapping[str, str], tuned: Layer | None
) -> tuple[Any, dict[str, str]]:
    layers = []
    values: dict[str, object] = dict(texts)
    files = flags_of(_ConfigFile) if command.takes_config_file else {}
    if files and "preset" in values:
        layers.append(read_preset(files["preset"].convert(values.pop("preset"))))
    if files and "config" in values:
        layers.append(read_config_file(files["config"].convert(values.pop("config"))))
    places = [one for one in flags_of(command.config).values() if one.word]
    for position, place in enumerate(places[: len(words)]):
        values[place.name] = list(words[position:]) if place.takes_many_words else words[position]
    layers.append(Layer("flag", values))
    if tuned is not None:
        for name in sorted({*tuned.values} & {*values}):
            warnings.warn(f"--{name}={values[name]} is left aside: the tuner gives {tuned.values[name]}", stacklevel=2)
        layers.append(tuned)
    return build(command.config, layers)


def _end_by_signal() -> None:
    """End as if the interrupt had not been caught: a trial that ends by itself, with any code but 0, has failed."""
    sys.stdout.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)


def _terminate(*_: object) -> None:
    # A whole group of processes is often told at once; torch would take its workers' end for a failure.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    raise _Terminated


def _print_any_text() -> None:
    """Let a name that the output's encoding lacks come out in escapes, as on stderr, instead of failing the command."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _end_at_once(code: int) -> None:
    """End one of several processes that are done, without the way that Python ends.

    On that way threads of torch's process groups, as of 2.14, now and then abort the process.
    """
    gc.collect()  # processes that decode end with their loader
    sys.stdout.flush()
    os._exit(code)


def _leave_words_to_the_first() -> None:
    """Print nothing from here on, an error of this process's own aside, and end when told to, with nothing to save."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  until the process ends


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as a person reads it, without the line of code that gave it."""
    print(f"warning: {message}", file=sys.stderr)


def _fail(text: str, code: int, error: BaseException, *, debug: bool) -> int:
    """Print what went wrong, and what was noted on the error on its way, such as how to go on."""
    place = place_in()
    if not place.is_first and isinstance(error, _TOLD_BY_THE_FIRST):
        return code
    stream = sys.stderr if place.is_first else sys.__stderr__
    if debug:
        import traceback

        traceback.print_exception(error, file=stream)
    notes: list[str] = getattr(error, "__notes__", [])
    first, *others = [*(text.splitlines() or [""]), *notes]
    label = "" if code in {INTERRUPTED, TERMINATED} else "error: "
    if not place.is_first:
        label = f"process {place.rank}: {label}"
    print(f"{label}{first}", *(f"  {line}" for line in others), sep="\n", file=stream)
    return code
