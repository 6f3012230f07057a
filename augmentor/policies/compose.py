"""Policies that combine other policies: all in sequence, or a random one of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch

from .._internal.random import SampleRandom
from ..exceptions import InputError
from ..latents import Latents, ReferenceSet, soft_labels
from ._base import LatentPolicy, Params, get_policy, policies


class _Several(LatentPolicy):
    """Base class of policies that contain other policies."""

    def __init__(self, *policies: LatentPolicy | str):
        if not policies:
            raise InputError(f"policy {self.name!r} takes at least one policy, got none")
        self.policies = [get_policy(policy) for policy in policies]
        self.needs_reference = any(policy.needs_reference for policy in self.policies)
        self.needs_labels = any(policy.needs_labels for policy in self.policies)
        self.keeps_geometry = all(policy.keeps_geometry for policy in self.policies)

    def check_autoencoder(self, autoencoder: Any) -> None:
        for policy in self.policies:
            policy.check_autoencoder(autoencoder)

    def fit(self, reference: ReferenceSet) -> None:
        for policy in self.policies:
            policy.fit(reference)

    def tensors(self) -> dict[str, torch.Tensor]:
        parts = enumerate(self.policies)
        return {f"{n}.{name}": tensor for n, policy in parts for name, tensor in policy.tensors().items()}

    def models(self) -> list[str]:
        return [model for policy in self.policies for model in policy.models()]

    def soft_classes(self, labels: torch.Tensor, reference: ReferenceSet | None) -> int | None:
        counts = [policy.soft_classes(labels, reference) for policy in self.policies]
        return next((count for count in counts if count is not None), None)

    def is_identity(self) -> bool:
        return all(policy.is_identity() for policy in self.policies)

    @classmethod
    def example(cls) -> LatentPolicy:
        return cls("gaussian(std=0.3)", "interpolate(strength=0.5)")

    @classmethod
    def strengths(cls) -> tuple[LatentPolicy, LatentPolicy, LatentPolicy]:
        mild, usual, strong = (cls(f"gaussian(std={s})", f"interpolate(strength={2 * s})") for s in (0.15, 0.3, 0.5))
        return mild, usual, strong


@policies.register("compose")
class Compose(_Several):
    """Policy that applies several policies in sequence: each policy to the output of the previous one.

    policies: policies, or the strings that describe them, at least one. Raises `InputError` without policies.

    >>> str(Compose("gaussian(std=0.3)", "smote"))
    'compose(gaussian(std=0.3), smote(k=5, strength=1.0))'
    """

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        params: Params = {}
        for number, policy in enumerate(self.policies):
            params[str(number)] = policy.draw(latents, random, reference)
            latents = policy.apply(latents, params[str(number)])
        return params

    def apply(self, latents: Latents, params: Params) -> Latents:
        for number, policy in enumerate(self.policies):
            latents = policy.apply(latents, params[str(number)])
        return latents


@policies.register("one_of")
class OneOf(_Several):
    """Policy that applies one of several policies to each sample, chosen at random.

    policies: policies, or the strings that describe them, at least one. weights: one finite weight per policy, at least
        0 and not all 0; probabilities are proportional to them. Default: equal probabilities. Raises `InputError` for
        other values.

    >>> str(OneOf("gaussian(std=0.3)", "extrapolate(strength=0.5)", weights=[3, 1]))
    'one_of(gaussian(std=0.3), extrapolate(strength=0.5), weights=[3, 1])'
    """

    def __init__(self, *policies: LatentPolicy | str, weights: Sequence[float] | None = None):
        super().__init__(*policies)
        if weights is not None and not (
            len(weights) == len(policies) and min(weights) >= 0 and 0 < sum(weights) < math.inf
        ):
            raise InputError(
                f"policy 'one_of' takes one finite weight >= 0 per policy, not all 0; "
                f"got {list(weights)} for {len(policies)} policies"
            )
        self.weights = None if weights is None else list(weights)

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        weights = self.weights or [1.0] * len(self.policies)
        uniform = random.uniform()
        bounds = [bound / sum(weights) for bound in itertools.accumulate(weights)][:-1]
        choice = sum(((uniform >= bound).long() for bound in bounds), torch.zeros_like(uniform, dtype=torch.int64))
        drawn = {str(n): policy.draw(latents, random, reference) for n, policy in enumerate(self.policies)}
        return {"choice": choice, **drawn}

    def apply(self, latents: Latents, params: Params) -> Latents:
        results = [policy.apply(latents, params[str(n)]) for n, policy in enumerate(self.policies)]
        choice = params["choice"]
        kept = [torch.zeros_like(choice, dtype=torch.bool) if r.kept is None else r.kept for r in results]
        return latents.moved(
            _choose([result.z for result in results], choice),
            _choose_labels([result.labels for result in results], choice),
            None if all(result.kept is None for result in results) else _choose(kept, choice),
        )


def _choose(options: list[torch.Tensor], choice: torch.Tensor) -> torch.Tensor:
    return torch.stack(options, 1)[torch.arange(len(choice), device=choice.device), choice]


def _choose_labels(options: list[torch.Tensor | None], choice: torch.Tensor) -> torch.Tensor | None:
    present = [labels for labels in options if labels is not None]
    if not present:
        return None
    soft = next((labels.shape[1] for labels in present if labels.ndim == 2), None)
    if soft is None:
        return present[0]  # no policy changed the labels
    return _choose([soft_labels(labels, soft) for labels in present], choice)
