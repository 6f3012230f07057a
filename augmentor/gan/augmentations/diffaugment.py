"""DiffAugment: colour, translation and cutout on real and generated images alike."""

from __future__ import annotations

import torch

from ..._internal.random import SampleRandom
from ..._internal.transfer import sent
from ...exceptions import InputError
from ...latents import per_sample
from ._base import augmentations
from ._pixels import OfPixels, kornia_transform


@augmentations.register("diffaugment")
class DiffAugment(OfPixels):
    """Zhao et al. 2020, all three operations on every image.

    colour: whether brightness, saturation (of RGB) and contrast change. translation: by at most this share of a side,
    in whole pixels. cutout: a square of this share of a side turns grey. 0 leaves one out.

    >>> str(DiffAugment(cutout=0))
    'diffaugment(colour=True, translation=0.125, cutout=0)'
    """

    def __init__(self, colour: bool = True, translation: float = 0.125, cutout: float = 0.5):
        if not 0 <= translation <= 1 or not 0 <= cutout <= 1:
            raise InputError(f"translation and cutout are shares of a side, 0 to 1; got {translation} and {cutout}")
        self.colour, self.translation, self.cutout = colour, translation, cutout

    def _apply(self, images: torch.Tensor, random: SampleRandom) -> torch.Tensor:
        draws = random.uniform(7).to(images.device)
        if self.colour:
            images = images + per_sample(draws[:, 0] - 0.5, images)
            grey = images.mean(1, keepdim=True)
            images = grey + per_sample(2 * draws[:, 1], images) * (images - grey)
            mean = images.mean((1, 2, 3), keepdim=True)
            images = mean + per_sample(draws[:, 2] + 0.5, images) * (images - mean)
        size = sent(torch.tensor([images.shape[3], images.shape[2]]), images.device)
        if self.translation:
            most = (size * self.translation + 0.5).floor()
            shift = (draws[:, 3:5] * (2 * most + 1)).floor() - most
            images = kornia_transform().translate(images, shift)
        if self.cutout:
            half = (size * self.cutout + 0.5).floor() / 2
            # The centre lies anywhere on the image, so a part of the square may lie outside.
            centre = (draws[:, 5:7] * (size + (1 - 2 * half % 2))).floor()
            images = images * ~self._inside(images, centre, half)
        return images

    @staticmethod
    def _inside(images: torch.Tensor, centre: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
        """Bool (B,1,H,W): pixels within a rectangle of twice `half` (x, y) around each centre (B,2)."""
        axes = [torch.arange(images.shape[-1 - axis], device=images.device) for axis in (0, 1)]
        near = [
            (pixels >= centre[:, axis, None] - half[axis].floor())
            & (pixels < centre[:, axis, None] + half[axis].ceil())
            for axis, pixels in enumerate(axes)
        ]
        return (near[0][:, None, :] & near[1][:, :, None])[:, None]

    def __str__(self) -> str:
        return f"diffaugment(colour={self.colour}, translation={self.translation}, cutout={self.cutout})"
