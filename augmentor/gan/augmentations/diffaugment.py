"""The augmentation DiffAugment: colour, translation and cutout of real and of generated images."""

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
    """Colour, translation and cutout of every image (Zhao et al. 2020).

    colour: whether brightness, saturation (of RGB) and contrast change. translation: largest shift, as a fraction of
    the side, in whole pixels. cutout: side of the grey rectangle, as a fraction of the side of the image. 0 disables
    translation or cutout.

    >>> str(DiffAugment(cutout=0))
    'diffaugment(colour=True, translation=0.125, cutout=0)'
    """

    def __init__(self, colour: bool = True, translation: float = 0.125, cutout: float = 0.5):
        if not 0 <= translation <= 1 or not 0 <= cutout <= 1:
            raise InputError(f"translation and cutout must be fractions in [0, 1], got {translation} and {cutout}")
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
            # The centre is anywhere on the image, so a part of the rectangle can be outside.
            centre = (draws[:, 5:7] * (size + (1 - 2 * half % 2))).floor()
            images = images * ~self._inside(images, centre, half)
        return images

    @staticmethod
    def _inside(images: torch.Tensor, centre: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
        """Return a mask, bool (B,1,H,W), of the rectangle of twice `half` (x, y) around each centre (B,2)."""
        axes = [torch.arange(images.shape[-1 - axis], device=images.device) for axis in (0, 1)]
        near = [
            (pixels >= centre[:, axis, None] - half[axis].floor())
            & (pixels < centre[:, axis, None] + half[axis].ceil())
            for axis, pixels in enumerate(axes)
        ]
        return (near[0][:, None, :] & near[1][:, :, None])[:, None]

    def __str__(self) -> str:
        return f"diffaugment(colour={self.colour}, translation={self.translation}, cutout={self.cutout})"
