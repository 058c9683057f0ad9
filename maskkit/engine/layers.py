"""The layers of a network, in the order in which it names them: which is the last, and how fast each learns."""

from collections.abc import Iterable

from torch import nn
from torch.nn import Parameter
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from maskkit.errors import UsageError

__all__ = ["body_of", "hold_statistics", "learn_by_layer"]

_MOST_GROUPS = 8  # each is a call of the optimizer


def body_of(network: nn.Module, num_outputs: int) -> list[Parameter]:
    """Return the weights that learn outside of the last layer, which is the last one with a row for each output.

    Raises:
        UsageError: there is no such layer.
    """
    last = [layer for layer in _layers(network) if layer[0].shape[:1] == (num_outputs,)]
    if not last:
        raise UsageError(
            f"--freeze_epochs: the network has no last layer of {num_outputs} outputs", hint="Leave it out."
        )
    own = {id(parameter) for parameter in last[-1]}
    return [one for one in network.parameters() if one.requires_grad and id(one) not in own]


def hold_statistics(network: nn.Module) -> None:
    """Let batch norms normalise by the statistics that they have, and leave them as they are."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def learn_by_layer(optimizer: Optimizer, network: nn.Module, first: float) -> None:
    """Give the first layers `first` times the learning rate, the last ones all of it, and those between between.

    The factor grows by the same ratio from group to group, of up to 8 groups of layers (Howard and Ruder, arXiv
    1801.06146, have one for each layer). The optimizer must be new.
    """
    layers = _layers(network)
    num_groups = min(_MOST_GROUPS, len(layers))
    group_of = {
        id(parameter): number * num_groups // len(layers) for number, layer in enumerate(layers) for parameter in layer
    }
    given = list(optimizer.param_groups)
    optimizer.param_groups.clear()
    for group in given:
        for number in range(num_groups):
            held = [parameter for parameter in group["params"] if group_of[id(parameter)] == number]
            factor = first ** (1 - number / max(num_groups - 1, 1)) if num_groups > 1 else 1.0
            if held:
                optimizer.add_param_group({**group, "params": held, "lr": group["lr"] * factor})


def _layers(network: nn.Module) -> list[list[Parameter]]:
    """Return the weights of each module that has some of its own, each weight once."""
    seen: set[int] = set()
    layers = [_unseen(module.parameters(recurse=False), seen) for module in network.modules()]
    return [layer for layer in layers if layer]


def _unseen(parameters: Iterable[Parameter], seen: set[int]) -> list[Parameter]:
    new = [parameter for parameter in parameters if id(parameter) not in seen]
    seen.update(map(id, new))
    return new
