"""Policies that combine a sample with a reference sample: pick one, draw a weight, move along a path."""

from __future__ import annotations

from typing import Self

import torch

from .._internal.random import SampleRandom
from ..exceptions import InputError
from ..latents import Latents, Partners, ReferenceSet, lerp, slerp, soft_labels
from ._base import LatentPolicy, Params, check_count, check_strength, policies, reference_or_batch


class ReferencePolicy(LatentPolicy):
    """Moves each sample towards a reference sample of its class, by a weight uniform on [0, strength).

    A sample that has no partner is kept. A member overrides what it does otherwise: `_pick` the reference sample, or
    `_move` along another path.
    """

    needs_reference = True

    def __init__(self, strength: float = 1.0):
        check_strength(self.name, strength=strength)
        self.strength = strength

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        target, labels, found = self._pick(reference_or_batch(latents, reference), latents, random)
        weight = self.strength * random.uniform() * found
        params = {"target": target, "weight": weight, "kept": ~found}
        count = None if latents.labels is None else self.soft_classes(latents.labels, reference)
        return params if count is None else {**params, "target_labels": soft_labels(labels, count)}

    def apply(self, latents: Latents, params: Params) -> Latents:
        target, weight, labels = params["target"], params["weight"], latents.labels
        if "target_labels" in params:
            assert labels is not None
            others = params["target_labels"]
            labels = lerp(soft_labels(labels, others.shape[1]), others, weight)
        return latents.moved(self._move(latents.z, target, weight), labels, params["kept"])

    def is_identity(self) -> bool:
        return self.strength == 0

    @classmethod
    def strengths(cls) -> tuple[Self, Self, Self]:
        return cls(strength=0.25), cls(strength=0.5), cls(strength=1.0)

    def _pick(self, reference: ReferenceSet, latents: Latents, random: SampleRandom) -> Partners:
        return reference.random_samples(latents, random)

    def _move(self, z: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Latents and targets (B, *L), and weights (B,) => moved latents (B, *L)."""
        return lerp(z, target, weight)


@policies.register("interpolate")
class Interpolate(ReferencePolicy):
    """``z + w (target - z)`` with w uniform on [0, strength) (DeVries and Taylor 2017, eq. 2).

    same_class: the reference sample is of the sample's own class, and the label stays. False takes any reference
        sample and mixes the labels with the same weight, as Mixup does for pixels (Zhang et al. 2018); labels become
        float (B,K).
    num_classes: K, needed across classes where neither a fitted reference set nor soft labels tell it.

    >>> Interpolate(strength=0.5, same_class=False, num_classes=10).strength
    0.5
    """

    def __init__(self, strength: float = 1.0, same_class: bool = True, num_classes: int | None = None):
        super().__init__(strength)
        if num_classes is not None:
            check_count(self.name, num_classes=num_classes)
        if not same_class and strength > 1:
            raise InputError(f"policy 'interpolate' across classes takes a strength up to 1, got {strength}")
        self.same_class, self.num_classes = same_class, num_classes

    def _pick(self, reference: ReferenceSet, latents: Latents, random: SampleRandom) -> Partners:
        return reference.random_samples(latents, random, same_class=self.same_class)

    def soft_classes(self, labels: torch.Tensor, reference: ReferenceSet | None) -> int | None:
        if self.same_class:
            return None
        of_reference = None if reference is None else reference.num_classes
        known = labels.shape[1] if labels.ndim == 2 else of_reference if self.num_classes is None else self.num_classes
        if known is None:
            raise InputError(
                "policy 'interpolate' across classes makes soft labels and does not know how many classes there "
                "are; pass num_classes=, or call augment.fit(dataset)"
            )
        return known


@policies.register("extrapolate")
class Extrapolate(ReferencePolicy):
    """``z + w (z - target)`` with w uniform on [0, strength) (DeVries and Taylor 2017, eq. 3).

    >>> Extrapolate(strength=0.5).strength
    0.5
    """

    def __init__(self, strength: float = 0.5):
        super().__init__(strength)

    def _move(self, z: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return lerp(z, target, -weight)


@policies.register("slerp")
class Slerp(ReferencePolicy):
    """Spherical interpolation (Shoemake 1985; White 2016 for latents), weight uniform on [0, strength).

    >>> Slerp(strength=0.5).strength
    0.5
    """

    def _move(self, z: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return slerp(z, target, weight)


@policies.register("smote")
class Smote(ReferencePolicy):
    """Towards one of the nearest neighbours: Chawla et al. 2002 on latents, as in DeepSMOTE (Dablain et al. 2021).

    k: how many nearest neighbours of the class to choose from; classes with fewer use what they have.

    >>> Smote(k=3).k
    3
    """

    def __init__(self, k: int = 5, strength: float = 1.0):
        super().__init__(strength)
        check_count(self.name, k=k)
        self.k = k

    def _pick(self, reference: ReferenceSet, latents: Latents, random: SampleRandom) -> Partners:
        return reference.neighbours(latents, random, self.k)
