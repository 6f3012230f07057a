"""The contract of a denoiser: what the policy `denoise` asks to bring noised latents back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from .._internal.diffusers import PREFIX
from .._internal.random import SampleRandom
from .._internal.registry import Registry, describe
from ..exceptions import InputError

denoisers: Registry[Denoiser] = Registry("denoiser")


@dataclass(frozen=True)
class Denoising:
    """How far, in how many steps, and how strongly the class or the text is followed; see `Denoise`.

    strength: above 0, at most 1. steps: for the whole path from noise.

    >>> Denoising(strength=0.5, steps=10, guidance=1.0).taken
    5
    """

    strength: float
    steps: int
    guidance: float

    @property
    def taken(self) -> int:
        """Of the steps those that are taken, at least one."""
        return max(1, round(self.strength * self.steps))


class Denoiser:
    """Base of all denoisers. It acts on raw latents, because it has latent statistics, or a scale, of its own.

    As with policies, `draw` turns a sample's own random sequence into parameters, and `denoise` uses them and is a pure
    function. A member stores its constructor's arguments under their own names.

    conditional: whether the class of a sample matters. guidance: that of the policy where it gives none.

    >>> str(get_denoiser("digits-prior"))
    "prior(source='digits-prior')"
    """

    name: ClassVar[str]
    conditional: bool = False
    guidance: float = 1.0

    def check_autoencoder(self, autoencoder: Any) -> None:
        """Raise `InputError` for an autoencoder whose latents this denoiser does not know."""

    def draw(self, latent_shape: tuple[int, ...], random: SampleRandom) -> dict[str, torch.Tensor]:
        """Random parameters of each sample, for latents of this shape."""
        raise NotImplementedError

    def denoise(
        self, raw: torch.Tensor, labels: torch.Tensor | None, drawn: dict[str, torch.Tensor], how: Denoising
    ) -> torch.Tensor:
        """Noise raw latents (B, *L) part of the way and bring them back => raw latents (B, *L).

        labels: class numbers int64 (B,), negative where there is none; or None. drawn: what `draw` returned.
        """
        raise NotImplementedError

    def tensors(self) -> dict[str, torch.Tensor]:
        """The weights of its networks, by which two denoisers of one text can differ."""
        raise NotImplementedError

    def models(self) -> list[str]:
        """Models of others that it uses, as of `LatentPolicy`."""
        return []

    def __repr__(self) -> str:
        return describe(self)


def get_denoiser(spec: str | Denoiser, classes: Sequence[str] = ()) -> Denoiser:
    """A denoiser as it is, or that of a text.

    spec: the name or path of a prior, ``"diffusers:PLACE"``, or the text form of any member, such as
        ``"diffusers('PLACE', prompt='a photo of a {}')"``. classes: names of the classes, where the text has none.

    Raises `UnknownNameError` for a name that does not exist, `WeightsError` for files that cannot be read.

    >>> get_denoiser("digits-prior").conditional
    True
    """
    if isinstance(spec, Denoiser):
        return spec
    if not isinstance(spec, str):
        raise InputError(f"expected a denoiser, the name or path of a prior, or 'diffusers:PLACE'; got {spec!r}")
    if spec.partition("(")[0] in denoisers.members and spec.endswith(")"):
        return denoisers.build(spec, **({"classes": list(classes)} if classes else {}))
    of_diffusers = spec.startswith(PREFIX)
    return denoisers.create("diffusers" if of_diffusers else "prior", {"source": spec.removeprefix(PREFIX)})


def drawn_seeds(random: SampleRandom) -> torch.Tensor:
    """A seed for each sample, int64 (B,), for a torch generator of its own: schedulers of diffusers draw from one."""
    high, low = (random.uniform(2) * 2**24).long().unbind(1)
    return high << 24 | low


def generators_of(seeds: torch.Tensor) -> list[torch.Generator]:
    """Of seeds (B,) that were drawn; on the CPU, so that their numbers are the same for every device."""
    return [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
