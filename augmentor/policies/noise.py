"""Policies that add normal noise: independent, scaled as the encoder's posterior, or smooth over a feature map."""

from __future__ import annotations

import torch

from .._internal.random import SampleRandom
from ..exceptions import InputError
from ..latents import Latents, ReferenceSet
from ._base import LatentPolicy, Params, check_count, check_strength, policies


@policies.register("gaussian")
class Gaussian(LatentPolicy):
    """Policy that adds independent normal noise: ``z + std * noise`` (DeVries and Taylor 2017, section 3.2).

    std: standard deviation of the noise in units of the standard deviation of the latents, at least 0. Raises
        `InputError` for other values.

    >>> Gaussian(std=0.5)
    gaussian(std=0.5)
    """

    def __init__(self, std: float = 0.5):
        check_strength(self.name, std=std)
        self.std = std

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        return {"noise": random.normal(*latents.z.shape[1:])}

    def apply(self, latents: Latents, params: Params) -> Latents:
        return latents.moved(torch.add(latents.z, params["noise"], alpha=self.std))

    def is_identity(self) -> bool:
        return self.std == 0

    @classmethod
    def strengths(cls) -> tuple[Gaussian, Gaussian, Gaussian]:
        return cls(0.25), cls(0.5), cls(1.0)


@policies.register("posterior")
class Posterior(LatentPolicy):
    """Policy that samples the posterior of the encoder (Kingma and Welling 2014, eq. 10): ``z + factor * std * noise``.

    factor: multiple of the standard deviation `std` of the posterior, at least 0.

    The policy needs a variational autoencoder. Raises `InputError` for other values of `factor`, and if the encoder
    returns no posterior standard deviation.

    >>> Posterior(factor=2.0).factor
    2.0
    """

    def __init__(self, factor: float = 1.0):
        check_strength(self.name, factor=factor)
        self.factor = factor

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        if latents.posterior_std is None:
            raise InputError(
                "policy 'posterior' needs an encoder that returns a posterior standard deviation, and that of this "
                "autoencoder returns none; use gaussian(std=0.5), or a variational autoencoder (vae, spatial_kl)"
            )
        return {"noise": random.normal(*latents.z.shape[1:])}

    def apply(self, latents: Latents, params: Params) -> Latents:
        assert latents.posterior_std is not None
        return latents.moved(latents.z + self.factor * latents.posterior_std * params["noise"])

    def is_identity(self) -> bool:
        return self.factor == 0

    @classmethod
    def strengths(cls) -> tuple[Posterior, Posterior, Posterior]:
        return cls(1.0), cls(2.0), cls(3.0)


@policies.register("smooth")
class Smooth(LatentPolicy):
    """Policy that adds smooth normal noise, interpolated from a `cells` x `cells` grid: ``z + std * field``.

    Independent noise at each position, as `gaussian` adds it, gives grainy images. Smooth noise on a feature map
    changes the colour, lighting and texture of regions and keeps details. The interpolation is bilinear. The field has
    standard deviation 1 at every position, and is constant for ``cells=1``. For latent vectors the policy equals
    `gaussian`.

    std: standard deviation of the noise in units of the standard deviation of the latents, at least 0. cells: number of
        cells of the grid per axis, at least 1. Raises `InputError` for other values.

    >>> Smooth(std=0.25)
    smooth(std=0.25, cells=2)
    """

    keeps_geometry = True

    def __init__(self, std: float = 0.25, cells: int = 2):
        check_strength(self.name, std=std)
        check_count(self.name, cells=cells)
        self.std, self.cells = std, cells

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        channels, *places = latents.z.shape[1:]
        return {"noise": random.normal(channels, *(self.cells for _ in places))}

    def apply(self, latents: Latents, params: Params) -> Latents:
        field = params["noise"]
        for axis, places in enumerate(latents.z.shape[2:], start=2):
            field = _stretched(field, axis, places)
        return latents.moved(latents.z + self.std * field)

    def is_identity(self) -> bool:
        return self.std == 0

    @classmethod
    def strengths(cls) -> tuple[Smooth, Smooth, Smooth]:
        return cls(0.125), cls(0.25), cls(0.5)


def _stretched(noise: torch.Tensor, axis: int, places: int) -> torch.Tensor:
    """Interpolate independent normals along an axis to `places` positions, with standard deviation 1 at each."""
    at = torch.linspace(0, noise.shape[axis] - 1, places, device=noise.device)
    left = at.floor().long()
    right = at.ceil().long()
    share = (at - left).reshape(-1, *(1 for _ in range(noise.ndim - axis - 1)))
    mixed = (1 - share) * noise.index_select(axis, left) + share * noise.index_select(axis, right)
    return mixed / ((1 - share).square() + share.square()).sqrt()
