"""The optimizers in the box take the steps of their papers, written here once more in numpy."""

import inspect
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskkit.builtin import optimizers

Array = NDArray[np.float64]
Make = Callable[..., torch.optim.Optimizer]
Steps = Callable[..., Iterator[Array]]

LR, DECAY, NUM_STEPS = 0.05, 0.1, 6
TARGET = np.array([0.5, -2.0, 3.0])


def slope(point: Array) -> Array:
    """Return the gradient of sum (x - target)^4."""
    return np.asarray(4 * (point - TARGET) ** 3)


def sgd(point: Array, lr: float, decay: float, momentum: float = 0.9) -> Iterator[Array]:
    """Nesterov's momentum as Sutskever et al. write it, with torch's velocity in units of the gradient."""
    velocity = np.zeros_like(point)
    while True:
        gradient = slope(point) + decay * point
        velocity = momentum * velocity + gradient
        point = point - lr * (gradient + momentum * velocity)
        yield point


def adam(
    point: Array, lr: float, decay: float, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> Iterator[Array]:
    return moments(point, lr, lambda x: slope(x) + decay * x, betas=(beta1, beta2), eps=eps)


def adamw(
    point: Array, lr: float, decay: float, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> Iterator[Array]:
    return moments(point, lr, slope, keep=1 - lr * decay, betas=(beta1, beta2), eps=eps)


def moments(
    point: Array,
    lr: float,
    gradient_at: Callable[[Array], Array],
    *,
    keep: float = 1.0,
    betas: tuple[float, float],
    eps: float,
) -> Iterator[Array]:
    """Take the steps of Adam; each keeps the share `keep` of the parameters before."""
    (beta1, beta2), first, second, step = betas, np.zeros_like(point), np.zeros_like(point), 0
    while True:
        gradient, step = gradient_at(point), step + 1
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        unbiased = first / (1 - beta1**step), second / (1 - beta2**step)
        point = keep * point - lr * unbiased[0] / (np.sqrt(unbiased[1]) + eps)
        yield point


CASES: dict[str, tuple[Make, Steps, dict[str, float]]] = {
    "sgd": (optimizers.sgd, sgd, {"momentum": 0.5}),
    "adam": (optimizers.adam, adam, {"beta1": 0.5, "beta2": 0.9, "eps": 0.01}),
    "adamw": (optimizers.adamw, adamw, {"beta1": 0.5, "beta2": 0.9, "eps": 0.01}),
}


def path_of(make: Make, **options: float) -> list[Array]:
    """Return where the optimizer goes from 1."""
    parameter = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = make([parameter], lr=LR, weight_decay=DECAY, **options)
    places = []
    for _ in range(NUM_STEPS):
        optimizer.zero_grad()
        loss: Tensor = ((parameter - torch.from_numpy(TARGET)) ** 4).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        places.append(parameter.detach().numpy().copy())
    return places


@pytest.mark.parametrize("with_options", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_the_paper(name: str, with_options: bool) -> None:  # noqa: FBT001  given by name
    make, steps, options = CASES[name]
    given = options if with_options else {}
    expected = steps(np.ones(3), LR, DECAY, **given)
    for found in path_of(make, **given):
        np.testing.assert_allclose(found, next(expected), rtol=1e-9)


def test_sgd_without_momentum_is_plain_descent() -> None:
    point = np.ones(3)
    for found in path_of(optimizers.sgd, momentum=0.0):
        point = point - LR * (slope(point) + DECAY * point)
        np.testing.assert_allclose(found, point, rtol=1e-9)


def test_sgd_without_nesterov_is_plain_momentum() -> None:
    point, velocity = np.ones(3), np.zeros(3)
    for found in path_of(optimizers.sgd, nesterov=False):
        velocity = 0.9 * velocity + slope(point) + DECAY * point
        point = point - LR * velocity
        np.testing.assert_allclose(found, point, rtol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_parameters_may_be_any_iterable(name: str) -> None:
    network = nn.Linear(2, 3)
    optimizer = CASES[name][0](network.parameters(), lr=LR, weight_decay=DECAY)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2


@pytest.mark.parametrize(
    ("name", "option"), [("adam", "beta1"), ("adamw", "beta2"), ("adam", "eps"), ("sgd", "momentum")]
)
def test_an_option_outside_its_range_is_refused(name: str, option: str) -> None:
    make = CASES[name][0]
    assert option in inspect.signature(make).parameters
    with pytest.raises(ValueError, match=r"Invalid \w+"):
        make([nn.Parameter(torch.zeros(1))], lr=LR, weight_decay=DECAY, **{option: -1.0})
