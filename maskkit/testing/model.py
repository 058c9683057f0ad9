"""The contract of networks: `maskkit.plugin.contracts.ModelFactory`."""

from collections.abc import Callable
from functools import lru_cache
from unittest import SkipTest

import torch
from torch import Tensor, nn

from maskkit.engine.classifier import MEAN, STD
from maskkit.labels import NUM_CLASSES
from maskkit.testing.candidate import Candidate
from maskkit.testing.check import CheckError, expect
from maskkit.testing.inputs import pixels, seeded
from maskkit.testing.packable import expect_packable

__all__ = ["CHECKS"]

_OUTPUTS = (NUM_CLASSES, 8, 3)  # of the views multi, multihead and mask
_SIZE = (64, 48)
_OTHER_SIZE = (96, 80)
_MOST_TRIES = 20


def _gives_as_many_logits_as_asked(candidate: Candidate) -> None:
    for num_outputs in _OUTPUTS:
        with seeded(0):
            network = candidate.build(num_outputs, pretrained=False)
        expect(isinstance(network, nn.Module), f"it must give a torch.nn.Module, but gave {type(network).__name__}")
        with torch.inference_mode():
            logits = network.eval()(_images(candidate, 2))
        _expect_logits(logits, (2, num_outputs))


def _takes_images_of_other_sizes(candidate: Candidate) -> None:
    network, size = _network(candidate).eval(), candidate.offer.component.size
    try:
        with torch.inference_mode():
            logits = network(_normal(pixels(2, _OTHER_SIZE)))
    except Exception as error:
        if size is not None:
            raise SkipTest(f"its record says {size[0]}x{size[1]}, and it takes no other size") from error
        raise CheckError(
            f"it must take images of any size, but for {_OTHER_SIZE[0]}x{_OTHER_SIZE[1]} it raised"
            f" {type(error).__name__}: {error}; if it is made for one size, say so in its record: size=(height, width)"
        ) from error
    _expect_logits(logits, (2, NUM_CLASSES))


def _learns_with_every_parameter(candidate: Candidate) -> None:
    network = _network(candidate).train()
    named = {name: value for name, value in network.named_parameters() if value.requires_grad}
    expect(named, "it must have parameters to train, but none has requires_grad")
    unused = set(named)
    for seed in range(_MOST_TRIES):  # a network may skip some of its blocks by chance
        with seeded(seed):
            logits = network(_images(candidate, 4))
        _expect_logits(logits, (4, NUM_CLASSES))
        expect(
            logits.requires_grad, "its logits must lead back to its parameters; take no_grad or detach out of forward"
        )
        unused -= _got_finite_gradients(logits, named)
        if not unused:
            return
    expect(
        not unused,
        f"every parameter must take part, but {_first(sorted(unused))} gets no gradient; use it in forward, leave it"
        " out, or set its requires_grad to False",
    )


def _got_finite_gradients(logits: Tensor, named: dict[str, nn.Parameter]) -> set[str]:
    """Return the names of the parameters that the logits teach."""
    loss = nn.functional.cross_entropy(logits, torch.tensor([0, 5, 11, 17]))
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    by_name = {name: gradient for name, gradient in zip(named, gradients, strict=True) if gradient is not None}
    wild = [name for name, gradient in by_name.items() if not gradient.isfinite().all()]
    expect(not wild, f"gradients must be finite, but that of {_first(wild)} is not; look for a division or a logarithm")
    return set(by_name)


def _evaluates_the_same_twice(candidate: Candidate) -> None:
    network, images = _network(candidate).eval(), _images(candidate, 3)
    with torch.inference_mode(), seeded(1):
        first, second = network(images), network(images)
    expect(
        torch.equal(first, second),
        "in evaluation it must give the same logits each time, but they differ by"
        f" {_distance(first, second):.2g}; let randomness depend on self.training",
    )


