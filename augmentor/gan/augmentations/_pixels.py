"""Base class of the augmentations of pixels, which apply the same operation to real and to generated images."""

from __future__ import annotations

from typing import Any

import torch

from ..._internal.random import SampleRandom
from ...autoencoders.inference import in_float32
from ...exceptions import InputError
from ..feed import Batch, Feed
from ._base import Augmentation


class OfPixels(Augmentation):
    """Base of the augmentations of pixels. A member implements `_apply`."""

    def prepare(self, feed: Feed) -> None:
        kornia_transform()

    def real(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.fake(batch), batch.labels

    def fake(self, batch: Batch) -> torch.Tensor:
        # In [-1, 1], as in the papers: 0, for regions cut out or shifted in, is grey. Values are not clipped.
        with in_float32(batch.images.device):  # lower precision moves pixels by up to a third of a pixel
            made = self._apply(2 * batch.images.float() - 1, SampleRandom(batch.keys, batch.images.device))
        return 0.5 * (made + 1)

    def _apply(self, images: torch.Tensor, random: SampleRandom) -> torch.Tensor:
        """Return the augmented images: (B,C,H,W) in [-1, 1] => the same shape, differentiable."""
        raise NotImplementedError


def kornia_transform() -> Any:
    """Return the module of kornia's geometric functions, which take all their parameters as arguments."""
    try:
        import kornia.geometry.transform as transform  # imported on use, because it takes 1.3 s
    except ImportError as error:
        raise InputError(
            "augmentations of pixels need kornia: pip install 'latent-augmentor[kornia]', or choose 'both' or 'real'"
        ) from error
    return transform
