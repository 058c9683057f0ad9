"""Pretrained weights from the hub where timm keeps them: safetensors alone, and once."""

import sys
from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from timm.models import PretrainedCfg

from maskkit.errors import WeightsError
from maskkit_timm.names import with_weights

__all__ = ["fetch"]

_FILE = "model.safetensors"
_TIMEOUT = 10  # seconds without an answer


def fetch(name: str, config: PretrainedCfg) -> Path:
    """Return the file of a model's weights; it is kept in the hub's own cache for the next time.

    Raises:
        WeightsError: there are none, or they cannot be had; the ways on are named.
    """
    if not config.has_weights:
        tags = ", ".join(with_weights(name)) or "none"
        raise WeightsError(
            f"timm has no pretrained weights of {name}",
            hint=f"--no-pretrained trains from scratch. With weights: {tags}.",
        )
    if not config.hf_hub_id:
        raise WeightsError(
            f"the weights of {name} are no safetensors, so they are not fetched by themselves",
            hint=f"Two ways on:\n  --no-pretrained                 train from scratch\n  --weights={config.url}",
        )
    try:
        path = _downloaded(config.hf_hub_id)
    except Exception as error:  # the client raises what its libraries do, which change with its version
        cause = next(iter(str(error.__cause__ or error).splitlines()), type(error).__name__)
        raise WeightsError(
            f"no pretrained weights: {_FILE} of {config.hf_hub_id} cannot be had from {_place(config)}: {cause}",
            hint="Three ways on:\n"
            "  --no-pretrained                 train from scratch\n"
            f"  --weights=FILE                  a copy of that {_FILE} fetched elsewhere\n"
            "  HF_ENDPOINT=URL                 a mirror of the hub within reach",
        ) from error
    try:
        with safe_open(path, framework="pt"):
            return path
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"the weights {path} are damaged: {error}", hint=f"Remove {path} and try again.") from error


def _downloaded(repository: str) -> Path:
    try:
        return Path(hf_hub_download(repository, _FILE, local_files_only=True))
    except LocalEntryNotFoundError:
        url = hf_hub_url(repository, _FILE)
    print(f"downloading {url}", file=sys.stderr)
    # Asked once here, since the download asks six times and waits 23 seconds in between when nobody answers.
    get_hf_file_metadata(url, timeout=_TIMEOUT)
    return Path(hf_hub_download(repository, _FILE))


def _place(config: PretrainedCfg) -> str:
    return hf_hub_url(str(config.hf_hub_id), _FILE).rpartition(f"/{config.hf_hub_id}/")[0]
