"""Additive normal noise, the same in every direction."""

from __future__ import annotations

import torch

from .._internal.random import SampleRandom
from ..latents import Latents, ReferenceSet
from ._base import LatentPolicy, Params, check_strength, policies


@policies.register("gaussian")
class Gaussian(LatentPolicy):
    """``z + std * noise``, in units of the latents' own deviation (DeVries and Taylor 2017, section 3.2).

    >>> Gaussian(std=0.5)
    gaussian(std=0.5)
    """

    def __init__(self, std: float = 0.5):
        check_strength("gaussian", std=std)
        self.std = std

    @classmethod
    def strengths(cls) -> tuple[Gaussian, Gaussian, Gaussian]:
        return cls(0.25), cls(0.5), cls(1.0)

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        return {"noise": random.normal(*latents.z.shape[1:])}

    def apply(self, latents: Latents, params: Params) -> Latents:
        return Latents(torch.add(latents.z, params["noise"], alpha=self.std), latents.posterior_std, latents.labels)

    def is_identity(self) -> bool:
        return self.std == 0
