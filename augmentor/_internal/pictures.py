"""Grids of images and figures as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import torch
from torchvision.transforms.v2 import functional as VF
from torchvision.utils import make_grid

from .checks import to_uint8

# Approximate width of a grid cell in pixels: small images are enlarged by an integer factor.
_CELL = 56


def grid(rows: Sequence[torch.Tensor], *, padding: int = 2) -> torch.Tensor:
    """Draw rows of images (B,C,H,W) of equal shape, uint8 or floating in [0, 1], as one uint8 picture (3,H',W').

    The channels are selected by `visible`.
    """
    images = visible(torch.cat([to_uint8(row.cpu()) for row in rows]))
    factor = max(1, round(_CELL / images.shape[-1]))
    images = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    return make_grid(images, nrow=len(rows[0]), padding=padding, pad_value=255)


def visible(images: torch.Tensor) -> torch.Tensor:
    """Show images (..., C, H, W) with any number of channels as grey or RGB.

    Two channels become red and green; of more than three, the first three are shown. Pillow would use the second of
    two, and the fourth of four, as alpha.
    """
    if images.shape[-3] == 2:
        return torch.cat([images, torch.zeros_like(images[..., :1, :, :])], -3)
    return images[..., :3, :, :]


def bands_note(images: torch.Tensor) -> str:
    """Return a note on the channels that a picture of images (..., C, H, W) shows; empty for 1 and 3 channels."""
    channels = images.shape[-3]
    shown = "as red and green" if channels == 2 else "1 to 3 as RGB"
    return "" if channels in (1, 3) else f" ({channels} channels, {shown})"


def png(picture: torch.Tensor) -> bytes:
    """Encode a uint8 picture (C,H,W) as a PNG file; the channels are selected by `visible`."""
    buffer = io.BytesIO()
    VF.to_pil_image(visible(picture)).save(buffer, format="PNG")
    return buffer.getvalue()


def figure_png(figure: Any) -> bytes:
    """Encode a matplotlib figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
