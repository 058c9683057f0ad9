"""What the tests share: a hub of their own, which is there before anything asks for one, photos, and the command."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FILES: dict[str, bytes] = {}
ASKED: list[tuple[str, str]] = []
SHOTS = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does: /OWNER/REPOSITORY/resolve/REVISION/FILE, with a commit and an ETag."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        content = self._answer()
        self.wfile.write(content)

    def _answer(self) -> bytes:
        ASKED.append((self.command, self.path))
        content = FILES.get(self.path, b"")
        self.send_response(200 if self.path in FILES else 404)
        if self.path not in FILES:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{hash(content)}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content

    def log_message(self, *_: object) -> None:
        pass


# The hub's client reads these when it is imported, so they are set before any test module is.
server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
cache = tempfile.TemporaryDirectory()
os.environ |= {
    "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
    "HF_HOME": cache.name,
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "OMP_NUM_THREADS": "1",
    "XDG_CACHE_HOME": cache.name,
    "COLUMNS": "100",
}
for variable in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN", "MASKKIT_DISABLE_PLUGINS"):
    os.environ.pop(variable, None)


def serve(name: str, content: bytes, file: str = "model.safetensors") -> str:
    """Let the hub have a file of the weights that timm knows by that name and tag, and return its path there."""
    path = f"/timm/{name}/resolve/main/{file}"
    FILES[path] = content
    return path


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of noise in the competition's layout: 12 people to train on, 3 images to predict."""
    root, draws = tmp_path_factory.mktemp("faces"), np.random.default_rng(0)

    def draw(file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (40, 32, 3), dtype=np.uint8)).save(file)

    for number in range(12):
        profile = f"{number:06}_{('male', 'female')[number % 2]}_Asian_{(20, 40, 60)[number % 3]}"
        for shot in SHOTS:
            draw(root / "train" / "images" / profile / f"{shot}.png")
    for name in "abc":
        draw(root / "eval" / "images" / f"{name}.png")
    (root / "eval" / "info.csv").write_text("ImageID,ans\na.png,0\nb.png,0\nc.png,0\n", encoding="utf-8")
    return root / "train" / "images"


Runner = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def maskkit(tmp_path: Path) -> Runner:
    """Run the real command in an empty folder."""

    def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "maskkit", *map(str, words)]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run
