"""Other machines that run trials: the file that names them, what they have, and the way back from them."""

import json
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskkit.errors import TuningError, UsageError
from maskkit.tuning import probe

__all__ = ["Machine", "Remote", "read_remote", "tunnels"]

_NEWER_NAMES = {
    "ip": "host",
    "username": "user",
    "passwd": "password",
    "sshKeyPath": "sshKeyFile",
    "passphrase": "sshPassphrase",
    "maxTrialNumPerGpu": "maxTrialNumberPerGpu",
}
_FOR_GPUS = ("gpuIndices", "maxTrialNumberPerGpu", "useActiveGpu")


@dataclass(frozen=True)
class Machine:
    """A machine that is reached by ssh, with the directory of its Python and what NNI is told of its GPUs."""

    host: str
    port: int
    user: str
    key: Path
    python_dir: str
    gpus: Mapping[str, Any]

    @property
    def python(self) -> str:
        return f"{self.python_dir.rstrip('/')}/python" if self.python_dir else "python3"

    @property
    def is_here(self) -> bool:
        """Whether it is this very machine, which needs no way back."""
        return self.host == "localhost" or self.host.startswith("127.")

    @property
    def address(self) -> str:
        return f"{self.user}@{self.host}, port {self.port}"

    def ssh(self, *options: str) -> list[str]:
        """Return the words that log in by the key alone and never ask for anything."""
        given = ["BatchMode=yes", "ConnectTimeout=10", "StrictHostKeyChecking=accept-new", "IdentitiesOnly=yes"]
        words = [word for option in given for word in ("-o", option)]
        return ["ssh", *words, "-i", str(self.key), "-p", str(self.port), *options, f"{self.user}@{self.host}"]

    def settings(self, *, with_gpus: bool) -> dict[str, Any]:
        """Return what NNI is told of the machine; of GPUs only where trials are given some, since else it refuses."""
        known = {"host": self.host, "port": self.port, "user": self.user, "sshKeyFile": str(self.key)}
        python = {"pythonPath": self.python_dir} if self.python_dir else {}
        return known | python | (dict(self.gpus) if with_gpus else {})

    def problems(self, *, maskkit: str, nni: str, gpus_per_trial: int | None, paths: Iterable[str]) -> Iterator[str]:
        """Yield what keeps trials from running there, each with what to do."""
        words = shlex.join([self.python, "-", *paths])
        source = Path(probe.__file__).read_text(encoding="utf-8")
        told = subprocess.run([*self.ssh(), words], input=source, capture_output=True, text=True, check=False)  # noqa: S603
        if told.returncode == 255:
            cause = (told.stderr.strip().splitlines() or ["no cause was given"])[-1]
            yield (
                f"cannot log in as {self.address} with the key {self.key}: {cause}; type:"
                f" ssh-copy-id -i {shlex.quote(str(self.key))} -p {self.port} {self.user}@{self.host}"
            )
        elif told.returncode in {126, 127}:
            yield f"{self.host} has no {self.python}; pythonPath names the directory that holds python"
        elif told.returncode != 0:
            yield f"{self.python} fails on {self.host}: {(told.stderr.strip().splitlines() or [''])[-1]}"
        else:
            yield from self._lacks(json.loads(told.stdout.splitlines()[-1]), maskkit, nni, gpus_per_trial)

    def _lacks(self, facts: Mapping[str, Any], maskkit: str, nni: str, gpus_per_trial: int | None) -> Iterator[str]:
        install = f"type there: {self.python} -m pip install 'maskkit[nni]=={maskkit}'"
        for name, wanted in {"maskkit": maskkit, "nni": nni}.items():
            if facts[name] != wanted:
                yield f"{self.host} has {facts[name] or 'no'} {name} for {self.python}, not {wanted}; {install}"
        for path in facts["missing"]:
            yield f"{self.host} has no {path}; copy the data there, or name their place there with --data_dir"
        found = facts["gpus"]
        if gpus_per_trial and gpus_per_trial > found:
            yield f"{self.host} has {found} GPUs, not gpuNum: {gpus_per_trial}; leave that out where there is none"
        is_shared = self.gpus.get("useActiveGpu") and self.gpus.get("maxTrialNumberPerGpu", 1) > 1
        if gpus_per_trial == found == 1 and not is_shared:
            yield f"{self.host} has one GPU, which NNI takes only with maxTrialNumPerGpu: 2 and useActiveGpu: true"


@dataclass(frozen=True)
class Remote:
    """Where trials run, how many GPUs each gets (None leaves them as they are), and this machine's address for them."""

    machines: tuple[Machine, ...]
    gpus_per_trial: int | None
    manager: str | None


def read_remote(path: Path) -> Remote:
    """Return the machines of a config of NNI, of its older form or its newer one.

    Raises:
        UsageError: the file cannot be read, names no machine, or one without host, user or key file.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--remote: cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--remote: {path} is no YAML: {' '.join(str(error).split())}") from None
    content = content if isinstance(content, dict) else {}
    service = content.get("trainingService") or {}
    listed = service.get("machineList") or content.get("machineList") or []
    if not listed:
        raise UsageError(f"--remote: {path} has no machineList", hint="See config_remote.yml for its form.")
    gpus = service.get("trialGpuNumber", content.get("trialGpuNumber", (content.get("trial") or {}).get("gpuNum")))
    return Remote(tuple(_machine(one, path) for one in listed), gpus, content.get("nniManagerIp"))


def _machine(listed: Mapping[str, Any], path: Path) -> Machine:
    one = {_NEWER_NAMES.get(name, name): value for name, value in listed.items()}
    for name, older in (("host", "ip"), ("user", "username"), ("sshKeyFile", "sshKeyPath")):
        if not one.get(name):
            raise UsageError(
                f"--remote: a machine of {path} has no {older}",
                hint="Passwords are not taken, since NNI's page shows them: name a key file with sshKeyPath.",
            )
    return Machine(
        host=str(one["host"]),
        port=int(one.get("port", 22)),
        user=str(one["user"]),
        key=path.parent / Path(one["sshKeyFile"]).expanduser(),
        python_dir=str(one.get("pythonPath") or ""),
        gpus={name: one[name] for name in _FOR_GPUS if name in one},
    )


@contextmanager
def tunnels(machines: Iterable[Machine], port: int) -> Iterator[None]:
    """Lead a port of each machine's own address back to the same port here, until left or until this process ends.

    Raises:
        TuningError: a machine refuses.
    """
    with ExitStack() as stack:
        for machine in machines:
            if not machine.is_here:
                stack.enter_context(_tunnel(machine, port))
        yield


@contextmanager
def _tunnel(machine: Machine, port: int) -> Iterator[None]:
    way = ["-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=15", "-R", f"127.0.0.1:{port}:127.0.0.1:{port}"]
    tunnel = subprocess.Popen(  # noqa: S603  words of a list, no shell
        [*machine.ssh(*way), "echo open && cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the search alone, which closes it last
    )
    try:
        assert tunnel.stdout is not None  # noqa: S101  it was asked for
        if tunnel.stdout.readline() != "open\n":
            _, told = tunnel.communicate()
            cause = (told.strip().splitlines() or ["no cause was given"])[-1]
            raise TuningError(
                f"no way back from {machine.address} to port {port} here: {cause}", hint="Try another --port."
            )
        yield
    finally:
        tunnel.communicate()  # it closes its input, which ends the tunnel
