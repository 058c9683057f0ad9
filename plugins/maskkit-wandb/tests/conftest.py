"""What the tests share: an environment without a user's W&B, and photos to learn from."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from wandb.sdk.lib.wbauth import unauthenticate_session

SHOTS = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which nobody has logged in to W&B."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "MASKKIT_", "NETRC"))}
    cache = kept.get("MPLCONFIGDIR") or str(Path.home() / ".cache" / "matplotlib")  # building it takes long
    return kept | {"HOME": str(home), "MPLCONFIGDIR": cache, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def logged_out(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The same environment, for what runs in this process, where W&B remembers a key."""
    unauthenticate_session(update_settings=False)
    for name in [name for name in os.environ if name.startswith(("WANDB_", "NETRC"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", environment["HOME"])
    return monkeypatch


@pytest.fixture(scope="session")
def train_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small photos of noise in the competition's layout."""
    folder = tmp_path_factory.mktemp("faces") / "train" / "images"
    draws = np.random.default_rng(0)
    for number in range(12):
        profile = folder / f"{number:06}_{('male', 'female')[number % 2]}_Asian_{(20, 40, 60)[number % 3]}"
        profile.mkdir(parents=True)
        for shot in SHOTS:
            Image.fromarray(draws.integers(0, 256, (40, 32, 3), dtype=np.uint8)).save(profile / f"{shot}.png")
    return folder
