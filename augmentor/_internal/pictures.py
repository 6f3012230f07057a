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
    """Rows of images (B,C,H,W), all of one size and length, uint8 or [0, 1] => one uint8 picture (3,H',W').

    For the channels see `visible`.
    """
    images = visible(torch.cat([to_uint8(row.cpu()) for row in rows]))
    factor = max(1, round(_CELL / images.shape[-1]))
    images = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    return make_grid(images, nrow=len(rows[0]), padding=padding, pad_value=255)


def visible(images: torch.Tensor) -> torch.Tensor:
    """Images (..., C, H, W) of any number of channels as grey or RGB: two are red and green, of more the first three.

    Pillow would take the second of two, and the fourth of four, for alpha.
    """
    if images.shape[-3] == 2:
        return torch.cat([images, torch.zeros_like(images[..., :1, :, :])], -3)
    return images[..., :3, :, :]


def bands_note(images: torch.Tensor) -> str:
    """What a picture of images (..., C, H, W) shows where that is not all of them, or nothing."""
    channels = images.shape[-3]
    shown = "as red and green" if channels == 2 else "1 to 3 as RGB"
    return "" if channels in (1, 3) else f" ({channels} channels, {shown})"


def png(picture: torch.Tensor) -> bytes:
    """A uint8 picture (C,H,W) as the bytes of a PNG file; for the channels see `visible`."""
    buffer = io.BytesIO()
    VF.to_pil_image(visible(picture)).save(buffer, format="PNG")
    return buffer.getvalue()


def figure_png(figure: Any) -> bytes:
    """A matplotlib figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
