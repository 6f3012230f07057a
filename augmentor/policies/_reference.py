"""What policies share that combine a sample with a reference sample: pick one, draw a weight, move along a path."""

from __future__ import annotations

import torch

from .._internal.random import SampleRandom
from ..latents import Latents, ReferenceSet
from ._base import LatentPolicy, Params, check_strength, reference_or_batch


class ReferencePolicy(LatentPolicy):
    """Moves each sample relative to a reference sample of its class, by a weight uniform on [0, strength)."""

    needs_reference = True

    def __init__(self, strength: float = 1.0):
        check_strength(self.name, strength=strength)
        self.strength = strength

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        reference = reference_or_batch(latents, reference)
        target, _ = self._pick(reference, latents, random)
        return {"target": target, "weight": self.strength * random.uniform()}

    def apply(self, latents: Latents, params: Params) -> Latents:
        z = self._move(latents.z, params["target"], params["weight"])
        return Latents(z, latents.posterior_std, latents.labels)

    def fit(self, reference: ReferenceSet) -> None:
        reference.require(2, str(self))

    def is_identity(self) -> bool:
        return self.strength == 0

    def _pick(
        self, reference: ReferenceSet, latents: Latents, random: SampleRandom
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return reference.random_samples(latents, random)

    def _move(self, z: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError
