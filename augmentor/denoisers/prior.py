"""Denoiser with a latent flow that was trained by `augmentor train-prior`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .._internal.pretrained import PretrainedModels
from .._internal.random import SampleRandom
from .._internal.weights import OF_PRIOR, load_network
from ._base import Denoiser, Denoising, check_classes, denoisers
from .flows import FLOWS, LatentFlow, noised

PRETRAINED_PRIORS = PretrainedModels("prior", OF_PRIOR)


@denoisers.register("prior")
class PriorDenoiser(Denoiser):
    """Denoiser with a latent flow, whose velocity is integrated from the noised latent. Only the noise is random.

    source: a name from `list_priors()`, the path of a ``prior.safetensors`` file or of the run's folder, or a
        `LatentFlow`, which has no string form.

    >>> PriorDenoiser("digits-prior").flow.latent_shape
    (16,)
    """

    def __init__(self, source: str | Path | LatentFlow):
        if isinstance(source, LatentFlow):
            self.flow, self.source = source, f"<{type(source).__name__}>"
        else:
            self.source = PRETRAINED_PRIORS.full_name(source)
            self.flow = load_prior(self.source)
        self.flow = self.flow.requires_grad_(False).eval()
        self.conditional = self.flow.num_classes > 0

    def check_autoencoder(self, autoencoder: Any) -> None:
        self.flow.check_autoencoder(autoencoder)

    def draw(self, latent_shape: tuple[int, ...], random: SampleRandom) -> dict[str, torch.Tensor]:
        return {"noise": random.normal(*latent_shape)}

    def denoise(
        self, raw: torch.Tensor, labels: torch.Tensor | None, drawn: dict[str, torch.Tensor], how: Denoising
    ) -> torch.Tensor:
        labels = labels if self.conditional else None
        check_classes(labels, self.flow.num_classes, f"the prior {self.source!r}")
        flow = self.flow.to(raw.device)
        z = noised(flow.stats.standardise(raw), drawn["noise"], float(how.strength))
        made = flow.integrate(z, labels, start=how.strength, steps=how.steps, guidance=how.guidance)
        return flow.stats.unstandardise(made)

    def tensors(self) -> dict[str, torch.Tensor]:
        return self.flow.state_dict()


def list_priors() -> list[str]:
    """Return the names of the pretrained priors, which `load_prior` and the policy `denoise` take.

    >>> "digits-prior" in list_priors()
    True
    """
    return PRETRAINED_PRIORS.names()


def load_prior(name_or_path: str | Path) -> LatentFlow:
    """Load a pretrained prior by its name, or a file that `augmentor train-prior` wrote, to the CPU in eval mode.

    For the folder of a run, its `prior.safetensors` is loaded. Raises `UnknownNameError` for a name that does not
    exist, `WeightsError` for a file that is missing, truncated or not written by this package.

    >>> load_prior("digits-prior").num_classes
    10
    """
    flow: LatentFlow = load_network(PRETRAINED_PRIORS.weights(name_or_path), LatentFlow.family, FLOWS)
    return flow
