"""What becomes of a GAN's batches before the discriminator sees them.

none   nothing
real   decoded samples join the real ones; the generator learns to make them too, their blur included
both   the same differentiable encode-perturb-decode on real and generated images, in the discriminator's and in
       the generator's step, so that what it does to images does not leak into what the generator learns
       (Zhao et al. 2020; Karras et al. 2020)
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
import torch

from .._random import SampleRandom, fold, sample_keys
from .._registry import Registry
from ..transform import LatentAugment

gan_augmentations: Registry[GANAugmentation] = Registry("gan augmentation")


class Batch(NamedTuple):
    """Images (B,C,H,W), class numbers (B,) or None, and one random sequence an image."""

    images: torch.Tensor
    labels: torch.Tensor | None
    keys: np.ndarray


class GANAugmentation:
    """Base: `real` and `fake` turn a batch into what the discriminator sees; gradients flow through `fake`."""

    name: ClassVar[str]
    needs_augment: ClassVar[bool] = True

    def __init__(self, augment: LatentAugment | None = None, ratio: float = 1.0):
        self._augment, self.ratio = augment, ratio

    @property
    def augment(self) -> LatentAugment:
        """The transform; present in every member that needs it."""
        assert self._augment is not None
        return self._augment

    def real(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Real images as the discriminator sees them, and their labels; there may be more than came."""
        return batch.images, batch.labels

    def fake(self, batch: Batch) -> torch.Tensor:
        """Generated images as the discriminator sees them, as many as came."""
        return batch.images


@gan_augmentations.register("none")
class NoAugmentation(GANAugmentation):
    """Images as they are."""

    needs_augment = False


@gan_augmentations.register("real")
class AugmentReal(GANAugmentation):
    """`ratio` decoded samples for each real one."""

    def real(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        rows = np.arange(round(self.ratio * len(batch.images)))
        source = torch.from_numpy(rows % len(batch.images)).to(batch.images.device)
        # A second copy of the same sample within a batch gets noise of its own.
        keys = sample_keys(0, 0, batch.keys[rows % len(batch.images)].view(np.int64), rows // len(batch.images))
        labels = None if batch.labels is None else batch.labels[source]
        made, _, _ = self.augment.perturb(batch.images[source], labels, SampleRandom(keys, self.augment.device))
        images = torch.cat([batch.images, made.to(batch.images)])
        return images, None if labels is None else torch.cat([batch.labels, labels])  # type: ignore[list-item]


@gan_augmentations.register("both")
class AugmentBoth(GANAugmentation):
    """The transform, with its probability `p`, on every image."""

    def real(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self._replaced(batch), batch.labels

    def fake(self, batch: Batch) -> torch.Tensor:
        return self._replaced(batch)

    def _replaced(self, batch: Batch) -> torch.Tensor:
        images, _ = self.augment.replace(batch.images, batch.labels, SampleRandom(batch.keys, self.augment.device))
        return images


def batch_keys(seed: int, purpose: str, step: int, indices: np.ndarray) -> np.ndarray:
    """One key an image, for one purpose within one step."""
    return sample_keys(fold(seed, purpose), step, indices)
