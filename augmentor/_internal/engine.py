"""Execution of a training run: on one device, or in several processes and lower precision with Lightning Fabric.

Each process computes its part of each batch. `DistributedDataParallel` averages the gradients during the backward pass.
It wraps the loss and not the networks, so training methods may call any of their methods and use double backward.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from ..exceptions import DeviceError, InputError

T = TypeVar("T")

# Name => name in Fabric.
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


class Engine:
    """Engine for one process on one device in float32, with plain torch."""

    rank, processes = 0, 1

    def __init__(self, device: torch.device | str):
        self.device = torch.device(device)

    @property
    def writes(self) -> bool:
        """Return whether this process writes files and shows progress."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context that sets the precision of forward passes."""
        return contextlib.nullcontext()

    def minimise(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Do one step of the optimiser on `loss`, with gradients averaged over the processes.

        Only the gradients of its parameters are cleared first: other parameters must be frozen or outside the graph.
        """
        optimizer.zero_grad(set_to_none=True)
        self._backward(loss, optimizer)
        optimizer.step()

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean of a tensor over the processes."""
        return value

    def batch_mean(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean over the whole batch from the mean of this process, through which the gradient flows.

        For losses that are not a mean over samples, such as the square of a mean; `minimise` averages the gradients.
        """
        return value + (self.mean(value.detach()) - value.detach())

    def agree(self, value: T) -> T:
        """Return the value of process 0 in all processes."""
        return value

    def start_alike(self, networks: Iterable[nn.Module]) -> None:
        """Copy the weights and buffers of process 0 to all processes; `InputError` for unsynchronised batch norm."""

    def _backward(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Compute the gradients of the parameters of the optimiser."""
        loss.backward()


class FabricEngine(Engine):
    """Engine for several processes or mixed precision."""

    def __init__(self, device: torch.device | str, devices: int, precision: str):
        try:
            from lightning.fabric import Fabric  # imported only here, because it takes 8.5 seconds
            from lightning.fabric.strategies import DDPStrategy
        except ImportError as error:
            raise DeviceError(
                "several processes, or a precision other than fp32, require Lightning Fabric; "
                "pip install 'latent-augmentor[distributed]'"
            ) from error
        device = torch.device(device)
        here, everywhere = int(os.environ.get("LOCAL_WORLD_SIZE", devices)), _launched()
        self._fabric = Fabric(
            accelerator=device.type,
            devices=[device.index] if here == 1 and device.index is not None else here,
            num_nodes=max(1, everywhere // here),
            # Not every loss uses all parameters of its optimiser; `start_alike` has already copied the weights.
            strategy=DDPStrategy(find_unused_parameters=True, init_sync=False) if max(here, everywhere) > 1 else "auto",
            precision=PRECISIONS[precision],
        )
        self._fabric.launch()
        super().__init__(self._fabric.device)
        self.rank, self.processes = self._fabric.global_rank, self._fabric.world_size
        self._reduced: WeakKeyDictionary[torch.optim.Optimizer, nn.Module] = WeakKeyDictionary()

    def autocast(self) -> AbstractContextManager[Any]:
        return self._fabric.autocast()

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        if self.processes == 1:
            return value
        averaged: Any = self._fabric.all_reduce(value.clone(), reduce_op="mean")
        return averaged

    def agree(self, value: T) -> T:
        return value if self.processes == 1 else self._fabric.broadcast(value, src=0)

    def start_alike(self, networks: Iterable[nn.Module]) -> None:
        if self.processes == 1:
            return
        for network in networks:
            for name, part in network.named_modules():
                if isinstance(part, nn.modules.batchnorm._BatchNorm) and not isinstance(part, nn.SyncBatchNorm):
                    raise InputError(
                        f"layer {name!r} of {type(network).__name__} normalises over a batch, but each process has "
                        "a part of it only; convert the network with nn.SyncBatchNorm.convert_sync_batchnorm, "
                        "or use group norm"
                    )
            network.load_state_dict(self.agree({k: v.cpu() for k, v in network.state_dict().items()}))

    def _backward(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        if self.processes > 1:
            if optimizer not in self._reduced:
                self._reduced[optimizer] = self._fabric.setup_module(_Loss(optimizer))
            loss = self._reduced[optimizer](loss)
        self._fabric.backward(loss)


class _Loss(nn.Module):
    """A loss as a module with the parameters of an optimiser, so that DDP averages their gradients."""

    def __init__(self, optimizer: torch.optim.Optimizer):
        super().__init__()
        self.weights = nn.ParameterList(weight for group in optimizer.param_groups for weight in group["params"])

    def forward(self, loss: torch.Tensor) -> torch.Tensor:
        return loss


def get_engine(device: torch.device | str, devices: int = 1, precision: str = "fp32") -> Engine:
    """Return a `FabricEngine` for several processes (also of ``torchrun``) or lower precision, else an `Engine`."""
    check_engine(devices, precision)
    if devices == 1 and _launched() == 1 and precision == "fp32":
        return Engine(device)
    return _fabric_engine(str(device), devices, precision)


def check_engine(devices: int, precision: str) -> None:
    """Raise `InputError` for invalid settings."""
    if precision not in PRECISIONS:
        raise InputError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    if devices < 1:
        raise InputError(f"devices must be the number of processes on this machine, at least 1; got {devices}")


@functools.cache
def _fabric_engine(device: str, devices: int, precision: str) -> FabricEngine:
    """Return one engine for all runs of a process, because the processes can be started only once."""
    return FabricEngine(device, devices, precision)


def _launched() -> int:
    """Return the number of processes that ``torchrun`` or a similar launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1"))
