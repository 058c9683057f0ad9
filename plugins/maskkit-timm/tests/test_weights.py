import pickle
import socket
import time
from pathlib import Path

import pytest
import timm
import torch
from conftest import ASKED, Runner, serve
from maskkit_timm.models import any_model
from safetensors.torch import save
from timm.models import get_pretrained_cfg

from maskkit.errors import WeightsError


def test_weights_come_from_the_hub_once_and_the_last_layer_is_new() -> None:
    torch.manual_seed(1)
    theirs = timm.create_model("test_convnext").state_dict()
    path = serve("test_convnext.r160_in1k", save(theirs))
    for _ in range(2):
        own = any_model(18, pretrained=True, name="test_convnext").state_dict()
        different = [name for name, value in own.items() if not torch.equal(value, theirs[name])]
        assert different == ["head.fc.weight", "head.fc.bias"]
    assert ASKED.count(("GET", path)) == 1


def test_a_pickle_is_never_asked_for() -> None:
    path = serve("test_vit2.r160_in1k", pickle.dumps({}), file="pytorch_model.bin")
    with pytest.raises(WeightsError, match="cannot be had"):
        any_model(18, pretrained=True, name="test_vit2")
    assert path not in [asked for _, asked in ASKED]


def test_a_damaged_file_is_refused() -> None:
    serve("test_vit3.r160_in1k", b"no tensors at all")
    with pytest.raises(WeightsError, match="are damaged") as refused:
        any_model(18, pretrained=True, name="test_vit3")
    assert "Remove " in refused.value.hint


def test_a_model_without_weights_says_which_tags_have_some() -> None:
    with pytest.raises(WeightsError, match="no pretrained weights of nfnet_f0") as refused:
        any_model(18, pretrained=True, name="nfnet_f0")
    assert "--no-pretrained" in refused.value.hint


def test_weights_that_are_no_safetensors_are_left_to_the_user() -> None:
    def is_elsewhere(name: str) -> bool:
        config = get_pretrained_cfg(name)
        return config is not None and not config.hf_hub_id

    name = next(filter(is_elsewhere, timm.list_pretrained()))
    with pytest.raises(WeightsError, match="are no safetensors") as refused:
        any_model(18, pretrained=True, name=name)
    assert "--weights=http" in refused.value.hint


def test_a_name_that_leaves_the_normalisation_open_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"write the tag too"), pytest.raises(WeightsError):
        any_model(18, pretrained=True, name="mobilenetv4_conv_small")


def test_without_a_network_a_run_ends_soon_and_names_the_ways_on(maskkit: Runner, faces: Path, tmp_path: Path) -> None:
    with socket.socket() as closed:  # bound, but nobody listens
        closed.bind(("127.0.0.1", 0))
        hub = f"http://127.0.0.1:{closed.getsockname()[1]}"
        begun = time.monotonic()
        done = maskkit("train", "--model=ecaresnet50t", f"--data_dir={faces}", "--epochs=1", HF_ENDPOINT=hub)
    assert done.returncode == 1
    assert f"model.safetensors of timm/ecaresnet50t.ra2_in1k cannot be had from {hub}: " in done.stderr
    assert all(way in done.stderr for way in ("Connection refused", "--no-pretrained", "--weights=FILE", "HF_ENDPOINT"))
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
    assert time.monotonic() - begun < 60, "the client's own retries must not be waited for"