def _evaluates_each_image_by_itself(candidate: Candidate) -> None:
    network, images = _network(candidate).eval(), _images(candidate, 3)
    with torch.inference_mode():
        together, alone = network(images), torch.cat([network(image[None]) for image in images])
    expect(
        torch.allclose(together, alone, rtol=1e-3, atol=1e-4 * max(1.0, float(alone.abs().max()))),
        "in evaluation the logits of an image must not depend on its batch, but alone they differ by"
        f" {_distance(together, alone):.2g}; take nothing of the batch into forward, such as its mean",
    )


def _comes_back_from_its_state(candidate: Candidate) -> None:
    network, images = _network(candidate).eval(), _images(candidate, 2)
    with seeded(1):
        again = candidate.require(nn.Module, NUM_CLASSES, pretrained=False)
    again.load_state_dict(network.state_dict())
    with torch.inference_mode():
        first, second = network(images), again.eval()(images)
    expect(
        torch.equal(first, second),
        "a new network that loads the state_dict must give the same logits, but they differ by"
        f" {_distance(first, second):.2g}; keep all that matters in parameters and buffers",
    )


def _fits_into_a_checkpoint(candidate: Candidate) -> None:
    expect_packable(_network(candidate).state_dict(), "model")


def _bears_half_the_digits(candidate: Candidate) -> None:
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits = _network(candidate).eval()(_images(candidate, 2))
    expect(
        bool(logits.isfinite().all()),
        "under torch.autocast in bfloat16 its logits must be finite; compute what overflows in float32",
    )


@lru_cache(maxsize=1)
def _network(candidate: Candidate) -> nn.Module:
    """Return a network of 18 outputs; one is kept for the checks that follow, since large ones take long to build."""
    with torch.inference_mode(mode=False), seeded(0):
        return candidate.require(nn.Module, NUM_CLASSES, pretrained=False)


@lru_cache(maxsize=1)
def _size(candidate: Candidate) -> tuple[int, int]:
    """Return the size of the images to try: a small one, unless the network takes none but that of its record."""
    size = candidate.offer.component.size
    if size is None:
        return _SIZE
    network = _network(candidate)
    was_training = network.training
    try:
        with torch.inference_mode():
            network.eval()(_normal(pixels(2, _SIZE)))
    except Exception:  # noqa: BLE001  it is the network's own, and may raise anything
        return size
    finally:
        network.train(was_training)
    return _SIZE


def _images(candidate: Candidate, count: int) -> Tensor:
    return _normal(pixels(count, _size(candidate)))


def _normal(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std


def _expect_logits(logits: object, shape: tuple[int, ...]) -> None:
    expect(isinstance(logits, Tensor), f"it must give logits as a tensor, but gave {type(logits).__name__}")
    assert isinstance(logits, Tensor)  # noqa: S101  expected above
    expect(
        tuple(logits.shape) == shape,
        f"for {shape[0]} images and num_outputs={shape[1]} the logits must have the shape {list(shape)}, but have"
        f" {list(logits.shape)}",
    )
    expect(logits.dtype == torch.float32, f"the logits must be float32, but are {logits.dtype}; call .float()")
    expect(bool(logits.isfinite().all()), "the logits must be finite, but some are NaN or infinite")


def _distance(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max())


def _first(names: list[str]) -> str:
    return "".join(names[:1]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")


CHECKS: dict[str, Callable[[Candidate], None]] = {
    "it gives as many logits as it is asked for": _gives_as_many_logits_as_asked,
    "it takes images of other sizes": _takes_images_of_other_sizes,
    "every parameter gets a finite gradient": _learns_with_every_parameter,
    "evaluation gives the same twice": _evaluates_the_same_twice,
    "evaluation takes each image by itself": _evaluates_each_image_by_itself,
    "it comes back from its state": _comes_back_from_its_state,
    "its state fits into a checkpoint": _fits_into_a_checkpoint,
    "it bears bfloat16": _bears_half_the_digits,
}
