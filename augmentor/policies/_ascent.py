"""Gradient ascent in standardised latent space, within a ball around each sample and within its class."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch

from .._internal.random import SampleRandom
from ..latents import Latents, ReferenceSet, label_keys, per_sample
from ._base import LatentPolicy, Params, check_count, check_strength

Score = Callable[[torch.Tensor], torch.Tensor]  # latents (B, *L) => one number per sample (B,), differentiable

# A point keeps the label if its probability of the label is at least this value, or at least that of the source.
SURE = 0.98
# Lower bound of the agreement that a point must reach. For an unknown class, whose agreement is minus infinity, no
# point reaches it, and the sample does not move.
_UNKNOWN = -1e9
_TINY = 1e-12


class AscendingPolicy(LatentPolicy):
    """Base class of policies that maximise an objective by projected gradient ascent (Madry et al. 2018, eq. 2.2).

    `draw` computes the displacement and returns it as the parameters, so it is a constant for gradients. The result
    for a sample depends on its latent, its label, its own random sequence and the reference set, not on the batch.
    """

    needs_reference = True
    weight: ClassVar[float]  # weight of the agreement with the label
    enough: ClassVar[float] = 1.0  # a higher probability of the label adds nothing

    def __init__(self, radius: float, steps: int):
        check_strength(self.name, radius=radius)
        check_count(self.name, steps=steps)
        self.radius, self.steps = radius, steps
        self.fitted: ReferenceSet | None = None

    def fit(self, reference: ReferenceSet) -> None:
        _ = reference.classifier  # fitted here, so that workers get it with the reference set
        self.fitted = reference

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        reference = reference if reference is not None and reference.fitted else self.fitted
        if reference is None:  # not fitted
            kept = torch.ones(len(latents), dtype=torch.bool, device=latents.z.device)
            return {"shift": torch.zeros_like(latents.z), "kept": kept}
        reference = reference.to(latents.z.device)
        with torch.inference_mode(False), torch.enable_grad():
            labels = None if latents.labels is None else latents.labels.clone()
            source = Latents(latents.z.detach().clone(), None, labels)
            objective, agreement = self._objective(source, random, reference), _agreement(source, reference)

            def height(z: torch.Tensor) -> torch.Tensor:
                return objective(z) + self.weight * agreement(z).clamp_max(math.log(self.enough))

            shift = _ascend(source.z, random, height, agreement, self.radius, self.steps)
            kept = ~self._known(source, reference)
            return {"shift": shift.masked_fill(per_sample(kept, shift), 0), "kept": kept}

    def apply(self, latents: Latents, params: Params) -> Latents:
        return latents.moved(latents.z + params["shift"], kept=params["kept"])

    def is_identity(self) -> bool:
        return self.radius == 0

    def _known(self, latents: Latents, reference: ReferenceSet) -> torch.Tensor:
        """Return bool (B,): whether the label of each sample occurs in the reference set. Other samples are kept."""
        if latents.labels is None or not reference.labelled:
            return torch.ones(len(latents), dtype=torch.bool, device=latents.z.device)
        keys = label_keys(latents.labels).contiguous()
        row = torch.searchsorted(reference.labels, keys).clamp_max(len(reference) - 1)
        return (reference.labels[row] == keys) & (keys >= 0)

    def _objective(self, latents: Latents, random: SampleRandom, reference: ReferenceSet) -> Score:
        """Return the function to maximise. Each of its values depends on the same row of the latents only."""
        raise NotImplementedError


def _ascend(
    source: torch.Tensor, random: SampleRandom, height: Score, agreement: Score, radius: float, steps: int
) -> torch.Tensor:
    """Return the displacement (B, *L) after steps of length ``radius / steps`` from a random point of the ball.

    The result is the last point that keeps the label, or the source if no point does. The number of steps is fixed and
    rows are selected with `where`, so the host does not wait for the device.
    """
    least = agreement(source).clamp(_UNKNOWN, math.log(SURE))
    z = source + per_sample(radius * random.uniform(), source) * _unit(random.normal(*source.shape[1:]))
    kept = torch.where(per_sample(agreement(z) >= least, z), z, source)
    for _ in range(steps):
        z.requires_grad_()
        (uphill,) = torch.autograd.grad(height(z).sum(), z)
        z = _into_ball(source, z.detach() + radius / steps * _unit(uphill), radius)
        kept = torch.where(per_sample(agreement(z) >= least, z), z, kept)
    return kept - source


def _agreement(latents: Latents, reference: ReferenceSet) -> Score:
    """Return the function that computes how well the labels fit moved latents: at most 0, and 0 without labels.

    Each sample is classified by the network that was fitted without it, or without the real sample nearest to it.
    """
    classifier, labels = reference.classifier, latents.labels
    if classifier is None or labels is None:
        return lambda z: z.new_zeros(len(z))
    folds = classifier.folds[reference.origin(latents.z)]
    return lambda z: classifier.agreement(z, labels, folds)


def _into_ball(centre: torch.Tensor, z: torch.Tensor, radius: float) -> torch.Tensor:
    offset = z - centre
    return centre + offset * per_sample((radius / _rms(offset).clamp_min(_TINY)).clamp_max(1), offset)


def _unit(direction: torch.Tensor) -> torch.Tensor:
    """Scale each row to a root mean square of 1. Rows of zeros do not change."""
    return direction / per_sample(_rms(direction).clamp_min(_TINY), direction)


def _rms(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(1).square().mean(1).sqrt()
