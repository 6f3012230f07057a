"""Work on another device: tensors sent there without making the host wait, and not from a loader's worker."""

from __future__ import annotations

import torch
from torch.utils.data import get_worker_info

from ..exceptions import DeviceError


def sent(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """The tensor on a device. To CUDA it goes by way of pinned memory, so that the copy runs beside other work."""
    device = torch.device(device)
    if device.type == "cuda" and tensor.device.type == "cpu" and not tensor.requires_grad:
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type != "cpu")  # the host would not know when a copy to it is done


def refuse_in_worker(device: torch.device, what: str, advice: str) -> None:
    """`DeviceError` for an accelerator inside a worker of a `DataLoader`, which cannot use it."""
    if device.type != "cpu" and get_worker_info() is not None:
        raise DeviceError(f"{what} on {device} inside a DataLoader worker, which cannot use it; {advice}")
