"""What data sets, loaders and shards need of a `LatentAugment`. They know nothing else of it."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch

from .._internal.random import Integers, SampleRandom
from ..latents import Posterior, ReferenceSet
from ..policies import LatentPolicy
from ..quality import QualityGate
from .base import Autoencoder
from .inference import Inference, InferencePlan


class PerturbedLatents(NamedTuple):
    """Raw latents (B, *L), their labels, their weights by the gate (B,) or None.

    sources: the images they were made from; where latents were known and nobody looks at an image (`needs_images`),
    maybe none of them, though of their shape. source_z: their standard latents (B, *L).
    """

    raw: torch.Tensor
    labels: torch.Tensor | None
    weights: torch.Tensor | None
    sources: torch.Tensor
    source_z: torch.Tensor


class Perturbed(NamedTuple):
    """Float images (B,C,H,W), labels int64 (B,), float (B,K) or None, and weights float (B,) or None without a gate."""

    images: torch.Tensor
    labels: torch.Tensor | None
    weights: torch.Tensor | None


class Augmenter(Protocol):
    """Makes synthetic samples of real ones. `LatentAugment` says what each of these is."""

    autoencoder: Autoencoder
    policy: LatentPolicy
    gate: QualityGate | None
    reference: ReferenceSet | None
    residual: float
    inference: Inference
    mixing: Any

    @property
    def device(self) -> torch.device: ...

    @property
    def plan(self) -> InferencePlan: ...

    @property
    def needs_fit(self) -> bool: ...

    @property
    def needs_images(self) -> bool: ...

    def to(self, device: torch.device | str) -> Any: ...

    def choose_for(self, images: torch.Tensor) -> None: ...

    def fit(self, data: Any) -> Any: ...

    def soften(self, labels: torch.Tensor | None) -> torch.Tensor | None: ...

    def synthesize(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None = None,
        *,
        indices: Integers | None = None,
        draw_index: Integers = 0,
        seed: int | None = None,
        epoch: int | None = None,
        raw: Posterior | None = None,
    ) -> Any: ...

    def perturb(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None,
        random: SampleRandom,
        rows: torch.Tensor | None = None,
        raw: Posterior | None = None,
    ) -> Perturbed: ...

    def perturb_latents(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None,
        random: SampleRandom,
        rows: torch.Tensor | None = None,
        raw: Posterior | None = None,
    ) -> PerturbedLatents: ...
