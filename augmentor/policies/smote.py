"""SMOTE in latent space: between a sample and one of its nearest neighbours of the same class."""

from __future__ import annotations

import torch

from .._internal.random import SampleRandom
from ..exceptions import InputError
from ..latents import Latents, ReferenceSet, lerp
from ._base import policies
from ._reference import ReferencePolicy


@policies.register("smote")
class Smote(ReferencePolicy):
    """Chawla et al. 2002 on latents, as in DeepSMOTE (Dablain et al. 2021).

    k: how many nearest neighbours of the class to choose from; classes with fewer use what they have, and a fitted
    class of one image is refused with a `ReferenceSetError`.

    >>> Smote(k=3).k
    3
    """

    def __init__(self, k: int = 5, strength: float = 1.0):
        super().__init__(strength)
        if not isinstance(k, int) or k < 1:
            raise InputError(f"policy 'smote' takes a whole number k >= 1, got {k!r}")
        self.k = k

    @classmethod
    def strengths(cls) -> tuple[Smote, Smote, Smote]:
        return cls(5, 0.25), cls(5, 0.5), cls(5, 1.0)

    def _pick(
        self, reference: ReferenceSet, latents: Latents, random: SampleRandom
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return reference.neighbours(latents, random, self.k)

    def _move(self, z: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return lerp(z, target, weight)
