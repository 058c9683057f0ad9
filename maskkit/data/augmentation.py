"""What an augmentation is, and the random numbers it draws: a function of seed, epoch and sample alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from PIL import Image

__all__ = ["Augmentation", "Draws", "per_sample"]

_BITS = 64
_FLOAT_BITS = 24  # the whole numbers that a float32 holds exactly


class Draws:
    """Random numbers for the samples of one batch, drawn in the order of the calls.

    What a sample draws depends on `seed`, `epoch`, its number in `samples` (int64 [B]) and on how much was drawn
    before, and on nothing else: not on the worker, the process or the other samples of its batch. They are the
    splitmix64 numbers of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014), and come on
    `device`, or where `samples` are.
    """

    def __init__(
        self, seed: int, epoch: int, samples: torch.Tensor, *, device: torch.device | str | None = None
    ) -> None:
        self._seed, self._epoch, self._samples = seed, epoch, samples
        self._device = device or samples.device
        self._num_drawn = 0

    def uniform(self, *shape: int) -> torch.Tensor:
        """Return numbers spread evenly over [0, 1), float32 [B, *shape]."""
        return _fraction(self._bits(math.prod(shape)), _BITS - _FLOAT_BITS).reshape(len(self._keys), *shape)

    def normal(self, *shape: int) -> torch.Tensor:
        """Return numbers of the standard normal distribution, float32 [B, *shape]."""
        count = math.prod(shape)
        # Box and Muller turn two uniform numbers into two normal ones; the two are cut from one 64-bit number.
        bits = self._bits((count + 1) // 2)
        radius = (1 - _fraction(bits, _BITS - _FLOAT_BITS)).log_().mul_(-2).sqrt_()
        angle = _fraction(bits, _BITS - 2 * _FLOAT_BITS).mul_(2 * math.pi)
        pairs = torch.cat((radius * angle.cos(), radius * angle.sin()), dim=1)
        return pairs[:, :count].reshape(len(self._keys), *shape)

    def seeds(self) -> list[int]:
        """Return one 63-bit seed a sample, for a generator of another library; no GPU is waited for."""
        # They are drawn where `samples` are, which in training is the CPU.
        return [int(seed) for seed in _shifted(self._bits(1, self._host_keys()), 1).flatten().tolist()]

    def _bits(self, count: int, keys: torch.Tensor | None = None) -> torch.Tensor:
        """Return the next `count` 64-bit numbers of each sample, int64 [B, count]."""
        keys = self._keys if keys is None else keys
        first = self._num_drawn + 1
        self._num_drawn += count
        steps = torch.arange(first, first + count, device=keys.device) * _GOLDEN
        return _scrambled(keys[:, None] + steps)

    @cached_property
    def _keys(self) -> torch.Tensor:
        """Made when something is drawn, since most batches of a plain run draw nothing."""
        return _first_keys(self._seed, self._epoch, self._samples.to(self._device, non_blocking=True))

    def _host_keys(self) -> torch.Tensor:
        return _first_keys(self._seed, self._epoch, self._samples)


@dataclass(frozen=True)
class Augmentation:
    """How an image is prepared, and how a training batch is varied.

    prepare: deterministic, PIL image in RGB -> uint8 [3, H, W]; all that validation and prediction see. It is sent to
        worker processes, so it must be picklable: a function of a module, or a functools.partial of one.
    augment: (float32 [B, 3, H, W] in [0, 1] on the training device, draws) -> the same shape and type; it may change
        its input. None varies nothing.
    """

    prepare: Callable[[Image.Image], torch.Tensor]
    augment: Callable[[torch.Tensor, Draws], torch.Tensor] | None = None


def per_sample(transform: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor, Draws], torch.Tensor]:
    """Return an augment that applies `transform` to one image [3, H, W] after the other.

    Made for the transforms of torchvision, which draw from torch's global generators: these are seeded for each sample
    and put back afterwards. It takes one call an image, so on a GPU batched operations are many times faster.
    """

    def augment(images: torch.Tensor, draws: Draws) -> torch.Tensor:
        on_gpu = images.device.type == "cuda"
        results = []
        with torch.random.fork_rng([images.device] if on_gpu else []):
            for image, seed in zip(images, draws.seeds(), strict=True):
                # torch.manual_seed would also seed the other GPUs, which are not put back.
                torch.default_generator.manual_seed(seed)
                if on_gpu:
                    torch.cuda.default_generators[images.device.index].manual_seed(seed)
                results.append(transform(image))
        return torch.stack(results)

    return augment


def _first_keys(seed: int, epoch: int, samples: torch.Tensor) -> torch.Tensor:
    """Return where each sample begins to draw, int64 [B]."""
    key = _scrambled(torch.full_like(samples, _signed(seed)) + _GOLDEN)
    key = _scrambled((key ^ _signed(epoch)) + _GOLDEN)
    return _scrambled((key ^ samples) + _GOLDEN)


def _signed(number: int) -> int:
    """Return the integer whose 64 bits, as torch's int64 holds them, are the lowest ones of `number`."""
    number %= 1 << _BITS
    return number - (1 << _BITS) if number >> (_BITS - 1) else number


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _shifted(numbers: torch.Tensor, count: int) -> torch.Tensor:
    """Shift int64 numbers right and fill with zeros, where torch would fill with the sign."""
    return (numbers >> count).bitwise_and_((1 << (_BITS - count)) - 1)


def _scrambled(numbers: torch.Tensor) -> torch.Tensor:
    """Return the output function of splitmix64; works in place, since noise takes a number for every pixel."""
    numbers.bitwise_xor_(_shifted(numbers, 30)).mul_(_FIRST)
    numbers.bitwise_xor_(_shifted(numbers, 27)).mul_(_SECOND)
    return numbers.bitwise_xor_(_shifted(numbers, 31))


def _fraction(numbers: torch.Tensor, shift: int) -> torch.Tensor:
    """Return 24 of the bits as float32 in [0, 1), leaving out the lowest `shift`."""
    bits = (numbers >> shift).bitwise_and_((1 << _FLOAT_BITS) - 1)
    return bits.to(torch.float32).mul_(2.0**-_FLOAT_BITS)
