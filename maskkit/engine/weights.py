"""Getting pretrained weights: from a file or by download, checked by hash, never unpickled into code."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from maskkit.errors import WeightsError

__all__ = ["MIRROR_VARIABLE", "fetch_weights", "load_weights"]

MIRROR_VARIABLE = "MASKKIT_WEIGHTS_MIRROR"


def fetch_weights(url: str) -> dict[str, Tensor]:
    """Return the weights at a URL; they are kept in torch's hub folder for the next time.

    The file name ends in the first digits of its SHA-256 ("name-355c32eb.pth"), which is checked.
    $MASKKIT_WEIGHTS_MIRROR, when set, is a folder's URL where the file of that name is looked for instead.

    Raises:
        WeightsError: the download fails, or the content does not have that hash; the three ways on are named.
    """
    name = Path(urlsplit(url).path).name
    mirror = os.environ.get(MIRROR_VARIABLE, "").rstrip("/")
    source = f"{mirror}/{name}" if mirror else url
    try:
        state = torch.hub.load_state_dict_from_url(
            source, map_location="cpu", check_hash=True, weights_only=True, progress=False
        )
    except (OSError, RuntimeError, pickle.UnpicklingError, ValueError) as error:
        raise _unreachable(source, name, error) from error
    return dict(state)


def load_weights(model: nn.Module, source: str) -> None:
    """Fill a model from a .pth or .safetensors file or a URL of one; only the last layer may be of another size.

    Raises:
        WeightsError: the file cannot be read, or is not of this network.
    """
    state = fetch_weights(source) if urlsplit(source).scheme in {"http", "https"} else _read(Path(source).expanduser())
    own = model.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and value.shape == own[name].shape}
    odd = [name for name in own if name not in fitting]
    heads = {name.rpartition(".")[0] for name in odd}
    if not fitting or len(heads) > 1 or (odd and odd[-1] != list(own)[-1]):
        shown = ", ".join(odd[:5])
        raise WeightsError(
            f"{source} does not fit the model: {len(odd)} of its {len(own)} tensors are missing or of another size"
            f" ({shown}{', ..' if len(odd) > 5 else ''})",  #  a handful to look at
            hint="Name the model that these weights belong to with --model.",
        )
    model.load_state_dict(fitting, strict=False)


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"there is no file of weights {path}") from None
    except Exception as error:
        raise WeightsError(
            f"{path} cannot be read as weights: {str(error).splitlines()[0]}",
            hint="It must be a .safetensors file, or a .pth file that holds a dict of tensors and nothing else.",
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path} is no dict of tensors, but {type(state).__name__}")
    return state


def _unreachable(source: str, name: str, error: Exception) -> WeightsError:
    cause = str(error).splitlines()[0] if str(error) else type(error).__name__
    return WeightsError(
        f"the pretrained weights cannot be had from {source}: {cause}",
        hint="Three ways on:\n"
        "  --no-pretrained                 train from scratch\n"
        f"  --weights=FILE                  a copy of {name} fetched elsewhere\n"
        f"  {MIRROR_VARIABLE}=URL      a folder on a server within reach that holds {name}",
    )
