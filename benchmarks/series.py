"""Standard augmentations of series, which are stored as images (1,H,W) with H channels and W time steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torchvision.transforms import v2

from augmentor.training import Recipe

# Chosen on the draws 100 and 101, like all settings of the benchmark.
JITTER = 0.02
WARP = 0.2

Batch = tuple[torch.Tensor, torch.Tensor]


def recipes_of_series(image_shape: Sequence[int], num_classes: int) -> dict[str, Recipe]:
    """Return SMOTE on the values (Chawla et al. 2002), MixUp, jitter and time warping (Um et al. 2017), and none."""
    mixup = v2.MixUp(num_classes=num_classes)
    return {
        "SMOTE": Recipe(batch=smote),
        "MixUp": Recipe(batch=mixup),
        "warp, jitter": Recipe(batch=lambda images, labels: jitter(*warp(images, labels))),
        "warp, jitter, SMOTE": Recipe(batch=lambda images, labels: smote(*jitter(*warp(images, labels)))),
        "jitter": Recipe(batch=jitter),
        "warp": Recipe(batch=warp),
        "none": Recipe(),
    }


def smote(images: torch.Tensor, labels: torch.Tensor) -> Batch:
    """Interpolate each series (B,1,H,W) with another one of the batch that has the same label, (B,) or (B,K)."""
    same = (labels[:, None] == labels).reshape(len(labels), len(labels), -1).all(-1)
    partners = torch.multinomial(same.double(), 1).flatten()
    return torch.lerp(images, images[partners], torch.rand(len(images), 1, 1, 1)), labels


def jitter(images: torch.Tensor, labels: torch.Tensor) -> Batch:
    """Add Gaussian noise to each value of float images (B,1,H,W) in [0, 1]."""
    return (images + JITTER * torch.randn_like(images)).clamp(0, 1), labels


def warp(images: torch.Tensor, labels: torch.Tensor) -> Batch:
    """Warp the time axis of float images (B,1,H,W).

    The speed is 1 plus a curve through four random numbers. The first and the last time step do not move.
    """
    count, _, height, width = images.shape
    knots = 1 + WARP * torch.randn(count, 1, 4)
    speed = F.interpolate(knots, size=width - 1, mode="linear", align_corners=True)[:, 0].clamp_min(0.1)
    time = F.pad(speed.cumsum(1), (1, 0))
    columns = (2 * time / time[:, -1:] - 1)[:, None].expand(-1, height, -1)
    rows = torch.linspace(-1, 1, height)[:, None].expand(count, height, width)
    return F.grid_sample(images, torch.stack([columns, rows], dim=-1), align_corners=True), labels
