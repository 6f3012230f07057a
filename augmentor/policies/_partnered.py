"""What policies share that combine a sample with a partner: pick one, draw a weight, move along a path."""

from __future__ import annotations

import torch

from .._internal.random import SampleRandom
from ..latents import LatentPool, Latents
from ._base import LatentPolicy, Params, check_strength, partner_pool


class PartneredPolicy(LatentPolicy):
    """Moves each sample relative to a partner of its class, by a weight uniform on [0, strength)."""

    needs_partners = True

    def __init__(self, strength: float = 1.0):
        check_strength(self.name, strength=strength)
        self.strength = strength

    def draw(self, latents: Latents, random: SampleRandom, pool: LatentPool | None = None) -> Params:
        pool = partner_pool(latents, pool)
        partner, _ = self._pick(pool, latents, random)
        return {"partner": partner, "weight": self.strength * random.uniform()}

    def apply(self, latents: Latents, params: Params) -> Latents:
        z = self._move(latents.z, params["partner"], params["weight"])
        return Latents(z, latents.spread, latents.labels)

    def fit(self, pool: LatentPool) -> None:
        pool.require(2, str(self))

    def is_identity(self) -> bool:
        return self.strength == 0

    def _pick(self, pool: LatentPool, latents: Latents, random: SampleRandom) -> tuple[torch.Tensor, torch.Tensor]:
        return pool.partners(latents, random)

    def _move(self, z: torch.Tensor, partner: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError
