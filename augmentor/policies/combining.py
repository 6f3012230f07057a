"""Policies that move a sample along a path towards a reference sample, or away from it."""

from __future__ import annotations

from typing import Self

import torch

from .._internal.random import SampleRandom
from ..exceptions import InputError
from ..latents import Latents, Partners, ReferenceSet, lerp, slerp, soft_labels
from ._base import LatentPolicy, Params, check_count, check_strength, policies, reference_or_batch


class ReferencePolicy(LatentPolicy):
    """Base class of policies that move a sample towards a reference sample of its class.

    The weight is uniform on [0, strength). A sample that has no reference sample is kept. A subclass overrides `_pick`,
    which selects the reference sample, or `_move`, which defines the path.
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
        """Move latents (B, *L) towards targets (B, *L) by weights (B,)."""
        return lerp(z, target, weight)


@policies.register("interpolate")
class Interpolate(ReferencePolicy):
    """Policy that interpolates linearly towards a reference sample: ``z + w (target - z)``, with w uniform on
    [0, strength) (DeVries and Taylor 2017, eq. 2).

    strength: upper limit of the weight w, at least 0, and at most 1 with ``same_class=False``.
    same_class: if True, the reference sample is of the same class, and the label does not change. If False, it is of
        any class, and the labels are mixed with the same weight, as in Mixup (Zhang et al. 2018), to float (B,K).
    num_classes: K, for ``same_class=False``. Default: that of soft labels or of the fitted reference set.

    Raises `InputError` for other values.

    >>> Interpolate(strength=0.5, same_class=False, num_classes=10).strength
    0.5
    """

    def __init__(self, strength: float = 1.0, same_class: bool = True, num_classes: int | None = None):
        super().__init__(strength)
        if num_classes is not None:
            check_count(self.name, num_classes=num_classes)
        if not same_class and strength > 1:
            raise InputError(f"policy 'interpolate' with same_class=False takes a strength up to 1, got {strength}")
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
                "policy 'interpolate' with same_class=False makes soft labels and needs the number of classes; "
                "pass num_classes=, or call augment.fit(dataset)"
            )
        return known


@policies.register("extrapolate")
class Extrapolate(ReferencePolicy):
    """Policy that extrapolates linearly away from a reference sample of the class: ``z + w (z - target)``, with w
    uniform on [0, strength) (DeVries and Taylor 2017, eq. 3).

    strength: upper limit of the weight w, at least 0. Raises `InputError` for other values.

    >>> Extrapolate(strength=0.5).strength
    0.5
    """

    def __init__(self, strength: float = 0.5):
        super().__init__(strength)

    def _move(self, z: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return lerp(z, target, -weight)


@policies.register("slerp")
class Slerp(ReferencePolicy):
    """Policy that interpolates spherically towards a reference sample of the class, with a weight uniform on
    [0, strength) (Shoemake 1985; White 2016 for latents).

    strength: upper limit of the weight, at least 0. Raises `InputError` for other values.

    >>> Slerp(strength=0.5).strength
    0.5
    """

    def _move(self, z: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return slerp(z, target, weight)


@policies.register("smote")
class Smote(ReferencePolicy):
    """Policy that interpolates linearly towards one of the k nearest reference samples of the class, chosen at random,
    as in SMOTE (Chawla et al. 2002) and, for latents, DeepSMOTE (Dablain et al. 2021).

    k: number of nearest neighbours to choose from, at least 1. Classes with fewer samples use all of them. strength:
        upper limit of the weight, which is uniform on [0, strength), at least 0. Raises `InputError` for other values.

    >>> Smote(k=3).k
    3
    """

    def __init__(self, k: int = 5, strength: float = 1.0):
        super().__init__(strength)
        check_count(self.name, k=k)
        self.k = k

    def _pick(self, reference: ReferenceSet, latents: Latents, random: SampleRandom) -> Partners:
        return reference.neighbours(latents, random, self.k)
