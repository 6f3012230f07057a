"""`v2.ColorJitter` for a whole batch at once, with parameters per image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as VF


def jitter_each(jitter: v2.ColorJitter, images: torch.Tensor) -> torch.Tensor:
    """Apply ``jitter`` to each RGB image of a batch (B,3,H,W), uint8 or floating in [0, 1], with torchvision's draws.

    >>> jitter_each(v2.ColorJitter(0.4, 0.4, 0.4, 0.1), torch.rand(5, 3, 8, 8)).shape
    torch.Size([5, 3, 8, 8])
    """
    drawn = [jitter.make_params([image]) for image in images]
    order = torch.stack([params["fn_idx"] for params in drawn])
    images = images.clone()
    for turn in order.T:  # the order differs between images
        for number, (name, adjust) in enumerate(_ADJUSTMENTS):
            rows = (turn == number).nonzero().squeeze(1)
            if len(rows) and drawn[0][name] is not None:
                factors = torch.tensor([drawn[row][name] for row in rows.tolist()], device=images.device)
                images[rows] = adjust(images[rows], factors[:, None, None, None])
    return images


def _brightness(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    return _blended(images, torch.zeros_like(images), factors)


def _contrast(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    return _blended(images, VF.rgb_to_grayscale(images).float().mean((1, 2, 3), keepdim=True), factors)


def _saturation(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    return _blended(images, VF.rgb_to_grayscale(images), factors)


def _blended(images: torch.Tensor, others: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Return ``factor * image + (1 - factor) * other``, clamped to the range of the images."""
    largest = 255 if images.dtype == torch.uint8 else 1
    return (factors * images + (1 - factors) * others).clamp(0, largest).to(images.dtype)


def _hue(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Shift the HSV hue by a number of turns; value and saturation do not change."""
    levels = VF.to_dtype(images, torch.float32, scale=True)
    red, green, blue = levels.unbind(1)
    value = levels.amax(1)
    chroma = value - levels.amin(1)
    scale = chroma.clamp_min(1e-12)  # the hue of grey is undefined and has no effect
    hue = torch.where(
        value == red,
        (green - blue) / scale,
        torch.where(value == green, 2 + (blue - red) / scale, 4 + (red - green) / scale),
    )
    # Each channel decreases and increases piecewise over the six sixths of a turn.
    sixths = (torch.tensor([5.0, 3.0, 1.0], device=images.device)[:, None, None] + hue[:, None] + 6 * turns) % 6
    moved = value[:, None] - chroma[:, None] * torch.minimum(sixths, 4 - sixths).clamp(0, 1)
    return VF.to_dtype(moved, images.dtype, scale=True)


# In the numbering of ColorJitter.
_ADJUSTMENTS: tuple[tuple[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]], ...] = (
    ("brightness_factor", _brightness),
    ("contrast_factor", _contrast),
    ("saturation_factor", _saturation),
    ("hue_factor", _hue),
)
