"""Calibration of a gate on real images and on the autoencoder."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from .._internal.checks import to_unit_float
from .._internal.datasets import batches
from ..exceptions import AugmentorWarning
from ..latents import Posterior, ReferenceSet
from ..quality import QualityGate
from ..quality.real_images import RealImages
from ..quality.verdict import assess
from .inference import Inference

# Maximum number of latents on which the autoencoder's own error is measured, and batch size.
_MEASURED, _AT_ONCE = 256, 32


class HandedOut:
    """Map from images (B,C,H,W) to the output of a `LatentAugment` for unperturbed latents; for `assess`."""

    def __init__(self, inference: Inference, residual: float):
        self._inference, self._residual, self.device = inference, residual, inference.autoencoder.device
        self.image_shape = inference.autoencoder.image_shape

    def encode(self, images: torch.Tensor) -> Posterior:
        """Encode images to raw latents."""
        return self._inference.encode(images, exact=True)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        made = self._inference.decode(self.encode(images).mean, images.shape[1:])
        return made + self._residual * (to_unit_float(images) - made)


def all_seen(real: RealImages, data: Any) -> RealImages:
    """Return `real` after it has processed all images of a data set or an iterable of batches."""
    for _ in real.watch(batches(data)):
        pass
    return real


def fit_gate(
    gate: QualityGate, reference: ReferenceSet, real: RealImages | None, inference: Inference, residual: float
) -> None:
    """Fit a gate on the latents and the images (or None) of the same data, in the same order."""
    verdict = None
    if real is None:
        warnings.warn(
            "the gate scores latents only, so blurred or collapsed images pass; give the images of these latents, "
            "fit(cache, images=dataset)",
            AugmentorWarning,
            stacklevel=4,
        )
    else:
        images, labels = real.shown
        verdict = assess(HandedOut(inference, residual), images, labels, features=real.extractor)
    pixels = real if real is not None and real.usable else None
    gate.fit(reference, pixels, verdict=verdict, own_error=_own_error(reference, inference))


@torch.no_grad()
def _own_error(reference: ReferenceSet, inference: Inference) -> torch.Tensor:
    """Return the median distance, in standardised latents, between latents and the encoding of their decoding."""
    stats, rows = inference.autoencoder.stats, reference.z[:: -(-len(reference) // _MEASURED)]
    moved = [
        stats.standardise(inference.encode(inference.decode(stats.unstandardise(z)), exact=True).mean).float() - z
        for z in rows.split(_AT_ONCE)
    ]
    return torch.cat(moved).flatten(1).square().mean(1).sqrt().median()
