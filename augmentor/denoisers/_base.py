"""Base class of denoisers, which the policy `denoise` uses to add noise to latents and to remove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from .._internal.diffusers import PREFIX
from .._internal.random import SampleRandom
from .._internal.registry import Registry, describe
from ..exceptions import InputError

denoisers: Registry[Denoiser] = Registry("denoiser")


@dataclass(frozen=True)
class Denoising:
    """Amount of noise, number of steps, and weight of the class or the text, as in `Denoise`.

    strength: above 0, at most 1. steps: number of steps for the whole path from noise.

    >>> Denoising(strength=0.5, steps=10, guidance=1.0).taken
    5
    """

    strength: float
    steps: int
    guidance: float

    @property
    def taken(self) -> int:
        """Number of steps that are computed, at least 1."""
        return max(1, round(self.strength * self.steps))


class Denoiser:
    """Base class of all denoisers. They act on raw latents, because they have their own latent statistics or scale.

    As in policies, `draw` computes parameters from the random sequence of each sample, and `denoise` is a pure function
    of latents and parameters. A subclass stores the arguments of its constructor under their own names.

    conditional: whether the result depends on the class of a sample. guidance: default for the guidance of the policy.

    >>> str(get_denoiser("digits-prior"))
    "prior(source='digits-prior')"
    """

    name: ClassVar[str]
    conditional: bool = False
    guidance: float = 1.0

    def check_autoencoder(self, autoencoder: Any) -> None:
        """Raise `InputError` if the denoiser does not fit the latents of this autoencoder."""

    def draw(self, latent_shape: tuple[int, ...], random: SampleRandom) -> dict[str, torch.Tensor]:
        """Draw the random parameters of each sample, for latents of this shape."""
        raise NotImplementedError

    def denoise(
        self, raw: torch.Tensor, labels: torch.Tensor | None, drawn: dict[str, torch.Tensor], how: Denoising
    ) -> torch.Tensor:
        """Add noise to raw latents (B, *L) and remove it; return raw latents (B, *L).

        labels: class numbers int64 (B,), negative for samples without a class; or None. Not used if `conditional`
        is false. drawn: output of `draw`. Raises `InputError` for class numbers that the network does not take.
        """
        raise NotImplementedError

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the weights of the networks, in which denoisers with the same string form can differ."""
        raise NotImplementedError

    def models(self) -> list[str]:
        """Return one line per third-party model, as `LatentPolicy.models`."""
        return []

    def __repr__(self) -> str:
        return describe(self)


def get_denoiser(spec: str | Path | Denoiser, classes: Sequence[str] = ()) -> Denoiser:
    """Return the denoiser that a string or a path describes; a denoiser is returned unchanged.

    spec: the name or path of a prior, ``"diffusers:PLACE"``, or the string form of any denoiser, such as
        ``"diffusers('PLACE', prompt='a photo of a {}')"``. classes: names of the classes, if the string has none.

    Raises `UnknownNameError` for a name that does not exist, `WeightsError` for files that cannot be read.

    >>> get_denoiser("digits-prior").conditional
    True
    """
    if isinstance(spec, Denoiser):
        return spec
    if isinstance(spec, Path):
        return denoisers.create("prior", {"source": spec})
    if not isinstance(spec, str):
        raise InputError(f"expected a denoiser, the name or path of a prior, or 'diffusers:PLACE'; got {spec!r}")
    if spec.partition("(")[0] in denoisers.members and spec.endswith(")"):
        return denoisers.build(spec, **({"classes": list(classes)} if classes else {}))
    of_diffusers = spec.startswith(PREFIX)
    return denoisers.create("diffusers" if of_diffusers else "prior", {"source": spec.removeprefix(PREFIX)})


def check_classes(labels: torch.Tensor | None, num_classes: int, network: str, *, unlabelled: bool = True) -> None:
    """Raise `InputError` for class numbers of at least `num_classes`, and for negative ones unless `unlabelled`.

    network: for the message. Labels on an accelerator are not checked, because the host would have to wait for them.
    """
    if labels is None or labels.device.type != "cpu" or not len(labels):
        return
    low, high = int(labels.min()), int(labels.max())
    accepted = f"{network} takes class numbers from 0 to {num_classes - 1}"
    if high >= num_classes:
        raise InputError(f"{accepted}, got {high}; use a denoiser that was trained with all classes")
    if low < 0 and not unlabelled:
        raise InputError(f"{accepted}, got {low}; leave out images without a class")


def drawn_seeds(random: SampleRandom) -> torch.Tensor:
    """Draw one seed per sample, int64 (B,), for the torch generators that schedulers of diffusers take."""
    high, low = (random.uniform(2) * 2**24).long().unbind(1)
    return high << 24 | low


def generators_of(seeds: torch.Tensor) -> list[torch.Generator]:
    """Return one generator per seed (B,), on the CPU, so that the numbers are the same for every device."""
    return [torch.Generator().manual_seed(seed) for seed in seeds.tolist()]
