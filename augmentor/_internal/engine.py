"""Where a run computes: one device, or several processes and lower precision through Lightning Fabric.

Every process takes its part of each batch, and gradients are averaged before an optimiser steps, in one piece, as in
StyleGAN3. Networks are not wrapped, so a training method may call any method of them and take gradients of gradients.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import nn

from ..exceptions import DeviceError, InputError

T = TypeVar("T")

# Name => Fabric's name for it.
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


class Engine:
    """One process on one device, in float32: plain torch."""

    rank, processes = 0, 1

    def __init__(self, device: torch.device | str):
        self.device = torch.device(device)

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes files and shows progress."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision that forward passes run in."""
        return contextlib.nullcontext()

    def minimise(self, loss: torch.Tensor, *optimizers: torch.optim.Optimizer) -> None:
        """One step of these optimisers down the gradient of `loss`, averaged over the processes.

        Gradients of their parameters alone are cleared first; keep others out of the graph, or frozen.
        """
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            self._average(p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
            optimizer.step()

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of a tensor over the processes."""
        return value

    def batch_mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean over the whole batch, of this process's mean over its part, which alone the gradient is of.

        For what a loss is no mean of, such as the square of a mean; `minimise` averages the gradients.
        """
        return value + (self.mean(value.detach()) - value.detach())

    def agree(self, value: T) -> T:
        """What process 0 has, in all of them."""
        return value

    def start_alike(self, networks: Iterable[nn.Module]) -> None:
        """Give every process the weights and buffers of process 0; refuse what batches of several would break."""

    def _average(self, gradients: Iterable[torch.Tensor]) -> None:
        pass


class FabricEngine(Engine):
    """Several processes, or mixed precision."""

    def __init__(self, device: torch.device | str, devices: int, precision: str):
        try:
            from lightning.fabric import Fabric  # imported when used: 8.5 seconds
        except ImportError as error:
            raise DeviceError(
                "several processes and precision other than fp32 take Lightning Fabric; "
                "pip install 'latent-augmentor[distributed]'"
            ) from error
        device = torch.device(device)
        here, everywhere = int(os.environ.get("LOCAL_WORLD_SIZE", devices)), _launched()
        self._fabric = Fabric(
            accelerator=device.type,
            devices=[device.index] if here == 1 and device.index is not None else here,
            num_nodes=max(1, everywhere // here),
            strategy="ddp" if max(here, everywhere) > 1 else "auto",
            precision=PRECISIONS[precision],
        )
        self._fabric.launch()
        super().__init__(self._fabric.device)
        self.rank, self.processes = self._fabric.global_rank, self._fabric.world_size

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
                        f"layer {name!r} of {type(network).__name__} normalises over a batch, and each process sees "
                        "a part of it; convert the network with nn.SyncBatchNorm.convert_sync_batchnorm, "
                        "or use group norm"
                    )
            network.load_state_dict(self.agree({k: v.cpu() for k, v in network.state_dict().items()}))

    def _average(self, gradients: Iterable[torch.Tensor]) -> None:
        parts = list(gradients)
        if self.processes == 1 or not parts:
            return
        averaged = self.mean(torch.cat([part.reshape(-1) for part in parts]))
        for part, whole in zip(parts, averaged.split([part.numel() for part in parts]), strict=True):
            part.copy_(whole.view_as(part))


def get_engine(device: torch.device | str, devices: int = 1, precision: str = "fp32") -> Engine:
    """Plain torch, unless there are several processes (asked for, or started by ``torchrun``) or lower precision."""
    check_engine(devices, precision)
    if devices == 1 and _launched() == 1 and precision == "fp32":
        return Engine(device)
    return _fabric_engine(str(device), devices, precision)


def check_engine(devices: int, precision: str) -> None:
    """`InputError` for settings that mean nothing."""
    if precision not in PRECISIONS:
        raise InputError(f"precision is one of {', '.join(PRECISIONS)}, got {precision!r}")
    if devices < 1:
        raise InputError(f"devices is the number of processes on this machine, at least 1; got {devices}")


@functools.cache
def _fabric_engine(device: str, devices: int, precision: str) -> FabricEngine:
    """One for all runs of a process: processes are started once."""
    return FabricEngine(device, devices, precision)


def _launched() -> int:
    """How many processes ``torchrun`` or the like has started."""
    return int(os.environ.get("WORLD_SIZE", "1"))
