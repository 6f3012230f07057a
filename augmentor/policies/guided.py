"""New latents of a class: a few gradient steps away from the real latents."""

from __future__ import annotations

import torch

from .._internal.random import SampleRandom
from ..latents import SAME, Latents, ReferenceSet
from ._ascent import AscendingPolicy, Score
from ._base import check_count, policies

# Number of random reference samples that are used instead of the other samples of the batch.
_RANDOM_SAMPLES = 3


@policies.register("guided")
class Guided(AscendingPolicy):
    """Gradient steps away from the nearest real latents, as long as a classifier of the reference set keeps the label.

    The steps increase the mean log distance. The policy is based on GIF (Zhang et al. 2023, "Expanding Small-Scale
    Datasets with Guided Imagination") and on LatentAugment (Tronchin et al. 2023), which is not the transform of this
    package: see docs/guided.md. The policy must be fitted (`augment.fit(dataset)`).

    radius: largest displacement of a latent, as the root mean square over its dimensions, at least 0. Most latents
        are displaced by nearly this distance.
    steps: number of gradient steps, from a random latent at most this far away. k: number of nearest real latents,
        searched at each step, to move away from; 3 random ones of the class are added.

    The random latents replace the other samples of the batch, so the result does not depend on the batch. Draws of one
    sample differ by their random starting point.

    >>> Guided(radius=0.5)
    guided(radius=0.5, steps=4, k=5)
    """

    weight = 10.0

    def __init__(self, radius: float = 1.0, steps: int = 4, k: int = 5):
        super().__init__(radius, steps)
        check_count(self.name, k=k)
        self.k = k

    @classmethod
    def strengths(cls) -> tuple[Guided, Guided, Guided]:
        return cls(0.5), cls(0.75), cls(1.0)

    def _objective(self, latents: Latents, random: SampleRandom, reference: ReferenceSet) -> Score:
        random_samples = torch.stack([reference.random_samples(latents, random).z for _ in range(_RANDOM_SAMPLES)], 1)

        def diversity(z: torch.Tensor) -> torch.Tensor:
            _, rows = reference.nearest(z, self.k)
            others = torch.cat([reference.z[rows], random_samples], 1)
            squares = (z.unsqueeze(1) - others).flatten(2).square().mean(2)
            return (squares + SAME**2).log().mean(1) / 2  # SAME gives it a lower bound, the radius an upper bound

        return diversity
