"""Base class of the two augmentations in latent space."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..._internal.random import SampleRandom
from ..._internal.registry import describe
from ..._internal.weights import fingerprint
from ...autoencoders import AdaptedAutoencoder
from ...exceptions import InputError
from ...transform import LatentAugment
from ..feed import Feed
from ._base import Augmentation


class InLatents(Augmentation):
    """Base of the augmentations that use a `LatentAugment`."""

    in_latents = True

    def __init__(self, latent_augment: LatentAugment | None = None):
        if latent_augment is None:
            raise InputError(f"augmentation {self.name!r} needs latent_augment=LatentAugment(...)")
        if latent_augment.policy.soft_classes(torch.zeros(1, 2), None) is not None:
            raise InputError(
                f"policy {latent_augment.policy} mixes classes, which a GAN does not support; choose one that keeps "
                "the class"
            )
        self.latent_augment = latent_augment

    def prepare(self, feed: Feed) -> None:
        augment = self.latent_augment.to(feed.device)
        if augment.needs_fit:
            augment.fit(feed.samples())
        batch = feed.batch(0)
        labels = None if batch.labels is None else batch.labels[:1]
        augment.perturb(batch.images[:1], labels, SampleRandom(np.zeros(1, np.uint64), augment.device))

    def settings(self) -> dict[str, Any]:
        augment, model = self.latent_augment, self.latent_augment.autoencoder
        return {
            **super().settings(),
            "autoencoder": model.name if isinstance(model, AdaptedAutoencoder) else describe(model),
            "autoencoder_sha256": fingerprint(model.state_dict()),
            "policy": str(augment.policy),
            "residual": augment.residual,
            "gate": None if augment.gate is None else f"{augment.gate} of {augment.gate.judges}",
            "reference": None if augment.reference is None else fingerprint({"z": augment.reference.z}),
        }
