"""Latents, raw and standard: what an autoencoder and a policy exchange.

    raw latents        what the encoder gives and the decoder takes
    standard latents   the same with mean 0 and standard deviation 1 over the training images: per dimension for vectors
                       (B,D), per channel for feature maps (B,C,H,W)

A policy acts on standard latents, so a strength means the same for every autoencoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from .._internal.transfer import sent
from ..exceptions import InputError


class Posterior(NamedTuple):
    """The encoder's posterior of each image: mean and standard deviation, raw latents (B, *L); std may be None."""

    mean: torch.Tensor
    std: torch.Tensor | None = None

    def take(self, rows: torch.Tensor) -> Posterior:
        """Some of the samples, int64 (n,)."""
        rows = rows.to(self.mean.device)
        return Posterior(self.mean[rows], None if self.std is None else self.std[rows])

    def sent(self, device: torch.device | str) -> Posterior:
        """The same on a device; the host does not wait for the copy."""
        return Posterior(sent(self.mean, device), None if self.std is None else sent(self.std, device))


@dataclass(frozen=True)
class Latents:
    """A batch of standard latents.

    z: float (B, *L). posterior_std: the standard deviation of the encoder's posterior (B, *L), or None.
    labels: int64 (B,), float (B,K) or None.
    """

    z: torch.Tensor
    posterior_std: torch.Tensor | None = None
    labels: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.z)

    def take(self, rows: torch.Tensor) -> Latents:
        """Some of the samples, int64 (n,)."""
        posterior_std, labels = (None if part is None else part[rows] for part in (self.posterior_std, self.labels))
        return Latents(self.z[rows], posterior_std, labels)

    def where(self, mask: torch.Tensor, others: Latents) -> Latents:
        """The other latents and labels where the mask, bool (B,), is true."""
        labels = self.labels
        if labels is not None and others.labels is not None:
            labels = torch.where(per_sample(mask, labels), others.labels, labels)
        return Latents(torch.where(per_sample(mask, self.z), others.z, self.z), self.posterior_std, labels)

    def put(self, rows: torch.Tensor, others: Latents) -> Latents:
        """These samples with other latents and labels at some places, int64 (n,)."""
        labels = self.labels
        if labels is not None and others.labels is not None:
            labels = labels.index_copy(0, rows, others.labels)
        return Latents(self.z.index_copy(0, rows, others.z), self.posterior_std, labels)


def per_sample(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(B,) => (B,1,...,1), to multiply latents (B, *L)."""
    return values.reshape(-1, *(1 for _ in like.shape[1:]))


def lerp(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``a + weight * (b - a)`` with one weight (B,) a sample; weights outside [0, 1] extrapolate."""
    return a + per_sample(weight, a) * (b - a)


def slerp(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Along the great circle from a to b (Shoemake 1985), lengths interpolated linearly.

    Samples of a high-dimensional normal lie near a sphere; the straight line between two of them leaves it.
    """
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    length_a, length_b = (v.norm(dim=1, keepdim=True).clamp_min(1e-8) for v in (flat_a, flat_b))
    cosine = ((flat_a / length_a) * (flat_b / length_b)).sum(1, keepdim=True).clamp(-1, 1)
    angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
    t = weight.reshape(-1, 1)
    unit = (torch.sin((1 - t) * angle) * flat_a / length_a + torch.sin(t * angle) * flat_b / length_b) / angle.sin()
    curved = unit * (length_a + t * (length_b - length_a))
    parallel = cosine.abs() > 1 - 1e-5  # no single great circle: go straight
    return torch.where(parallel, flat_a + t * (flat_b - flat_a), curved).reshape(a.shape)


def class_index(labels: torch.Tensor) -> torch.Tensor:
    """Labels (B,) int or (B,K) soft => class numbers (B,) int64; the heaviest class of a soft label."""
    return labels.argmax(1) if labels.ndim == 2 else labels.long()


def soft_labels(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Labels (B,) int or (B,K) soft => float32 (B,K)."""
    if labels.ndim == 2:
        return labels.float()
    if labels.device.type == "cpu" and len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise InputError(
            f"got labels from {int(labels.min())} to {int(labels.max())} for {num_classes} classes; "
            f"expected class numbers from 0 to {num_classes - 1}: check num_classes"
        )
    return torch.nn.functional.one_hot(labels.long(), num_classes).float()
