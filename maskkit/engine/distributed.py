"""The processes of one training: torchrun starts them, and torch.distributed lets them agree and add up.

The first one decides, writes and reports; the others do their share of the images. All do the same in the same order,
or they would wait for each other for ever.
"""

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.modules.batchnorm import _BatchNorm

from maskkit.errors import LostProcessError
from maskkit.processes import Place

__all__ = ["ALONE", "World", "joined"]

Item = TypeVar("Item")

_PATIENCE = timedelta(hours=1)  # the first process may decode all images before the others have anything to do
_SIGNS = ("gloo", "NCCL", "closed by peer", "Connection reset", "Broken pipe", "process group", "TCPStore")


@dataclass(frozen=True)
class World:
    """All processes of a training, as one of them sees it; what is done together costs nothing where it is alone."""

    place: Place

    @property
    def size(self) -> int:
        return self.place.size

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.place.is_first

    def deal(self, items: Sequence[Item]) -> list[Item]:
        """Return this process's share: the first item goes to the first process, the second to the second .."""
        return list(items[self.place.rank :: self.size])

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up what all processes have, in place."""
        if not self.place.is_alone:
            distributed.all_reduce(tensor)
        return tensor

    def either(self, tensor: Tensor) -> Tensor:
        """Set, in place, the bits of a tensor of whole numbers on the CPU that are set in any process's."""
        if not self.place.is_alone:
            distributed.all_reduce(tensor, distributed.ReduceOp.BOR)
        return tensor

    def smallest(self, number: int) -> int:
        """Return the smallest of the numbers that the processes have."""
        if self.place.is_alone:
            return number
        tensor = torch.tensor(number)
        distributed.all_reduce(tensor, distributed.ReduceOp.MIN)
        return int(tensor)

    def told_by_first(self, value: Any) -> Any:
        """Return the value that the first process has, which JSON can hold; that of the others is no matter."""
        if self.place.is_alone:
            return value
        content = torch.tensor(list(json.dumps(value).encode() if self.is_first else b""), dtype=torch.uint8)
        length = self.sum(torch.tensor(len(content)))
        if not self.is_first:
            content = torch.empty(int(length), dtype=torch.uint8)
        distributed.broadcast(content, 0)
        return json.loads(bytes(content.tolist()))

    def same_buffers(self, network: nn.Module) -> None:
        """Give all processes one state of a network: the mean of batch norms' statistics, else that of the first."""
        if self.place.is_alone:
            return
        norms = [one for one in network.modules() if isinstance(one, _BatchNorm) and one.running_mean is not None]
        statistics = [
            tensor for norm in norms for tensor in (norm.running_mean, norm.running_var) if tensor is not None
        ]
        of_norms = {id(tensor) for tensor in statistics}
        for tensor in statistics:
            self.sum(tensor).div_(self.size)
        for buffer in network.buffers():
            if id(buffer) not in of_norms:
                distributed.broadcast(buffer, 0)

    def same_weights(self, network: nn.Module) -> None:
        """Give all processes the weights and buffers that the first one has."""
        if not self.place.is_alone:
            for tensor in network.state_dict().values():
                distributed.broadcast(tensor, 0)

    @contextmanager
    def explaining_loss(self) -> Iterator[None]:
        """Turn what torch says when another process is gone into an error.

        Raises:
            LostProcessError: another process has ended, or cannot be reached.
        """
        try:
            yield
        except RuntimeError as error:
            if self.place.is_alone or not any(sign in str(error) for sign in _SIGNS):
                raise
            raise LostProcessError(
                "another process of this training has ended or cannot be reached",
                hint="Its own message, or torchrun's below, says why. With --max-restarts=3 torchrun begins again by"
                " itself, and the run goes on.",
            ) from error


ALONE = World(Place())


@contextmanager
def joined(place: Place) -> Iterator[World]:
    """Yield the world that a process belongs to, once all processes of it are there.

    Raises:
        LostProcessError: they do not come, or one is lost on the way.
    """
    world = World(place)
    if place.is_alone:
        yield world
        return
    with world.explaining_loss():
        if torch.cuda.is_available() and place.local_rank < torch.cuda.device_count():
            torch.cuda.set_device(place.local_rank)
        with _ending_at_once():
            store, rank, size = next(rendezvous("env://", timeout=_PATIENCE))
            # Tensors on the CPU go through gloo and those on GPUs through NCCL.
            distributed.init_process_group(store=_fresh(store), rank=rank, world_size=size, timeout=_PATIENCE)
        yield world
        distributed.barrier()  # whoever leaves earlier is missed by those that are still at it
        distributed.destroy_process_group()


def _fresh(store: Store) -> Store:
    """Return where the processes find each other, without the addresses of those that torchrun has begun before.

    torchrun keeps its store over a restart of all processes, and torch 2.14 would look for the dead ones.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return store
    return PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Let a signal to end do so while the others are awaited, in code that would not listen to it."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
