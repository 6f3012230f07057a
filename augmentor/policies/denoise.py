"""Image-to-image generation in latent space: noise is added to latents and removed by a denoiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .._internal.random import SampleRandom
from ..denoisers import Denoiser, Denoising, get_denoiser
from ..exceptions import InputError
from ..latents import Latents, ReferenceSet, class_index
from ._base import LatentPolicy, Params, check_count, policies


@policies.register("denoise")
class Denoise(LatentPolicy):
    """Policy that adds noise to latents and removes it with a diffusion or flow model, as in SDEdit (Meng et al. 2022).

    He et al. (2023, "Is synthetic data from generative models ready for image recognition?") and DA-Fusion (Trabucco
    et al. 2024) augment training images in this way. The denoiser must fit the latents of the autoencoder.

    denoiser: the name or path of a prior (`augmentor train-prior`), ``"diffusers:PLACE"``, or a `Denoiser`.
    strength: amount of noise, 0 to 1. With 0 a latent does not change; with 1 only its class is kept.
    steps: number of denoising steps for the whole path from noise, at least 1; ``strength * steps`` of them are
        computed.
    guidance: weight of the class, or of the text (classifier-free guidance, Ho and Salimans 2022), at least 0; 1 is
        without guidance. Default: that of the denoiser, which is 1 for a prior and 7.5 for a pipeline with text.

    Raises `InputError` for other values, for a denoiser that does not fit the autoencoder, and, on the CPU, for class
    numbers that the denoiser was not trained with.

    >>> from augmentor import LatentAugment
    >>> augment = LatentAugment("digits", "denoise('digits-prior', strength=0.4)", p=1.0)
    >>> augment(torch.rand(16, 1, 8, 8), torch.arange(16) % 10)[0].shape
    torch.Size([16, 1, 8, 8])
    """

    universal = False

    def __init__(
        self, denoiser: str | Path | Denoiser, strength: float = 0.4, steps: int = 20, guidance: float | None = None
    ):
        if not 0 <= strength <= 1:
            raise InputError(f"policy 'denoise' takes a strength from 0 to 1, got {strength!r}")
        if guidance is not None and not guidance >= 0:
            raise InputError(f"policy 'denoise' takes a guidance of at least 0, got {guidance!r}")
        check_count(self.name, steps=steps)
        self.denoiser = get_denoiser(denoiser)
        self.strength, self.steps, self.guidance = strength, steps, guidance
        self.needs_labels = self.denoiser.conditional

    @classmethod
    def example(cls) -> Denoise:
        return cls("digits-prior")

    @classmethod
    def strengths(cls) -> tuple[Denoise, Denoise, Denoise]:
        return cls("digits-prior", 0.2), cls("digits-prior", 0.4), cls("digits-prior", 0.7)

    def check_autoencoder(self, autoencoder: Any) -> None:
        self.denoiser.check_autoencoder(autoencoder)

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        return self.denoiser.draw(tuple(latents.z.shape[1:]), random)

    def apply(self, latents: Latents, params: Params) -> Latents:
        if self.is_identity():
            return latents
        labels = None if latents.labels is None else class_index(latents.labels)
        guidance = self.denoiser.guidance if self.guidance is None else self.guidance
        how = Denoising(self.strength, self.steps, guidance)
        raw = self.denoiser.denoise(latents.raw, labels, params, how)
        return latents.moved(latents.standardised(raw))

    def tensors(self) -> dict[str, torch.Tensor]:
        return self.denoiser.tensors()

    def models(self) -> list[str]:
        return self.denoiser.models()

    def is_identity(self) -> bool:
        return self.strength == 0
