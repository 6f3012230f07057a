"""Normal noise that changes slowly over a feature map."""

from __future__ import annotations

import torch

from .._internal.random import SampleRandom
from ..exceptions import InputError
from ..latents import Latents, ReferenceSet
from ._base import LatentPolicy, Params, check_strength, policies


@policies.register("smooth")
class Smooth(LatentPolicy):
    """``z + std * field``: normal noise on a grid of `cells` x `cells` corners, bilinear between them.

    Noise of each place's own, as `gaussian` adds, decodes to grain. What neighbours share changes colour, light and
    texture over a region, and leaves its details. The field has deviation 1 at every place; with one cell the whole
    image moves alike. A vector has no places, so there it is `gaussian`.

    >>> Smooth(std=0.25)
    smooth(std=0.25, cells=2)
    """

    def __init__(self, std: float = 0.25, cells: int = 2):
        check_strength("smooth", std=std)
        if not isinstance(cells, int) or cells < 1:
            raise InputError(f"policy 'smooth' takes a whole number cells >= 1, got {cells!r}")
        self.std, self.cells = std, cells

    @classmethod
    def strengths(cls) -> tuple[Smooth, Smooth, Smooth]:
        return cls(0.125), cls(0.25), cls(0.5)

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        channels, *places = latents.z.shape[1:]
        return {"noise": random.normal(channels, *(self.cells for _ in places))}

    def apply(self, latents: Latents, params: Params) -> Latents:
        field = params["noise"]
        for axis, places in enumerate(latents.z.shape[2:], start=2):
            field = _spread(field, axis, places)
        return Latents(latents.z + self.std * field, latents.posterior_std, latents.labels)

    def is_identity(self) -> bool:
        return self.std == 0


def _spread(noise: torch.Tensor, axis: int, places: int) -> torch.Tensor:
    """Independent normals at corners along an axis => at `places` between them, still with deviation 1."""
    at = torch.linspace(0, noise.shape[axis] - 1, places, device=noise.device)
    left = at.floor().long()
    right = at.ceil().long()
    share = (at - left).reshape(-1, *(1 for _ in range(noise.ndim - axis - 1)))
    mixed = (1 - share) * noise.index_select(axis, left) + share * noise.index_select(axis, right)
    return mixed / ((1 - share).square() + share.square()).sqrt()
