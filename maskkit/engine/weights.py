"""Getting pretrained weights: from a file or by download, checked by hash, never unpickled into code."""

import hashlib
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from maskkit.engine.checkpoint import Checkpoint
from maskkit.errors import CheckpointError, WeightsError
from maskkit.files import replacing

__all__ = ["MIRROR_VARIABLE", "check_source", "fetch_weights", "load_weights"]

MIRROR_VARIABLE = "MASKKIT_WEIGHTS_MIRROR"

_DIGEST = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")
_TIMEOUT = 30  # seconds without an answer or a byte


def fetch_weights(url: str) -> dict[str, Tensor]:
    """Return the weights at a URL; they are kept in torch's hub folder for the next time.

    The file name ends in the first digits of its SHA-256 ("name-355c32eb.pth"), which is checked.
    $MASKKIT_WEIGHTS_MIRROR, when set, is a folder's URL where the file of that name is looked for instead.

    Raises:
        WeightsError: the download fails, or the content does not have that hash; the three ways on are named.
    """
    name = _file_name(url)
    mirror = os.environ.get(MIRROR_VARIABLE, "").rstrip("/")
    try:
        return _fetched(f"{mirror}/{name}" if mirror else url)
    except WeightsError as error:
        raise WeightsError(
            f"no pretrained weights: {error.message}",
            hint="Three ways on:\n"
            "  --no-pretrained                 train from scratch\n"
            f"  --weights=FILE                  a copy of {name} fetched elsewhere\n"
            f"  {MIRROR_VARIABLE}=URL      a folder on a server within reach that holds {name}",
        ) from error


def load_weights(model: nn.Module, source: str) -> None:
    """Fill a model from a .pth or .safetensors file, such as a run's checkpoint, or from the URL of one.

    Only the last layer may be of another size.

    Raises:
        WeightsError: the file cannot be had or read, or is not of this network.
    """
    check_source(source)
    state = _fetched(source) if _is_remote(source) else _read(Path(source).expanduser(), source)
    own = model.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and value.shape == own[name].shape}
    odd = [name for name in own if name not in fitting]
    heads = {name.rpartition(".")[0] for name in odd}
    if not fitting or len(heads) > 1 or (odd and odd[-1] != list(own)[-1]):
        shown = ", ".join(odd[:5])
        raise WeightsError(
            f"{source} does not fit the model: {len(odd)} of its {len(own)} tensors are missing or of another size"
            f" ({shown}{', ..' if len(odd) > 5 else ''})",
            hint="Name the model that these weights belong to with --model.",
        )
    model.load_state_dict(fitting, strict=False)


def check_source(source: str) -> None:
    """Refuse a file that is not there, before anything else takes time; a URL is taken at its word.

    Raises:
        WeightsError: there is no such file.
    """
    if not _is_remote(source) and not Path(source).expanduser().is_file():
        raise WeightsError(f"there is no file of weights {source}")


def _is_remote(source: str) -> bool:
    return urlsplit(source).scheme in {"http", "https"}


def _fetched(url: str) -> dict[str, Tensor]:
    """Return the weights at a URL; only a file whose name holds its hash is kept, since another may change."""
    name = _file_name(url)
    digest = _DIGEST.search(name)
    if digest is None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name or "weights")
            _download(url, path)
            return _read(path, url)
    kept = Path(torch.hub.get_dir(), "checkpoints", name)
    if not kept.is_file() or not _sha256(kept).startswith(digest[1]):
        _download(url, kept, digest[1])
    return _read(kept, url)


def _file_name(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]


def _download(url: str, target: Path, digest: str = "") -> None:
    """Write what a URL holds to `target`, once it is there whole and has the digest, when one is given."""
    print(f"downloading {url}", file=sys.stderr)
    try:
        request = Request(url, headers={"User-Agent": "maskkit"})  # noqa: S310  the user's own URL, or the model's
        with replacing(target) as temporary:
            with urlopen(request, timeout=_TIMEOUT) as answer, temporary.open("wb") as file:  # noqa: S310  the same
                shutil.copyfileobj(answer, file)
            size, promised = temporary.stat().st_size, answer.headers.get("Content-Length")
            if promised is not None and size != int(promised):
                raise WeightsError(f"{url} was cut short: {size:,} of {int(promised):,} bytes came")
            found = _sha256(temporary)
            if not found.startswith(digest):
                raise WeightsError(f"{url} has the wrong content: its SHA-256 begins {found[:8]}, not {digest}")
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()  # it is an answer too
        raise WeightsError(f"{url} cannot be had: {error or type(error).__name__}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, source: str) -> dict[str, Tensor]:
    """Return the tensors in a file by name; errors speak of its `source`."""
    try:
        state: Any = _safetensors(path) if path.suffix == ".safetensors" else _unpickled(path)
    except Exception as error:  # damaged bytes make torch raise nearly anything
        raise WeightsError(
            f"{source} cannot be read as weights: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            hint="It must be a .safetensors file, or a .pth file that holds a dict of tensors and nothing else.",
        ) from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{source} is no dict of tensors, but {type(state).__name__}")
    strange = [f"{name!r} is {type(value).__name__}" for name, value in state.items() if not isinstance(value, Tensor)]
    if strange:
        raise WeightsError(f"{source} is no dict of tensors alone: {strange[0]}")
    return dict(state)


def _safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        return Checkpoint.load(path).weights
    except CheckpointError:  # it is of another program
        return load_file(path)


def _unpickled(path: Path) -> Any:
    """Return what a .pth file holds, without running any code that it brings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd files, which either load or do not
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  damaged bytes make it raise nearly anything
        # torch's own words advise how to run the code, which nobody should do with a stranger's file.
        raise ValueError("it is damaged, or holds other things than tensors") from None
