"""New, and still of its class: a few gradient steps away from what is there already."""

from __future__ import annotations

import torch

from .._internal.random import SampleRandom
from ..latents import SAME, Latents, ReferenceSet
from ._ascent import AscendingPolicy, Score
from ._base import check_count, policies

# So many random reference samples stand in for the batch of a sample.
_RANDOM_SAMPLES = 3


@policies.register("guided")
class Guided(AscendingPolicy):
    """Up the mean log distance to the nearest real latents, while the reference set's classifier keeps the label.

    After GIF (Zhang et al. 2023, "Expanding Small-Scale Datasets with Guided Imagination") and LatentAugment (Tronchin
    et al. 2023), which shares a name with our transform and differs in what it needs: see docs/guided.md. It has to be
    fitted (`augment.fit(dataset)`).

    radius: how far a latent may move, as the root mean square over its dimensions; most go nearly as far.
    steps: gradient steps, from a random point inside that ball. k: how many nearest real latents, searched at each
        step, it moves away from; a few random ones of its class are added.

    A sample does not move away from its batch, because then its result would depend on the batch; the random samples
    stand in for it. Draws of one sample differ by their random start.

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
            return (squares + SAME**2).log().mean(1) / 2  # bounded below; above, the ball bounds it

        return diversity
