"""The draws of an augmentation depend on seed, epoch and sample alone; those in the box do what they say."""

import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from maskkit.builtin.augmentations import affine, base, gaussian
from maskkit.data.augmentation import Augmentation, Draws, per_sample
from maskkit.errors import UsageError

MASK = 2**64 - 1

numbers = st.integers(-(2**63), 2**63 - 1)
batches = st.lists(st.integers(0, 2**40), min_size=1, max_size=12, unique=True)


def draw(seed: int, epoch: int, samples: list[int]) -> Draws:
    return Draws(seed, epoch, torch.tensor(samples))


def sequence(draws: Draws) -> list[torch.Tensor]:
    """Draw once of each kind, with odd and even counts between."""
    return [
        draws.uniform(3),
        draws.normal(2, 5),
        draws.uniform(),
        torch.tensor(draws.seeds()),
        draws.normal(3),
        draws.normal(),
    ]


@given(numbers, numbers, batches, st.data())
def test_a_sample_draws_the_same_in_any_batch(seed: int, epoch: int, samples: list[int], data: st.DataObject) -> None:
    part = data.draw(st.permutations(range(len(samples))))[: data.draw(st.integers(1, len(samples)))]
    whole = sequence(draw(seed, epoch, samples))
    alone = sequence(draw(seed, epoch, [samples[one] for one in part]))
    for drawn, again in zip(whole, alone, strict=True):
        assert torch.equal(drawn[part], again)


def test_draws_have_the_shape_asked_for_and_are_float32() -> None:
    draws = draw(0, 0, [4, 5])
    for kind in (draws.uniform, draws.normal):
        assert kind().shape == (2,)
        assert kind(3, 5).shape == (2, 3, 5)
        assert kind(0).shape == (2, 0)
        assert kind(7).dtype == torch.float32


def scramble(number: int) -> int:
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & MASK
    return number ^ (number >> 31)


@given(numbers, st.integers(0, 10_000), st.integers(0, 2**40))
def test_seeds_are_splitmix64_in_python_integers(seed: int, epoch: int, sample: int) -> None:
    golden = 0x9E3779B97F4A7C15
    key = scramble((seed & MASK) + golden & MASK)
    for part in (epoch, sample):
        key = scramble((key ^ part) + golden & MASK)
    draws = draw(seed, epoch, [sample])
    assert draws.seeds() == [scramble(key + golden & MASK) >> 1]
    assert draws.seeds() == [scramble(key + 2 * golden & MASK) >> 1]


def test_the_numbers_of_a_seed_never_change() -> None:
    draws = draw(42, 3, [0, 7])
    assert draws.seeds() == [790956889137220401, 7156998489816444340]
    assert (draws.uniform(2) * 2**24).tolist() == [[4097365, 4733518], [5229070, 3977985]]


def test_neighbouring_seeds_epochs_samples_and_calls_draw_different_numbers() -> None:
    seen = set()
    for seed in (-1, 0, 1, 2**63):
        for epoch in range(5):
            draws = draw(seed, epoch, list(range(20)))
            seen.update(draws.seeds() + draws.seeds())
    assert len(seen) == 4 * 5 * 20 * 2
    assert all(0 <= seed < 2**63 for seed in seen)


def distance_to_uniform(values: torch.Tensor) -> float:
    """Return the Kolmogorov-Smirnov statistic times sqrt(n); above 2 it has a probability of 0.0007."""
    ordered = values.flatten().double().sort().values
    steps = torch.arange(1, len(ordered) + 1) / len(ordered)
    return float((steps - ordered).abs().max()) * math.sqrt(len(ordered))


def test_uniform_draws_are_spread_evenly_over_samples_and_calls() -> None:
    draws = draw(1, 0, list(range(400)))
    values = draws.uniform(500)
    assert float(values.min()) >= 0
    assert float(values.max()) < 1
    assert distance_to_uniform(values) < 2
    assert distance_to_uniform(values[:, 0]) < 2
    assert distance_to_uniform(values[0]) < 2
    assert distance_to_uniform(torch.stack([draw(1, epoch, [0]).uniform()[0] for epoch in range(400)])) < 2


def test_draws_of_neighbours_are_uncorrelated() -> None:
    values = draw(1, 0, list(range(400))).uniform(500).double()
    later = draw(1, 1, list(range(400))).uniform(500).double()
    pairs = [(values[1:], values[:-1]), (values[:, 1:], values[:, :-1]), (values, later)]
    for one, other in pairs:
        correlation = torch.corrcoef(torch.stack((one.flatten(), other.flatten())))[0, 1]
        assert abs(float(correlation)) < 4 / math.sqrt(one.numel())


