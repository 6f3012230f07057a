"""Noise as wide as the encoder's own doubt about each image and dimension."""

from __future__ import annotations

from .._internal.random import SampleRandom
from ..exceptions import InputError
from ..latents import Latents, ReferenceSet
from ._base import LatentPolicy, Params, check_strength, policies


@policies.register("posterior")
class Posterior(LatentPolicy):
    """A sample of the encoder's posterior, its deviation times `factor` (Kingma and Welling 2014, eq. 10).

    Needs a variational autoencoder: one without a posterior spread is refused with an `InputError`.

    >>> Posterior(factor=2.0).factor
    2.0
    """

    def __init__(self, factor: float = 1.0):
        check_strength("posterior", factor=factor)
        self.factor = factor

    @classmethod
    def strengths(cls) -> tuple[Posterior, Posterior, Posterior]:
        return cls(1.0), cls(2.0), cls(3.0)

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        if latents.posterior_std is None:
            raise InputError(
                "policy 'posterior' needs an encoder that gives a spread, and this autoencoder gives none; "
                "use gaussian(std=0.5), or a variational autoencoder (vae, spatial_kl)"
            )
        return {"noise": random.normal(*latents.z.shape[1:])}

    def apply(self, latents: Latents, params: Params) -> Latents:
        assert latents.posterior_std is not None
        z = latents.z + self.factor * latents.posterior_std * params["noise"]
        return Latents(z, latents.posterior_std, latents.labels)

    def is_identity(self) -> bool:
        return self.factor == 0
