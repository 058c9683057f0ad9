"""A mix gives each image the share of targets that its pixels have, and draws from seed, epoch and sample alone."""

import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Runner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import one_hot

from maskkit.builtin.mixes import cutmix, half_face, mixup
from maskkit.data.augmentation import Draws
from maskkit.labels import decode

MIXES = {"mixup": mixup, "cutmix": cutmix, "half_face": half_face}
SIDE = 16

every_mix = pytest.mark.parametrize("name", MIXES)
batches = st.lists(st.integers(0, 17), min_size=1, max_size=9)


def pixels(count: int) -> Tensor:
    """Return noise, in which each pixel of each image has a value of its own, float32 [count, 3, SIDE, SIDE]."""
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(count))


def mixed(name: str, answers: list[int], *, seed: int = 0, epoch: int = 0, **options: float) -> tuple[Tensor, Tensor]:
    """Return the images and the targets that a mix makes of noise with these classes."""
    make: Callable[..., Callable[[Tensor, Tensor, Draws], tuple[Tensor, Tensor]]] = MIXES[name]
    draws = Draws(seed, epoch, torch.arange(len(answers)))
    targets = one_hot(torch.tensor(answers), 18).float()
    return make(num_classes=18, **options)(pixels(len(answers)), targets, draws)


@every_mix
@given(answers=batches, seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_targets_stay_shares_and_images_stay_images(name: str, answers: list[int], seed: int) -> None:
    images, targets = mixed(name, answers, seed=seed)
    assert images.shape == (len(answers), 3, SIDE, SIDE)
    assert targets.shape == (len(answers), 18)
    assert images.dtype == targets.dtype == torch.float32
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert float(targets.min()) >= 0
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(len(answers)))
    assert {number for row in targets for number in row.nonzero().flatten().tolist()} <= set(answers)


@every_mix
def test_what_is_drawn_depends_on_the_draws_alone_and_disturbs_nobody_else(name: str) -> None:
    answers = [2, 5, 17, 0, 9, 11]
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002  a mix could draw from the global one
        random.seed(seed)
        results.append(mixed(name, answers, seed=3))
        after = torch.rand(3)
        torch.manual_seed(seed)
        assert torch.equal(after, torch.rand(3))
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


@every_mix
def test_each_epoch_mixes_anew(name: str) -> None:
    answers = [2, 5, 17, 0, 9, 11]
    images = [mixed(name, answers, epoch=epoch)[0] for epoch in range(6)]
    assert len({tuple(image.flatten().tolist()) for image in images}) == 6


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_mixup_blends_neighbours_by_the_share_of_their_targets(seed: int) -> None:
    answers = [0, 4, 8, 13]
    images, targets = mixed("mixup", answers, seed=seed)
    own = pixels(4)
    for number, ans in enumerate(answers):
        share = targets[number, ans]
        expected = share * own[number] + (1 - share) * own[number - 1]
        torch.testing.assert_close(images[number], expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(targets[number, answers[number - 1]], 1 - share)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_cutmix_pastes_a_rectangle_as_large_as_its_share(seed: int) -> None:
    answers = [0, 4, 8, 13]
    images, targets = mixed("cutmix", answers, seed=seed)
    own = pixels(4)
    for number, ans in enumerate(answers):
        pasted = (images[number] != own[number]).any(dim=0)
        assert torch.equal(images[number][:, pasted], own[number - 1][:, pasted])
        rows, columns = pasted.any(dim=1), pasted.any(dim=0)
        assert torch.equal(pasted, rows[:, None] & columns[None, :])
        assert float(targets[number, ans]) == pytest.approx(1 - int(pasted.sum()) / SIDE**2, abs=1e-6)


@pytest.mark.parametrize(("name", "alpha"), [("mixup", 0.2), ("mixup", 1.0), ("mixup", 5.0)])
def test_the_share_is_drawn_from_a_beta_distribution(name: str, alpha: float) -> None:
    shares = torch.stack([mixed(name, [0, 17], seed=seed, alpha=alpha)[1][0, 0] for seed in range(2000)]).double()
    variance = 1 / (4 * (2 * alpha + 1))
    assert float(shares.mean()) == pytest.approx(0.5, abs=4 * math.sqrt(variance / 2000))
    assert float(shares.var()) == pytest.approx(variance, rel=0.15)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
@pytest.mark.parametrize("alpha", [0.0, -1.0])
def test_an_alpha_that_is_no_parameter_of_beta_is_refused(name: str, alpha: float) -> None:
    with pytest.raises(ValueError, match=f"alpha must be above 0; received {alpha}"):
        mixed(name, [0, 1], alpha=alpha)


def is_old(ans: int) -> bool:
    return decode(ans)[2] == 2


@given(answers=batches, seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_half_face_takes_the_right_half_from_an_old_person_of_the_batch(answers: list[int], seed: int) -> None:
    images, targets = mixed("half_face", answers, seed=seed)
    own, middle = pixels(len(answers)), SIDE // 2
    old = [number for number, ans in enumerate(answers) if is_old(ans)]
    assert torch.equal(images[..., :middle], own[..., :middle])
    for number, ans in enumerate(answers):
        partners = [one for one in old or [number] if torch.equal(images[number, ..., middle:], own[one, ..., middle:])]
        assert len(partners) == 1
        shares = one_hot(torch.tensor([ans, answers[partners[0]]]), 18).float().mean(dim=0)
        assert torch.equal(targets[number], shares)


def test_half_face_chooses_evenly_among_the_old() -> None:
    answers = [0, 2, 3, 5, 17]
    own = pixels(5)
    chosen = [0] * 5
    for seed in range(600):
        images, _ = mixed("half_face", answers, seed=seed)
        chosen[next(one for one in range(5) if torch.equal(images[0, ..., -1], own[one, ..., -1]))] += 1
    assert chosen[0] == chosen[2] == 0
    for number in (1, 3, 4):
        assert chosen[number] == pytest.approx(200, abs=4 * math.sqrt(600 * 2 / 9))


@pytest.mark.slow
def test_a_run_says_how_it_mixes_and_a_replay_mixes_alike(maskkit: Runner, train_images: Path, tmp_path: Path) -> None:
    small = ("--epochs=2", "--resize=32", "--num_workers=0", "--reporters=console,csv")
    words = (*small, f"--data_dir={train_images}", "--mix=cutmix", "--mix_args=alpha=0.5")
    done = maskkit("train", *words)
    assert done.code == 0, done.err
    assert "32x32, BaseAugmentation, cutmix, batches of 64" in done.out
    again = maskkit("train", "--config=runs/exp/config.json")
    assert again.code == 0, again.err
    predictions = [tmp_path / "runs" / name / "predictions" / "valid_soft.csv" for name in ("exp", "exp-2")]
    assert predictions[0].read_bytes() == predictions[1].read_bytes()
