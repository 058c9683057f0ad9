"""Starting and ending a run in W&B: online or offline, without a question and without a long wait."""

import secrets
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import wandb

from maskkit import RunStart, replacing
from maskkit.errors import MaskkitError
from maskkit_wandb.options import Mode, Options
from maskkit_wandb.rows import AXES, flags_of
from maskkit_wandb.transaction_log import waits_for_sync

__all__ = ["Session", "check_login", "folder_of", "start_session"]

_START_SECONDS, _END_SECONDS = 30, 60  # to wait for W&B at most; what is not uploaded by then stays on this machine
_EXIT_CODES = {"completed": 0, "stopped early": 0, "failed": 1, "interrupted": 255}  # 255 is W&B's own for Ctrl-C
_HINT = "Type: wandb login, or leave mode=online out to go on without W&B's server."


class Session:
    """A run in W&B while it is being written; the user is told in one line where it can be seen."""

    def __init__(self, run: wandb.Run, folder: Path, *, is_online: bool, reason: str) -> None:
        self.run, self.is_online = run, is_online
        self._to_upload = (
            f"to upload it: wandb sync {'--include-online ' if is_online else ''}{shlex.quote(str(folder))}"
        )
        _tell(run.url or "online" if is_online else f"offline{reason and f': {reason}'}; {self._to_upload}")

    def define_axes(self) -> None:
        """Let each curve be drawn over its own axis: W&B's counts rows, and goes on counting when a run goes on."""
        for axis, curves in AXES.items():
            self.run.define_metric(axis, hidden=True)
            for curve in curves:
                self.run.define_metric(curve, step_metric=axis)

    def send(self, row: Mapping[str, Any]) -> None:
        """Send a row of figures and images under its number, `_step`, which W&B wants to rise."""
        self.run.log({name: value for name, value in row.items() if name != "_step"}, step=row["_step"], commit=True)

    def end(self, status: str) -> None:
        """End the run as it ended, and W&B's process."""
        try:
            self.run.finish(exit_code=_EXIT_CODES[status])
        except TimeoutError:
            _tell(f"not all of it is uploaded yet; {self._to_upload}")
        finally:
            _end_process()


def folder_of(run: RunStart) -> Path:
    """Return where W&B keeps the files of a run."""
    return run.run_dir / "wandb"


def check_login() -> None:
    """Log in, without a question.

    Raises:
        MaskkitError: there is no key, or W&B does not take it, or cannot be reached.
    """
    reason = _log_in(wandb.Settings(silent=True, console="off", mode="online"))
    if reason:
        _end_process()
        raise MaskkitError(f"mode=online of reporter wandb: {reason}", hint=_HINT)


def start_session(options: Options, run: RunStart, logs: Sequence[Path]) -> Session | None:
    """Start a run in W&B, or go on with it, None when W&B is switched off; `logs` are its transaction logs so far.

    A run that goes on is the same one in W&B: its id lies in W&B's folder of the run.

    Raises:
        MaskkitError: the mode is online, and W&B cannot be reached or refuses the run.
    """
    mode, reason = (options.mode, "") if options.mode != "auto" else _choose_mode(logs)
    if mode == "online":
        try:
            return Session(_init(options, run, mode), folder_of(run), is_online=True, reason="")
        except wandb.Error as error:
            reason = _first_line(error)
            _end_process()  # it holds on to the id of a run that could not start
            if options.mode == "online":
                raise MaskkitError(f"W&B did not take the run: {reason}", hint=_HINT) from error
    if mode == "disabled":
        _end_process()
        return None
    return Session(_init(options, run, "offline"), folder_of(run), is_online=False, reason=reason)


def _choose_mode(logs: Sequence[Path]) -> tuple[Mode, str]:
    """Return the mode that auto stands for, and why it is not online."""
    settings = wandb.Settings(silent=True, console="off")
    asked = wandb.setup(settings).settings.mode  # by WANDB_MODE, or `wandb offline`
    if asked == "disabled":
        return "disabled", ""
    if asked in {"offline", "dryrun"}:
        return "offline", "so it is set for W&B on this machine"
    if any(map(waits_for_sync, logs)):
        return "offline", "its beginning is not uploaded yet"  # W&B would not take that after what comes now
    reason = _log_in(settings)
    return ("offline", reason) if reason else ("online", "")


def _log_in(settings: wandb.Settings) -> str:
    """Log in without a question, or return in one line why that cannot be."""
    wandb.setup(settings)
    try:
        return "" if wandb.login(prompt=False, verify=True) else "no API key, see: wandb login"
    except wandb.Error as error:
        return _first_line(error)


def _init(options: Options, run: RunStart, mode: Literal["online", "offline"]) -> wandb.Run:
    return wandb.init(
        project=options.project,
        entity=options.entity,
        mode=mode,
        dir=run.run_dir.absolute(),
        id=_id_of(folder_of(run) / "id"),
        resume="allow",
        name=options.name or run.run_dir.absolute().name,
        group=options.group,
        tags=options.tags or None,  # none leaves those alone that were given on W&B's page
        config={**flags_of(run.config), "plan": dict(run.plan)},
        allow_val_change=True,  # a run that goes on may be longer, or elsewhere
        reinit="create_new",  # beside any run of whoever called maskkit
        settings=wandb.Settings(
            silent=True,
            console="off",
            save_code=False,
            disable_code=True,
            init_timeout=_START_SECONDS,
            finish_timeout=_END_SECONDS,
            finish_timeout_raises=True,
        ),
    )


def _end_process() -> None:
    """End W&B's process, unless it serves a run of whoever called maskkit, too."""
    if wandb.run is None:
        wandb.teardown()


def _id_of(file: Path) -> str:
    """Return the id in a file, a new one when there is none."""
    if not file.exists():
        with replacing(file) as temporary:
            temporary.write_text(secrets.token_hex(4), encoding="ascii")
    return file.read_text(encoding="ascii").strip()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _tell(text: str) -> None:
    print(f"{'wandb':<11}{text}", flush=True)  # as the console shows the plan
