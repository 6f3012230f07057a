"""Mild geometric augmentation, and random affine maps for a whole batch at once."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from ..exceptions import InputError
from .checks import to_unit_float
from .samples import image_to_tensor, tensor_to_image


class EdgeAffine(v2.RandomAffine):
    """`RandomAffine` without shear that repeats the border pixels outside of the image."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.TVTensor) and not isinstance(inpt, tv_tensors.Image):
            return super().transform(inpt, params)
        images = image_to_tensor(inpt)
        batch = images if images.ndim == 4 else images[None]
        angles, scales = (torch.full((len(batch),), float(params[name])) for name in ("angle", "scale"))
        shifts = torch.tensor([params["translate"]] * len(batch), dtype=torch.float32).reshape(-1, 2)
        moved = _affine(batch, _Maps(angles, shifts, scales, torch.zeros_like(shifts)), _sampling(self))
        return tensor_to_image(moved if images.ndim == 4 else moved[0], like=inpt)


def mild_geometry(padding_mode: str = "constant") -> v2.Transform:
    """Return a random affine transform that suits digits and most objects.

    It rotates by up to 10 degrees, shifts by up to 8 % and scales by up to 10 %.

    padding_mode: values outside of the image, as in torchvision's `Pad`: "constant" (black), or "edge" (repeated border
        pixels; black for videos), which suits photographs.

    >>> mild_geometry().degrees
    [-10.0, 10.0]
    """
    if padding_mode not in ("constant", "edge"):
        raise InputError(f"padding_mode must be 'constant' or 'edge'; got {padding_mode!r}")
    affine = EdgeAffine if padding_mode == "edge" else v2.RandomAffine
    return affine(degrees=10, translate=(0.08, 0.08), scale=(0.9, 1.1), interpolation=v2.InterpolationMode.BILINEAR)


def affine_each(affine: v2.RandomAffine, images: torch.Tensor) -> torch.Tensor:
    """Apply a random affine map to each image of a batch (B,C,H,W), uint8 or floating in [0, 1].

    The parameters of each image are drawn from torch's global generator, with torchvision's distributions.

    >>> affine_each(mild_geometry(), torch.rand(5, 1, 28, 28)).shape
    torch.Size([5, 1, 28, 28])
    """
    return _affine(images, _drawn(affine, len(images), *images.shape[2:]), _sampling(affine))


class _Maps(NamedTuple):
    """Affine map per image: degrees (B,), shifts (B,2) in pixels along x and y, scales (B,), shears (B,2)."""

    angles: torch.Tensor
    shifts: torch.Tensor
    scales: torch.Tensor
    shears: torch.Tensor


def _drawn(affine: v2.RandomAffine, count: int, height: int, width: int) -> _Maps:
    """Draw parameters as torchvision does; shifts are whole pixels."""

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count)

    share_x, share_y = affine.translate or (0.0, 0.0)
    shifts = [uniform(-share * size, share * size).round() for share, size in ((share_x, width), (share_y, height))]
    angles, scales = uniform(*affine.degrees), uniform(*(affine.scale or (1.0, 1.0)))
    # Drawn last and only if needed, so that without shear a seed gives the same results as before shear was added.
    bounds = affine.shear or ()
    shears = [uniform(low, high) for low, high in zip(bounds[::2], bounds[1::2], strict=True)]
    shears += [torch.zeros(count)] * (2 - len(shears))
    return _Maps(angles, torch.stack(shifts, 1), scales, torch.stack(shears, 1))


class _Sampling(NamedTuple):
    """Interpolation of moved images: mode and padding of `grid_sample`, and the fill value in units of the images."""

    mode: str
    padding: str
    fill: float


def _sampling(affine: v2.RandomAffine) -> _Sampling:
    is_edge = isinstance(affine, EdgeAffine)
    return _Sampling(mode_of(affine), *(("border", 0) if is_edge else ("zeros", affine.fill)))


def mode_of(affine: v2.RandomAffine) -> Any:
    """Return the name of the interpolation, which torchvision stores as an `InterpolationMode` or a string."""
    return getattr(affine.interpolation, "value", affine.interpolation)


def _affine(images: torch.Tensor, maps: _Maps, sampling: _Sampling) -> torch.Tensor:
    """Shear, rotate, scale and shift each image by its own parameters."""
    height, width = images.shape[2:]
    angles, (shear_x, shear_y) = maps.angles * (math.pi / 180), (maps.shears * (math.pi / 180)).unbind(1)
    # The inverse of the map, as in torchvision: the source position of each pixel.
    cos, sin = ((f(angles - shear_y) / shear_y.cos()) for f in (torch.cos, torch.sin))
    across, down = cos * shear_x.tan() + angles.sin(), angles.cos() - sin * shear_x.tan()
    turn = torch.stack([down, across, -sin, cos], 1).reshape(-1, 2, 2) / maps.scales[:, None, None]
    shift = -turn @ maps.shifts[:, :, None]
    # In units of half the image, as in `affine_grid`.
    half = torch.tensor([width / 2, height / 2])
    theta = torch.cat([turn * half / half[:, None], shift / half[:, None]], 2).to(images.device)
    pixels = to_unit_float(images)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False).to(pixels.dtype)
    mode, padding, fill = sampling
    outside = fill / 255 if images.dtype == torch.uint8 else fill
    moved = F.grid_sample(pixels - outside, grid, mode, padding, align_corners=False) + outside
    return tensor_to_image(moved, like=images)
