"""Raw and standardised latents, which autoencoders and policies exchange.

    raw latents            output of the encoder and input of the decoder
    standardised latents   raw latents, scaled to mean 0 and standard deviation 1 over the training images: per
                           dimension for vectors (B,D), per channel for feature maps (B,C,H,W)

A policy operates on standardised latents, so a strength means the same for every autoencoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from .._internal.transfer import sent
from ..exceptions import InputError
from .statistics import LatentStats


class Posterior(NamedTuple):
    """Posterior of the encoder per image: mean and standard deviation, raw latents (B, *L); std may be None."""

    mean: torch.Tensor
    std: torch.Tensor | None = None

    def take(self, rows: torch.Tensor) -> Posterior:
        """Return the samples at `rows`, int64 (n,)."""
        rows = rows.to(self.mean.device)
        return Posterior(self.mean[rows], None if self.std is None else self.std[rows])

    def sent(self, device: torch.device | str) -> Posterior:
        """Return the posterior on a device; the host does not wait for the copy."""
        return Posterior(sent(self.mean, device), None if self.std is None else sent(self.std, device))


@dataclass(frozen=True)
class Latents:
    """A batch of standardised latents.

    z: float (B, *L).
    posterior_std: standard deviation of the encoder's posterior (B, *L), or None.
    labels: int64 (B,), float (B,K) or None; negative numbers and rows of zeros are ignored.
    kept: bool (B,), true for samples that a policy kept because it found no partner for them; None if there are none.
    real: latents (B, *L) of the real samples if a policy has already perturbed z; None before that.
    stats: the statistics used for the standardisation; None if z are raw latents.
    """

    z: torch.Tensor
    posterior_std: torch.Tensor | None = None
    labels: torch.Tensor | None = None
    kept: torch.Tensor | None = None
    real: torch.Tensor | None = None
    stats: LatentStats | None = None

    def __len__(self) -> int:
        return len(self.z)

    def moved(self, z: torch.Tensor, labels: torch.Tensor | None = None, kept: torch.Tensor | None = None) -> Latents:
        """Return these samples with new latents, and with new labels and more kept samples if given."""
        labels = self.labels if labels is None else labels
        return replace(self, z=z, labels=labels, kept=either(self.kept, kept), real=self.own)

    @property
    def own(self) -> torch.Tensor:
        """Latents (B, *L) of the real samples, before any policy perturbed them."""
        return self.z if self.real is None else self.real

    @property
    def raw(self) -> torch.Tensor:
        """Raw latents (B, *L)."""
        return self.z if self.stats is None else self.stats.unstandardise(self.z)

    def standardised(self, raw: torch.Tensor) -> torch.Tensor:
        """Standardise raw latents (B, *L) with the same statistics."""
        return raw if self.stats is None else self.stats.standardise(raw)

    def take(self, rows: torch.Tensor) -> Latents:
        """Return the samples at `rows`, int64 (n,)."""
        parts = (self.posterior_std, self.labels, self.kept, self.real)
        std, labels, kept, real = (None if part is None else part[rows] for part in parts)
        return Latents(self.z[rows], std, labels, kept, real, self.stats)

    def where(self, mask: torch.Tensor, others: Latents) -> Latents:
        """Return these samples, with those of `others` where the mask, bool (B,), is true."""
        return self._joined(others, lambda mine, other: torch.where(per_sample(mask, mine), other, mine))

    def put(self, rows: torch.Tensor, others: Latents) -> Latents:
        """Return these samples, with `others` at `rows`, int64 (n,)."""
        return self._joined(others, lambda mine, other: mine.index_copy(0, rows, other))

    def _joined(self, others: Latents, join: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Latents:
        labels, kept = self.labels, None
        if labels is not None and others.labels is not None:
            labels = join(labels, others.labels)
        if self.kept is not None or others.kept is not None:
            kept = join(*(_none(each) if each.kept is None else each.kept for each in (self, others)))
        return Latents(join(self.z, others.z), self.posterior_std, labels, kept, stats=self.stats)


def _none(latents: Latents) -> torch.Tensor:
    return torch.zeros(len(latents), dtype=torch.bool, device=latents.z.device)


def either(a: torch.Tensor | None, b: torch.Tensor | None) -> torch.Tensor | None:
    """Return the union of two masks, bool (B,); None is an empty mask."""
    return a if b is None else b if a is None else a | b


def per_sample(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Reshape values (B,) to (B,1,...,1), to multiply latents (B, *L)."""
    return values.reshape(-1, *(1 for _ in like.shape[1:]))