def test_normal_draws_have_the_moments_and_the_shape_of_the_normal_distribution() -> None:
    values = draw(1, 0, list(range(400))).normal(501).double()
    error = 4 / math.sqrt(values.numel())
    assert abs(float(values.mean())) < error
    assert abs(float(values.var()) - 1) < error * math.sqrt(2)
    assert abs(float((values**3).mean())) < error * math.sqrt(15)
    assert abs(float((values**4).mean()) - 3) < error * math.sqrt(96)
    assert distance_to_uniform(torch.special.ndtr(values)) < 2


def test_the_two_normals_of_a_pair_are_independent() -> None:
    first, second = draw(1, 0, list(range(100_000))).normal(2).double().unbind(1)
    for one, other in ((first, second), (first**2, second**2)):
        correlation = torch.corrcoef(torch.stack((one, other)))[0, 1]
        assert abs(float(correlation)) < 4 / math.sqrt(len(one))


def random_transform() -> Callable[[torch.Tensor], torch.Tensor]:
    transform: Callable[[torch.Tensor], torch.Tensor] = v2.Compose(
        [v2.RandomAffine(10, shear=10), v2.ColorJitter(0.3, 0.3), v2.RandomHorizontalFlip(), v2.GaussianNoise()]
    )
    return transform


def test_per_sample_gives_a_sample_the_same_transform_in_any_batch() -> None:
    augment = per_sample(random_transform())
    images = torch.rand(6, 3, 16, 12)
    whole = augment(images, draw(3, 1, list(range(6))))
    alone = augment(images[[4, 2]], draw(3, 1, [4, 2]))
    assert whole.shape == images.shape
    assert torch.equal(alone, whole[[4, 2]])
    assert not torch.equal(augment(images, draw(3, 2, list(range(6)))), whole)


def test_per_sample_varies_from_image_to_image() -> None:
    images = torch.rand(1, 3, 16, 12).repeat(5, 1, 1, 1)
    results = per_sample(random_transform())(images, draw(3, 1, list(range(5))))
    assert len({image.sum().item() for image in results}) == 5


def test_per_sample_puts_the_global_generator_back() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    per_sample(random_transform())(torch.rand(2, 3, 8, 8, generator=torch.Generator()), draw(0, 0, [0, 1]))
    assert torch.equal(torch.rand(3), expected)


def test_per_sample_puts_the_global_generator_back_after_a_failure() -> None:
    def fail(image: torch.Tensor) -> torch.Tensor:
        raise ValueError(f"not for {torch.rand(1)} of {image.shape}")

    state = torch.get_rng_state()
    with pytest.raises(ValueError, match="not for"):
        per_sample(fail)(torch.zeros(2, 3, 8, 8), draw(0, 0, [0, 1]))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu_draws_what_a_cpu_draws_and_keeps_its_generator() -> None:
    samples = torch.tensor([1, 5, 9])
    on_gpu, on_cpu = Draws(1, 2, samples.cuda()), Draws(1, 2, samples)
    assert torch.equal(on_gpu.uniform(7).cpu(), on_cpu.uniform(7))
    torch.testing.assert_close(on_gpu.normal(7).cpu(), on_cpu.normal(7))
    state = torch.cuda.get_rng_state()
    per_sample(random_transform())(torch.rand(3, 3, 8, 8).cuda(), on_gpu)
    assert torch.equal(torch.cuda.get_rng_state(), state)


SIZE = (24, 18)
RANDOM = [affine, gaussian]


