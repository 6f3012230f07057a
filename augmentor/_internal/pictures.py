"""Grids of images and figures as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import torch
from torchvision.transforms.v2 import functional as VF
from torchvision.utils import make_grid

from .checks import to_uint8

# Small images are enlarged by whole factors until a grid cell is about this wide.
_CELL = 56


def grid(rows: Sequence[torch.Tensor], *, padding: int = 2) -> torch.Tensor:
    """Rows of images (B,C,H,W), all of one size and length, uint8 or [0, 1] => one uint8 picture (3,H',W')."""
    images = torch.cat([to_uint8(row.cpu()) for row in rows])
    factor = max(1, round(_CELL / images.shape[-1]))
    images = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    return make_grid(images, nrow=len(rows[0]), padding=padding, pad_value=255)


def png(picture: torch.Tensor) -> bytes:
    """A uint8 picture (3,H,W) as the bytes of a PNG file."""
    buffer = io.BytesIO()
    VF.to_pil_image(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def figure_png(figure: Any) -> bytes:
    """A matplotlib figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
