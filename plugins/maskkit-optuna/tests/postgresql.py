"""A real PostgreSQL for tests: Debian's, in a folder of its own, run by a user without rights."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

import pytest

__all__ = ["postgresql"]

_PLACES = [*map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), os.environ["PATH"]]


@contextmanager
def postgresql() -> Iterator[str]:
    """Start a server with an empty database, and yield the URL of that; the test is skipped, loudly, without one."""
    programs = {name: shutil.which(name, path=os.pathsep.join(_PLACES)) for name in ("initdb", "pg_ctl", "createdb")}
    if None in programs.values() or find_spec("psycopg") is None:
        pytest.skip("no search on PostgreSQL was run; it needs apt-get install postgresql, and pip install psycopg")
    folder = Path(mkdtemp(prefix="maskkit-postgresql-"))
    user = _unprivileged()
    shutil.chown(folder, user)

    def run(name: str, *words: str) -> None:
        command = [str(programs[name]), *words]
        words_of_user = ["runuser", "-u", user, "--", *command] if os.geteuid() == 0 else command
        # Its output goes to a file, since the server would keep a pipe open.
        with (Path(f"{folder}.log")).open("ab") as log:
            done = subprocess.run(words_of_user, stdout=log, stderr=log, cwd="/", check=False, timeout=120)
        assert done.returncode == 0, Path(f"{folder}.log").read_text()

    port = _free_port()
    data = str(folder / "data")
    try:
        run("initdb", "-D", data, "-U", "maskkit", "--auth=trust", "--no-sync", "-E", "UTF8")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "maskkit", "searches")
            yield f"postgresql://maskkit@127.0.0.1:{port}/searches"
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(f"{folder}.log").unlink(missing_ok=True)


def _unprivileged() -> str:
    """Return the user to run as: ourselves, or where that is root, somebody else."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    names = {one.pw_name for one in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