def photo(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def augmented(augmentation: Augmentation, images: torch.Tensor, draws: Draws) -> torch.Tensor:
    assert augmentation.augment is not None
    return augmentation.augment(images, draws)


@pytest.mark.parametrize("size", [(384, 512), (351, 700), (350, 350)])
def test_prepare_is_the_centre_crop_and_resize_of_torchvision(size: tuple[int, int]) -> None:
    image = photo(*size)
    expected = v2.Compose([v2.CenterCrop(350), v2.Resize(SIZE), v2.PILToTensor()])(image)
    prepared = base(size=SIZE).prepare(image)
    assert prepared.dtype == torch.uint8
    assert prepared.is_contiguous()
    assert torch.equal(prepared, expected)


@pytest.mark.parametrize("size", [(40, 60), (1, 1), (500, 20)])
def test_prepare_takes_all_of_a_smaller_image_and_adds_no_black(size: tuple[int, int]) -> None:
    prepared = base(size=SIZE).prepare(Image.new("RGB", size, (10, 20, 30)))
    assert prepared.shape == (3, *SIZE)
    assert torch.equal(prepared.amin((1, 2)), torch.tensor([10, 20, 30], dtype=torch.uint8))


@pytest.mark.parametrize("factory", [base, affine, gaussian])
def test_every_augmentation_prepares_alike_and_travels_to_workers(factory: Callable[..., Augmentation]) -> None:
    image = photo(384, 512)
    prepare = pickle.loads(pickle.dumps(factory(size=SIZE, crop=300))).prepare  # noqa: S301  our own bytes
    assert torch.equal(prepare(image), base(size=SIZE, crop=300).prepare(image))


def test_base_varies_nothing() -> None:
    assert base(size=SIZE).augment is None


@settings(max_examples=25)
@given(st.sampled_from(RANDOM), st.permutations(range(7)), st.integers(1, 7))
def test_an_image_is_augmented_the_same_in_any_batch(
    factory: Callable[..., Augmentation], order: list[int], count: int
) -> None:
    augmentation, part = factory(size=SIZE), order[:count]
    images = torch.rand(7, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    whole = augmented(augmentation, images.clone(), draw(3, 1, list(range(7))))
    alone = augmented(augmentation, images[part], draw(3, 1, part))
    assert torch.equal(alone, whole[part])


@pytest.mark.parametrize("factory", RANDOM)
def test_augmented_images_stay_float_images_and_differ_by_epoch(factory: Callable[..., Augmentation]) -> None:
    images = torch.rand(4, 3, *SIZE)
    results = [augmented(factory(size=SIZE), images.clone(), draw(3, epoch, list(range(4)))) for epoch in (0, 1)]
    for result in results:
        assert (result.shape, result.dtype) == (images.shape, torch.float32)
        assert float(result.min()) >= 0
        assert float(result.max()) <= 1
    assert not torch.equal(*results)


def test_affine_shears_and_scales_as_torchvision_does() -> None:
    images = torch.rand(40, 3, *SIZE)
    results = augmented(affine(size=SIZE, jitter=0), images, draw(3, 1, list(range(40))))
    draws = draw(3, 1, list(range(40)))
    shears, scales = (20 * draws.uniform() - 10).tolist(), (0.8 + 0.4 * draws.uniform()).tolist()
    for image, result, shear, scale in zip(images, results, shears, scales, strict=True):
        expected = functional.affine(image, 0, [0, 0], scale, [shear, 0], v2.InterpolationMode.BILINEAR)
        torch.testing.assert_close(result, expected, atol=1e-3, rtol=0)


def test_jitter_changes_colours_as_torchvision_does() -> None:
    images = torch.rand(40, 3, *SIZE)
    results = augmented(gaussian(size=SIZE, noise=0, jitter=0.3), images, draw(3, 1, list(range(40))))
    draws = draw(3, 1, list(range(40)))
    factors, hues = (1 + 0.3 * (2 * draws.uniform(3) - 1)).tolist(), (0.3 * (2 * draws.uniform() - 1)).tolist()
    for image, result, (brightness, contrast, saturation), hue in zip(images, results, factors, hues, strict=True):
        expected = functional.adjust_contrast(functional.adjust_brightness(image, brightness), contrast)
        expected = functional.adjust_hue(functional.adjust_saturation(expected, saturation), hue)
        torch.testing.assert_close(result, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("factory", RANDOM)
def test_grey_and_black_images_stay_grey(factory: Callable[..., Augmentation]) -> None:
    options = {"noise": 0} if factory is gaussian else {}
    images = torch.tensor([0.0, 0.5, 1.0])[:, None, None, None].expand(3, 3, *SIZE)
    result = augmented(factory(size=SIZE, **options), images, draw(3, 1, [0, 1, 2]))
    torch.testing.assert_close(result, result[:, :1].expand_as(result), atol=1e-6, rtol=0)


def test_noise_has_the_standard_deviation_asked_for() -> None:
    images = torch.full((8, 3, 64, 64), 0.5)
    noise = augmented(gaussian(size=(64, 64), noise=0.05, jitter=0), images, draw(3, 1, list(range(8)))) - 0.5
    assert abs(float(noise.mean())) < 0.001
    assert abs(float(noise.std()) - 0.05) < 0.001


@pytest.mark.parametrize(
    ("factory", "options"),
    [
        (base, {"crop": 0}),
        (affine, {"crop": -5}),
        (affine, {"shear": 95}),
        (affine, {"min_scale": 0}),
        (affine, {"min_scale": 1.5}),
        (affine, {"max_scale": float("inf")}),
        (affine, {"jitter": 0.6}),
        (gaussian, {"jitter": -0.1}),
        (gaussian, {"noise": -0.1}),
        (gaussian, {"noise": float("nan")}),
    ],
)
def test_options_outside_their_range_are_refused(
    factory: Callable[..., Augmentation], options: dict[str, float]
) -> None:
    with pytest.raises(UsageError, match=f"the augmentation's {next(iter(options))} is .*; it must be"):
        factory(size=SIZE, **options)
