"""A real sshd for tests: its own keys, its own port, a home of the test's for whoever logs in, even its own network."""

import getpass
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import run
from experiments import free_port, wait_for

__all__ = ["Host", "Server", "another_host", "sshd"]

CONFIG = """
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
SetEnv {variables}
"""


@dataclass(frozen=True)
class Host:
    """An address, and the words that start a program there."""

    address: str = "127.0.0.1"
    within: tuple[str, ...] = ()


@dataclass(frozen=True)
class Server:
    """Where to log in, as whom, and with which key; `programs` holds an ssh that remembers hosts for the test alone."""

    address: str
    port: int
    user: str
    key: Path
    programs: Path


@contextmanager
def another_host() -> Iterator[Host]:
    """Make a host with a network and a loopback of its own, reached through a cable of two ends.

    The test is skipped, loudly, where that is not allowed.
    """
    ip = shutil.which("ip", path="/usr/sbin:/usr/bin:/sbin")
    if ip is None or os.geteuid() != 0:
        pytest.skip(
            "only root makes network namespaces, with ip (Debian: iproute2), so no search on another host was run"
        )
    number = os.getpid() % 64
    near, far = f"192.0.2.{4 * number + 1}", f"192.0.2.{4 * number + 2}"  # addresses that are nobody's, by RFC 5737
    name, here, there = (f"{word}{os.getpid()}" for word in ("maskkit", "near", "far"))
    steps = f"""netns add {name}
        link add {here} type veth peer name {there} netns {name}
        addr add {near}/30 dev {here}
        link set {here} up
        -n {name} addr add {far}/30 dev {there}
        -n {name} link set {there} up
        -n {name} link set lo up"""
    try:
        for step in steps.splitlines():
            done = run(ip, *step.split())
            if done.code != 0:
                pytest.skip(f"no network namespace is to be had, so no search on another host was run: {done.err}")
        yield Host(far, (ip, "netns", "exec", name))
    finally:
        run(ip, "netns", "del", name)


@contextmanager
def sshd(folder: Path, environment: Mapping[str, str], host: Host = Host()) -> Iterator[Server]:
    """Run an sshd on a host, whose logins have the variables of an environment.

    The test is skipped, loudly, where there is none.
    """
    server, keygen = (shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin") for name in ("sshd", "ssh-keygen"))
    if server is None or keygen is None:
        pytest.skip("no sshd is installed (Debian: openssh-server), so no remote experiment was run")
    programs = folder / "programs"
    programs.mkdir(parents=True)
    for name in ("host_key", "user_key"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -o UserKnownHostsFile={folder}/hosts "$@"\n')
    (programs / "ssh").chmod(0o755)
    Path("/run/sshd").mkdir(parents=True, exist_ok=True)  # where it locks itself up, when root starts it
    found = Server(host.address, free_port(), getpass.getuser(), folder / "user_key", programs)
    variables = " ".join(shlex.quote(f"{name}={value}") for name, value in environment.items())
    text = CONFIG.format(port=found.port, address=host.address, folder=folder, variables=variables)
    (folder / "config").write_text(text)
    words = [*host.within, server, "-D", "-e", "-f", str(folder / "config")]
    with (folder / "log").open("w") as log, subprocess.Popen(words, stderr=log) as process:
        try:
            wait_for(lambda: process.poll() is not None or "Server listening" in (folder / "log").read_text(), 20)
            assert process.poll() is None, (folder / "log").read_text()
            yield found
        finally:
            process.terminate()
