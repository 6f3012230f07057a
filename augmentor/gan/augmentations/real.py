"""The augmentation "real": decoded samples are added to the real ones; the generator learns their blur too."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch

from ..._internal.random import SampleRandom, sample_keys
from ..._internal.transfer import sent
from ...exceptions import AugmentorWarning, InputError
from ...transform import LatentAugment
from ..feed import Batch
from ._base import augmentations
from ._latent import InLatents


@augmentations.register("real")
class AugmentReal(InLatents):
    """Add `ratio` decoded samples per real one, spread evenly over the positions of a batch.

    latent_augment: makes the samples. ratio: number of decoded samples per real one, at least 0. Raises `InputError`
    for other values.

    A gate of the `LatentAugment` with action "redraw" can be used. If it rejects all draws of a sample, the real image
    is used instead.
    """

    adds = True
    takes = frozenset({"ratio"})

    def __init__(self, latent_augment: LatentAugment | None = None, ratio: float = 1.0):
        super().__init__(latent_augment)
        self.latent_augment.check_synthesis("augmentation 'real'")
        if not 0 <= ratio < math.inf:
            raise InputError(f"ratio, the number of decoded samples per real one, must be >= 0 and finite; got {ratio}")
        if self.latent_augment.gate is not None and self.latent_augment.gate.action == "weigh":
            raise InputError("a GAN does not use the weights of a gate with action='weigh'; use action='redraw'")
        if ratio == 0:
            warnings.warn("augmentation 'real' with ratio=0 adds no decoded samples", AugmentorWarning, stacklevel=2)
        self.ratio = ratio

    def real(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        # By the position in the whole batch, so that the result does not depend on the number of processes.
        up_to = np.floor(self.ratio * np.asarray([*batch.places, batch.places[-1] + 1]) + 1e-9).astype(np.int64)
        counts = np.diff(up_to)
        rows = np.repeat(np.arange(len(batch.keys)), counts)
        # Copies of the same sample within a batch get different noise.
        copies = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        keys = sample_keys(0, 0, batch.keys[rows].view(np.int64), copies)
        source = sent(torch.from_numpy(rows), batch.images.device)
        labels = None if batch.labels is None else batch.labels[source]
        if len(rows) == 0:
            return batch.images, batch.labels
        random = SampleRandom(keys, self.latent_augment.device)
        made = self.latent_augment.perturb(batch.images[source], labels, random).images
        images = torch.cat([batch.images, made.to(batch.images)])
        return images, None if labels is None else torch.cat([batch.labels, labels])  # type: ignore[list-item]

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "ratio": self.ratio}