def lerp(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return ``a + weight * (b - a)`` with one weight per sample, (B,); weights outside [0, 1] extrapolate."""
    return a + per_sample(weight, a) * (b - a)


def slerp(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Interpolate along the great circle from a to b (Shoemake 1985), with lengths interpolated linearly.

    Samples of a high-dimensional normal distribution lie near a sphere; a straight line between two of them leaves it.
    """
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    length_a, length_b = (v.norm(dim=1, keepdim=True).clamp_min(1e-8) for v in (flat_a, flat_b))
    cosine = ((flat_a / length_a) * (flat_b / length_b)).sum(1, keepdim=True).clamp(-1, 1)
    angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
    t = weight.reshape(-1, 1)
    unit = (torch.sin((1 - t) * angle) * flat_a / length_a + torch.sin(t * angle) * flat_b / length_b) / angle.sin()
    curved = unit * (length_a + t * (length_b - length_a))
    parallel = cosine.abs() > 1 - 1e-5  # no unique great circle: interpolate linearly
    return torch.where(parallel, flat_a + t * (flat_b - flat_a), curved).reshape(a.shape)


# The ignored label, as of `torch.nn.CrossEntropyLoss`. All other negative numbers are ignored too.
IGNORED = -100
# Keys of multi-hot and soft labels start here; class numbers are smaller.
_SETS = 1 << 62


def class_index(labels: torch.Tensor) -> torch.Tensor:
    """Convert labels (B,) int or (B,K) soft to class numbers (B,) int64; for a soft label, the most probable class."""
    return labels.argmax(1) if labels.ndim == 2 else labels.long()


def label_keys(labels: torch.Tensor) -> torch.Tensor:
    """Return keys int64 (B,) of labels (B,) int or (B,K). Samples with equal keys may be partners.

    The key of a class number or a one-hot row is the class number. Any other row (B,K), multi-hot or soft, gets a hash
    of all its entries, from 2^62 on, so equal rows have equal keys. Ignored labels have the key -1: negative numbers,
    and rows of zeros, to which `soft_labels` converts them.

    >>> label_keys(torch.tensor([3, -100])).tolist()
    [3, -1]
    >>> keys = label_keys(torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 1.0], [0.7, 0.3], [0.0, 0.0]]))
    >>> keys[0].item(), bool(keys[1] == keys[2]), bool(keys[1] == keys[3]), keys[4].item()
    (1, True, False, -1)
    """
    if labels.ndim == 1:
        return labels.long().clamp_min(-1)
    rows = labels.float() + 0.0  # turns -0.0 into 0.0
    words = rows.contiguous().view(torch.int32).long()
    words = _mixed(words + _mixed(torch.arange(1, words.shape[1] + 1, device=words.device) * _GOLDEN))
    sets = _mixed(words.sum(1)) & (_SETS - 1) | _SETS
    one_hot = ((rows == 1).sum(1) == 1) & ((rows != 0).sum(1) == 1)
    return torch.where(one_hot, rows.argmax(1), sets).masked_fill((rows == 0).all(1), -1)


def is_class(keys: torch.Tensor) -> torch.Tensor:
    """Return which keys of labels are single classes, bool (B,)."""
    return (keys >= 0) & (keys < _SETS)


_GOLDEN = -0x61C8864680B583EB  # 2^64 divided by the golden ratio, as a signed number


def _mixed(words: torch.Tensor) -> torch.Tensor:
    """Apply a bijection of int64 that mixes all bits, as in splitmix64."""
    words = (words ^ (words >> 30)) * -0x40A7B892E31B1A47
    words = (words ^ (words >> 27)) * -0x6B2FB644ECCEEE15
    return words ^ (words >> 31)


def soft_labels(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Convert labels (B,) int or (B,K) soft to float32 (B,K). Ignored labels become zeros, which add no loss."""
    if labels.ndim == 2:
        return labels.float()
    if labels.device.type == "cpu" and len(labels) and int(labels.max()) >= num_classes:
        raise InputError(
            f"got labels up to {int(labels.max())} for {num_classes} classes; "
            f"expected class numbers from 0 to {num_classes - 1}: check num_classes"
        )
    rows = torch.nn.functional.one_hot(labels.long().clamp_min(0), num_classes).float()
    return rows * (labels >= 0).unsqueeze(1)
