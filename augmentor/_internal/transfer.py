"""Transfer of tensors to a device without waiting on the host, and a check for loader workers."""

from __future__ import annotations

import torch
from torch.utils.data import get_worker_info

from ..exceptions import DeviceError


def sent(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Return the tensor on a device. A copy to CUDA uses pinned memory, so that it runs in parallel to other work."""
    device = torch.device(device)
    if device.type == "cuda" and tensor.device.type == "cpu" and not tensor.requires_grad:
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type != "cpu")  # the host could use it before the copy is complete


def refuse_in_worker(device: torch.device, what: str, advice: str) -> None:
    """Raise `DeviceError` for an accelerator inside a worker of a `DataLoader`, which cannot use it."""
    if device.type != "cpu" and get_worker_info() is not None:
        raise DeviceError(f"{what} on {device} inside a DataLoader worker, which cannot use it; {advice}")
