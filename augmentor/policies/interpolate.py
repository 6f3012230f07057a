"""Between a sample and another one: of its class, or of any class with soft labels."""

from __future__ import annotations

import torch

from .._internal.random import SampleRandom
from ..exceptions import InputError
from ..latents import Latents, ReferenceSet, lerp, soft_labels
from ._base import Params, policies, reference_or_batch
from ._reference import ReferencePolicy


@policies.register("interpolate")
class Interpolate(ReferencePolicy):
    """``z + w (target - z)`` with w uniform on [0, strength) (DeVries and Taylor 2017, eq. 2).

    same_class: reference samples of the sample's own class, whose label stays. False takes any reference sample and mixes the labels
    with the same weight, as Mixup does for pixels (Zhang et al. 2018); labels become float (B,K).
    num_classes: K, needed across classes where neither a fitted reference set nor soft labels tell it.

    >>> Interpolate(strength=0.5, same_class=False, num_classes=10).strength
    0.5
    """

    def __init__(self, strength: float = 1.0, same_class: bool = True, num_classes: int | None = None):
        super().__init__(strength)
        if num_classes is not None and (not isinstance(num_classes, int) or num_classes < 1):
            raise InputError(f"policy 'interpolate' takes a whole number num_classes >= 1, got {num_classes!r}")
        if not same_class and strength > 1:
            raise InputError(f"policy 'interpolate' across classes takes a strength up to 1, got {strength}")
        self.same_class, self.num_classes = same_class, num_classes

    @classmethod
    def strengths(cls) -> tuple[Interpolate, Interpolate, Interpolate]:
        return cls(0.25), cls(0.5), cls(1.0)

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        reference = reference_or_batch(latents, reference)
        target, classes = reference.random_samples(latents, random, same_class=self.same_class)
        params = {"target": target, "weight": self.strength * random.uniform()}
        count = None if latents.labels is None else self.soft_classes(latents.labels, reference)
        if count is not None:
            params["partner_labels"] = soft_labels(classes, count)
        return params

    def apply(self, latents: Latents, params: Params) -> Latents:
        moved = super().apply(latents, params)
        if "partner_labels" not in params:
            return moved
        assert latents.labels is not None
        target = params["partner_labels"]
        labels = lerp(soft_labels(latents.labels, target.shape[1]), target, params["weight"])
        return Latents(moved.z, moved.posterior_std, labels)

    def fit(self, reference: ReferenceSet) -> None:
        if self.same_class:
            super().fit(reference)

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

    def _move(self, z: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return lerp(z, target, weight)
