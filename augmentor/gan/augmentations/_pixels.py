"""What the augmentations of pixels share: alike on both sides, on images in [-1, 1], with kornia's warp."""

from __future__ import annotations

from typing import Any

import torch

from ..._internal.random import SampleRandom
from ...autoencoders.inference import in_float32
from ...exceptions import InputError
from ..feed import Batch, Feed
from ._base import Augmentation


class OfPixels(Augmentation):
    """Base of those that change pixels. A member implements `_apply`."""

    def prepare(self, feed: Feed) -> None:
        kornia_transform()

    def real(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.fake(batch), batch.labels

    def fake(self, batch: Batch) -> torch.Tensor:
        # In [-1, 1], where the papers work: what is cut out or moved in is grey. Nothing is clipped.
        with in_float32(batch.images.device):  # positions of pixels would be off by a third of one
            made = self._apply(2 * batch.images.float() - 1, SampleRandom(batch.keys, batch.images.device))
        return 0.5 * (made + 1)

    def _apply(self, images: torch.Tensor, random: SampleRandom) -> torch.Tensor:
        """Images (B,C,H,W) in [-1, 1] => such images, differentiable."""
        raise NotImplementedError


def kornia_transform() -> Any:
    """kornia's geometric functions, which take all their parameters as arguments."""
    try:
        import kornia.geometry.transform as transform  # imported when used: 1.3 seconds
    except ImportError as error:
        raise InputError(
            "augmentations of pixels take kornia; pip install 'latent-augmentor[kornia]', or choose 'both' or 'real'"
        ) from error
    return transform
