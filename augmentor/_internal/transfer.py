"""Tensors to another device, without making the host wait for the copy."""

from __future__ import annotations

import torch


def sent(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """The tensor on a device. To CUDA it goes by way of pinned memory, so that the copy runs beside other work."""
    device = torch.device(device)
    if device.type == "cuda" and tensor.device.type == "cpu" and not tensor.requires_grad:
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type != "cpu")  # the host would not know when a copy to it is done
