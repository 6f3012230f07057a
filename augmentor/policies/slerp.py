"""Along the sphere to another sample of the class."""

from __future__ import annotations

import torch

from ..latents import slerp
from ._base import policies
from ._reference import ReferencePolicy


@policies.register("slerp")
class Slerp(ReferencePolicy):
    """Spherical interpolation (Shoemake 1985; White 2016 for latents), weight uniform on [0, strength).

    >>> Slerp(strength=0.5).strength
    0.5
    """

    @classmethod
    def strengths(cls) -> tuple[Slerp, Slerp, Slerp]:
        return cls(0.25), cls(0.5), cls(1.0)

    def _move(self, z: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return slerp(z, target, weight)
