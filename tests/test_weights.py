"""Pretrained weights come from files and from a real server, are checked, and never run code."""

import hashlib
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Runner
from efficientnet_pytorch.utils import url_map
from safetensors.torch import save_file
from torch import Tensor, nn

from maskkit.builtin import models
from maskkit.builtin.base_model import base_model
from maskkit.engine.checkpoint import Checkpoint
from maskkit.engine.weights import MIRROR_VARIABLE, fetch_weights, load_weights
from maskkit.errors import WeightsError

LAST = ("15.weight", "15.bias")  # the last layer of base_model


@dataclass
class Server:
    """A folder served over HTTP on the loopback; a file whose name begins with "short" breaks off half-way."""

    folder: Path
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def add(self, source: Path, name: str = "weights-{}.pth") -> str:
        """Serve a copy of a file; "{}" in its name becomes its hash. Return the URL."""
        name = name.format(digest_of(source)[:8])
        shutil.copyfile(source, self.folder / name)
        return f"{self.url}/{name}"


class Handler(SimpleHTTPRequestHandler):
    """Notes what it is asked for, keeps quiet, and can break off."""

    def __init__(self, server: Server, *arguments: Any) -> None:
        self._notes = server
        super().__init__(*arguments, directory=str(server.folder))

    def do_GET(self) -> None:
        self._notes.asked.append(self.path)
        super().do_GET()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        outputfile.write(content[: len(content) // 2] if "/short" in self.path else content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    notes = Server(tmp_path / "served")
    notes.folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, notes)) as listening:
        notes.url = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield notes
        listening.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep torch's hub folder to the test, and the user's mirror out of it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    return tmp_path / "torch" / "hub" / "checkpoints"


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def network(num_outputs: int = 18, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return base_model(num_outputs, pretrained=False)


def saved(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a .pth file of a network with another number of classes."""
    return saved(tmp_path / "trained.pth", network(num_outputs=1000, seed=1).state_dict())


def closed_port() -> int:
    """Return a port of the loopback at which nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def state_in(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(path, weights_only=True)
    return state


def assert_arrived(found: nn.Module, state: dict[str, Tensor], last: tuple[str, ...] = LAST) -> None:
    """Prove that all tensors but those of the last layer are those of the file."""
    own = found.state_dict()
    assert set(own) == set(state)
    for name, value in own.items():
        assert torch.equal(value, state[name]) is (name not in last), name


def refused(source: str | Path, *, num_outputs: int = 18) -> WeightsError:
    """Return the error, after proving that the network is as it was."""
    untouched, found = network(num_outputs).state_dict(), network(num_outputs)
    with pytest.raises(WeightsError) as caught:
        load_weights(found, str(source))
    assert all(torch.equal(value, untouched[name]) for name, value in found.state_dict().items())
    return caught.value


def test_weights_arrive_from_a_server(server: Server, file: Path) -> None:
    found = network()
    load_weights(found, server.add(file))
    assert_arrived(found, state_in(file))


def test_weights_arrive_from_a_file_of_either_form(file: Path, tmp_path: Path) -> None:
    save_file(state_in(file), tmp_path / "trained.safetensors")
    for path in (file, tmp_path / "trained.safetensors"):
        found = network()
        load_weights(found, str(path))
        assert_arrived(found, state_in(file))


def test_safetensors_arrive_from_a_server(server: Server, file: Path, tmp_path: Path) -> None:
    save_file(state_in(file), tmp_path / "trained.safetensors")
    found = network()
    load_weights(found, server.add(tmp_path / "trained.safetensors", "trained-{}.safetensors"))
    assert_arrived(found, state_in(file))


def test_the_checkpoint_of_a_run_is_a_file_of_weights(tmp_path: Path) -> None:
    trained = network(seed=1).state_dict()
    Checkpoint({"model": trained}, {}).save(tmp_path / "best.safetensors")
    found = network()
    load_weights(found, str(tmp_path / "best.safetensors"))
    assert_arrived(found, trained, last=())


def test_a_file_named_by_its_hash_is_fetched_once_and_again_when_it_was_damaged(
    server: Server, file: Path, hub: Path
) -> None:
    url = server.add(file)
    for _ in range(2):
        load_weights(network(), url)
    assert len(server.asked) == 1
    (kept,) = hub.iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    load_weights(network(), url)
    assert len(server.asked) == 2
    assert kept.read_bytes() == file.read_bytes()


def test_a_file_without_a_hash_in_its_name_is_never_kept(server: Server, file: Path, hub: Path, tmp_path: Path) -> None:
    other = saved(tmp_path / "other.pth", network(seed=7).state_dict())
    for source in (file, other):
        url = server.add(source, "best.pth")
        found = network()
        load_weights(found, url)
        assert torch.equal(found.state_dict()["0.weight"], state_in(source)["0.weight"])
    assert not hub.exists()


def test_a_wrong_hash_is_refused_and_nothing_is_kept(server: Server, file: Path, hub: Path) -> None:
    error = refused(server.add(file, "weights-00000000.pth"))
    assert f"its SHA-256 begins {digest_of(file)[:8]}, not 00000000" in error.message
    assert list(hub.iterdir()) == []


def test_a_missing_file_on_the_server_is_refused(server: Server) -> None:
    assert "404" in refused(f"{server.url}/weights-12345678.pth").message


def test_an_unreachable_server_is_refused() -> None:
    assert "Connection refused" in refused(f"http://127.0.0.1:{closed_port()}/weights.pth").message


@pytest.mark.parametrize("url", ["http://127.0.0.1:port/weights.pth", "http:///weights.pth"])
def test_an_odd_url_is_refused(url: str) -> None:
    assert f"{url} cannot be had" in refused(url).message


@pytest.mark.parametrize("name", ["short-{}.pth", "short.pth"])
def test_a_download_that_breaks_off_is_refused_and_not_kept(server: Server, file: Path, hub: Path, name: str) -> None:
    error = refused(server.add(file, name))
    assert f"was cut short: {file.stat().st_size // 2:,} of {file.stat().st_size:,} bytes" in error.message
    assert not hub.exists() or list(hub.iterdir()) == []


class Bomb:
    """Makes a folder when it is unpickled the trusting way."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return Path.mkdir, (self._folder,)


def test_a_pickle_with_code_in_it_is_refused_and_does_not_run(server: Server, tmp_path: Path) -> None:
    crater = tmp_path / "crater"
    file = saved(tmp_path / "bomb.pth", network().state_dict() | {"15.bias": Bomb(crater)})
    for source in (str(file), server.add(file)):
        error = refused(source)
        assert f"{source} cannot be read as weights: it is damaged, or holds other things than tensors" in error.message
        assert not crater.exists()
    torch.load(file, weights_only=False)
    assert crater.exists(), "the file must be a real threat for this test to mean anything"


def test_what_is_no_dict_of_tensors_is_refused(server: Server, tmp_path: Path) -> None:
    tensors = [torch.zeros(2)]
    assert "is no dict of tensors, but list" in refused(server.add(saved(tmp_path / "list.pth", tensors))).message
    nested = {"epoch": 3, "state_dict": network().state_dict()}
    assert "no dict of tensors alone: 'epoch' is int" in refused(saved(tmp_path / "nested.pth", nested)).message


def test_a_damaged_file_is_refused(file: Path, tmp_path: Path) -> None:
    contents = {"cut.pth": file.read_bytes()[:1000], "empty.pth": b"", "text.pth": b"hello", "odd.safetensors": b"no"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        error = refused(tmp_path / name)
        assert f"{tmp_path / name} cannot be read as weights" in error.message
        assert ".safetensors file, or a .pth file" in error.hint
        assert "\n" not in error.message


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.pth").message == f"there is no file of weights {tmp_path / 'none.pth'}"


def test_the_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    other = saved(tmp_path / "other.pth", models.efficientnet_b0(18, pretrained=False).state_dict())
    error = refused(other)
    assert "does not fit the model" in error.message
    assert "0.weight" in error.message
    assert "--model" in error.hint


def test_a_layer_of_another_size_in_the_middle_is_refused(tmp_path: Path) -> None:
    state = network().state_dict()
    state["4.weight"] = state["4.weight"][:, :-1].clone()
    assert "4.weight" in refused(saved(tmp_path / "middle.pth", state)).message


@pytest.fixture
def imagenet(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that stands for EfficientNet-B0's ImageNet weights, served by a mirror alone."""
    torch.manual_seed(5)
    file = saved(tmp_path / "imagenet.pth", models.efficientnet_b0(1000, pretrained=False).state_dict())
    name = server.add(file, "efficientnet-b0-{}.pth").rpartition("/")[2]
    monkeypatch.setitem(url_map, "efficientnet-b0", f"http://127.0.0.1:{closed_port()}/{name}")
    monkeypatch.setenv(MIRROR_VARIABLE, f"{server.url}/")
    return file


def test_a_pretrained_network_comes_from_the_mirror_with_a_new_last_layer(imagenet: Path, server: Server) -> None:
    found, state = models.efficientnet_b0(18, pretrained=True), state_in(imagenet)
    assert len(server.asked) == 1
    assert found.state_dict()["_fc.weight"].shape == (18, 1280)
    own = {name: value for name, value in found.state_dict().items() if not name.startswith("_fc.")}
    assert len(own) == len(state) - 2
    assert all(torch.equal(value, state[name]) for name, value in own.items())


@pytest.mark.usefixtures("imagenet")
def test_the_mirror_is_not_asked_for_a_url_that_the_user_typed(server: Server, file: Path) -> None:
    server.add(file, "best.pth")
    error = refused(f"http://127.0.0.1:{closed_port()}/best.pth")
    assert "Connection refused" in error.message
    assert server.asked == []


def test_a_mirror_may_be_a_folder(server: Server, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = server.add(file).rpartition("/")[2]
    monkeypatch.setenv(MIRROR_VARIABLE, server.folder.as_uri())
    assert fetch_weights(f"http://127.0.0.1:{closed_port()}/{name}").keys() == state_in(file).keys()


def test_a_mirror_with_the_wrong_content_is_refused_by_the_hash_and_names_the_ways_on(
    server: Server, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, server.url)
    server.add(file, "efficientnet-b0-355c32eb.pth")
    with pytest.raises(WeightsError, match="wrong content") as caught:
        models.efficientnet_b0(18, pretrained=True)
    for way in ("--no-pretrained", "--weights=FILE", MIRROR_VARIABLE, "efficientnet-b0-355c32eb.pth"):
        assert way in caught.value.hint


@pytest.mark.slow
def test_without_weights_within_reach_the_run_stops_before_anything_is_written(
    maskkit: Runner, train_images: Path, tmp_path: Path
) -> None:
    mirror = {MIRROR_VARIABLE: f"http://127.0.0.1:{closed_port()}"}
    folder = tmp_path / "empty"
    folder.mkdir()
    outcome = maskkit("train", f"--data_dir={train_images}", "--model=Efficientnet_b0", env=mirror, cwd=folder)
    assert outcome.code == 1
    assert outcome.err.startswith("downloading http://127.0.0.1")
    assert "error: no pretrained weights: http://127.0.0.1" in outcome.err
    for way in ("--no-pretrained", "--weights=FILE", f"{MIRROR_VARIABLE}=URL"):
        assert way in outcome.err
    assert "Traceback" not in outcome.err
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_a_run_starts_from_weights_on_a_server(
    maskkit: Runner, server: Server, train_images: Path, tmp_path: Path
) -> None:
    """The learning rate is too small to change a float32, so the checkpoint still holds what came."""
    file = saved(tmp_path / "trained.pth", network(num_outputs=3, seed=1).state_dict())
    flags = ("--classification=mask", "--epochs=1", "--lr=1e-30", "--weight_decay=0", "--resize=32", "--eval_dir=none")
    outcome = maskkit("train", f"--data_dir={train_images}", f"--weights={server.add(file)}", *flags)
    assert outcome.code == 0, outcome.err
    assert f"from {server.url}" in outcome.out
    weights = Checkpoint.load(tmp_path / "runs" / "exp" / "checkpoints" / "best.safetensors").weights
    state = state_in(file)
    for name in (name for name in state if "running" not in name and "num_batches" not in name):
        torch.testing.assert_close(weights[name], state[name], rtol=0, atol=1e-20)
