"""The running mean of a network's weights over its steps, which often measures better than the last of them."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

__all__ = ["Averages"]

_Tensors = tuple[Tensor, ...] | list[Tensor]


class Averages:
    """An exponential moving average of weights and batch statistics, by torch's AveragedModel.

    After n steps the mean keeps min(decay, (1 + n) / (10 + n)) of itself, so that the weights of the start are soon
    forgotten, as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._model = AveragedModel(network, multi_avg_fn=self._move, use_buffers=True)

    @property
    def network(self) -> nn.Module:
        """The network with the mean of the weights."""
        network: nn.Module = self._model.module
        return network

    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step; no device is waited for."""
        self._model.update_parameters(network)

    def _move(self, averages: _Tensors, current: _Tensors, _: Tensor | int) -> None:
        num_steps = int(self._model.n_averaged)  # which stays on the CPU
        decay = min(self._decay, (1 + num_steps) / (10 + num_steps))
        if averages[0].is_floating_point():
            get_ema_multi_avg_fn(decay)(averages, current, num_steps)  # type: ignore[no-untyped-call]
            return
        with torch.no_grad():
            for average, value in zip(averages, current, strict=True):  # a count, of which there is no mean
                average.copy_(value)

    def state_dict(self) -> dict[str, Tensor]:
        return self._model.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._model.load_state_dict(state)
