"""The augmentations of ADA: one affine map and one colour map per image; each part is applied with probability p."""

from __future__ import annotations

import math

import torch

from ..._internal.random import SampleRandom
from ..._internal.transfer import sent
from ...exceptions import InputError
from ._base import augmentations
from ._pixels import OfPixels, kornia_transform
from ._probability import FixedP, get_probability


@augmentations.register("ada")
class ADA(OfPixels):
    """Pixel blitting, geometry and colour ("bgc") of Karras et al. 2020, appendix B, without their low-pass filters.

    p: a number or a string, see `get_probability`; ``"adaptive"`` follows the overfitting of the discriminator.
    geometry, colour: whether images are transformed geometrically (blitting included), and in colour.

    >>> ADA(p=0.5).p.value
    0.5
    """

    takes = frozenset({"p"})

    def __init__(self, p: float | str | FixedP = "adaptive", geometry: bool = True, colour: bool = True):
        if not geometry and not colour:
            raise InputError("ada without geometry and without colour does nothing; leave it out")
        self.p: FixedP = get_probability(p)
        self.geometry, self.colour = geometry, colour

    def _apply(self, images: torch.Tensor, random: SampleRandom) -> torch.Tensor:
        if self.p.value == 0:
            return images
        draws, normal = random.uniform(16).to(images.device), random.normal(9).to(images.device)
        values = random.uniform(8).to(images.device)
        if self.geometry:
            matrix = self._affine(images, draws, values, normal)
            size = (images.shape[2], images.shape[3])
            images = kornia_transform().warp_affine(images, matrix[:, :2], size, padding_mode="reflection")
        return _recoloured(images, self._colours(draws, values, normal)) if self.colour else images

    def _affine(
        self, images: torch.Tensor, draws: torch.Tensor, values: torch.Tensor, normal: torch.Tensor
    ) -> torch.Tensor:
        """Return the matrices (B,3,3) that map pixel positions (x, y, 1) to new positions."""
        p, (height, width) = self.p.value, images.shape[-2:]
        one, zero = torch.ones_like(draws[:, 0]), torch.zeros_like(draws[:, 0])
        size = sent(torch.tensor([width, height]), images.device)
        flip = torch.where(draws[:, 0] < p, (2 * values[:, 0]).floor() * 2 - 1, one)
        quarter = torch.where(draws[:, 1] < p, (4 * values[:, 1]).floor() * (math.pi / 2), zero)
        whole = torch.where(draws[:, 2:3] < p, ((2 * values[:, 2:4] - 1) * 0.125 * size).round(), 0.0)
        scale = torch.where(draws[:, 3] < p, (normal[:, 0] * 0.2 * math.log(2)).exp(), one)
        # The probability that at least one of the two rotations is applied is p.
        rotated = 1 - math.sqrt(1 - p)
        before = torch.where(draws[:, 4] < rotated, (2 * values[:, 4] - 1) * math.pi, zero)
        stretch = torch.where(draws[:, 5] < p, (normal[:, 1] * 0.2 * math.log(2)).exp(), one)
        after = torch.where(draws[:, 6] < rotated, (2 * values[:, 5] - 1) * math.pi, zero)
        part = torch.where(draws[:, 7:8] < p, normal[:, 2:4] * 0.125 * size, 0.0)

        centre = ((size - 1) / 2).expand(len(images), 2)
        steps = (
            _moved(-centre), _scaled(flip, one), _rotated(quarter), _moved(whole), _scaled(scale, scale),
            _rotated(before), _scaled(stretch, 1 / stretch), _rotated(after), _moved(part), _moved(centre),
        )  # fmt: skip
        return _after_another(steps)

    def _colours(self, draws: torch.Tensor, values: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
        """Return the matrices (B,4,4) that map colours (r, g, b, 1) to new colours."""
        p = self.p.value
        one, zero = torch.ones_like(draws[:, 0]), torch.zeros_like(draws[:, 0])
        eye = torch.eye(4, device=draws.device).expand(len(draws), 4, 4)
        grey = sent(torch.tensor([1.0, 1.0, 1.0, 0.0]), draws.device) / math.sqrt(3)
        luma = torch.outer(grey, grey)
        shift = torch.where(draws[:, 8] < p, normal[:, 4] * 0.2, zero)
        contrast = torch.where(draws[:, 9] < p, (normal[:, 5] * 0.5 * math.log(2)).exp(), one)
        flip = torch.where(draws[:, 10] < p, (2 * values[:, 6]).floor(), zero)
        angle = torch.where(draws[:, 11] < p, (2 * values[:, 7] - 1) * math.pi, zero)
        vivid = torch.where(draws[:, 12] < p, (normal[:, 6] * math.log(2)).exp(), one)

        brightness = eye.clone()
        brightness[:, :3, 3] = shift[:, None]
        contrasted = eye.clone()
        contrasted[:, :3, :3] *= contrast[:, None, None]
        flipped = eye - 2 * luma * flip[:, None, None]
        saturated = luma + (eye - luma) * vivid[:, None, None]
        saturated[:, 3, 3] = 1
        return _after_another((brightness, contrasted, flipped, _hue(angle), saturated))

    def __str__(self) -> str:
        return f"ada(geometry={self.geometry}, colour={self.colour})"


def _after_another(steps: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return the matrix that applies these matrices in sequence."""
    whole = steps[0]
    for step in steps[1:]:
        whole = step @ whole
    return whole


def _scaled(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], 1))


def _rotated(angle: torch.Tensor) -> torch.Tensor:
    matrix = torch.eye(3, device=angle.device).repeat(len(angle), 1, 1)
    cosine, sine = angle.cos(), angle.sin()
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1] = cosine, -sine, sine, cosine
    return matrix


def _moved(by: torch.Tensor) -> torch.Tensor:
    matrix = torch.eye(3, device=by.device).repeat(len(by), 1, 1)
    matrix[:, :2, 2] = by
    return matrix


def _hue(angle: torch.Tensor) -> torch.Tensor:
    """Return the matrices (B,4,4) of a rotation of colours around the grey axis (Rodrigues' formula)."""
    third, root = 1 / 3, math.sqrt(1 / 3)
    axis = torch.full((3, 3), third, device=angle.device)
    cross = root * sent(torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]), angle.device)
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    matrix = torch.eye(4, device=angle.device).repeat(len(angle), 1, 1)
    matrix[:, :3, :3] = cosine * torch.eye(3, device=angle.device) + sine * cross + (1 - cosine) * axis
    return matrix


def _recoloured(images: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Apply the matrices (B,4,4) to RGB images (B,3,H,W); to grey images, their effect on grey, averaged over RGB."""
    if images.shape[1] == 1:
        mean = matrix[:, :3].mean(1)
        return images * mean[:, :3].sum(1)[:, None, None, None] + mean[:, 3, None, None, None]
    return torch.einsum("bij,bjhw->bihw", matrix[:, :3, :3], images) + matrix[:, :3, 3, None, None]
