"""Away from another sample of the class."""

from __future__ import annotations

import torch

from ..latents import lerp
from ._base import policies
from ._reference import ReferencePolicy


@policies.register("extrapolate")
class Extrapolate(ReferencePolicy):
    """``z + w (z - target)`` with w uniform on [0, strength) (DeVries and Taylor 2017, eq. 3).

    >>> Extrapolate(strength=0.5).strength
    0.5
    """

    def __init__(self, strength: float = 0.5):
        super().__init__(strength)

    @classmethod
    def strengths(cls) -> tuple[Extrapolate, Extrapolate, Extrapolate]:
        return cls(0.25), cls(0.5), cls(1.0)

    def _move(self, z: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return lerp(z, target, -weight)
