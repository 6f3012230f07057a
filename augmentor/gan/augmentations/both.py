"""The augmentation "both": the same differentiable transform in latent space on real and generated images."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from ..._internal.random import SampleRandom
from ...exceptions import AugmentorWarning, InputError, ReferenceSetError
from ...latents import Latents
from ...transform import LatentAugment
from ..feed import Batch, Feed
from ._base import augmentations
from ._latent import InLatents
from ._probability import FixedP, get_probability


@augmentations.register("both")
class AugmentBoth(InLatents):
    """Encode, perturb and decode each image, real or generated, with probability `p`.

    With a residual below 1, the discriminator does not see the detail that the autoencoder loses. With a residual of 1,
    pixels outside [0, 1] are clipped and have no gradient.

    p: a number, ``"adaptive"`` or ``"adaptive(images=50000)"``; None: `p` of the transform. Raises `InputError` for a
    transform with a gate, which rejects generated images more often than real ones and so reveals which are real.
    """

    takes = frozenset({"p"})

    def __init__(self, latent_augment: LatentAugment | None = None, p: float | str | FixedP | None = None):
        super().__init__(latent_augment)
        if self.latent_augment.gate is not None:
            raise InputError(
                "a gate rejects generated images more often than real ones, so the discriminator could recognise "
                "generated images by this difference; leave the gate out, or use augmentation 'real' (--augment real)"
            )
        self.p: FixedP = get_probability(self.latent_augment.p if p is None else p)
        if self.p.value == 0 and not self.p.watches and p is not None:
            warnings.warn("augmentation 'both' with p=0 changes nothing", AugmentorWarning, stacklevel=2)

    def prepare(self, feed: Feed) -> None:
        super().prepare(feed)
        augment, reference = self.latent_augment, self.latent_augment.reference
        if reference is None:
            return
        # One real image per label. A real image without a partner is kept unchanged, but a generated one never is.
        labels = reference.given_labels
        rows = torch.from_numpy(np.unique(reference.labels.cpu().numpy(), return_index=True)[1]).to(reference.z.device)
        z = reference.z[rows]
        ones = Latents(z, torch.zeros_like(z), None if labels is None else labels[rows])
        kept = augment.policy(ones, SampleRandom(np.zeros(len(rows), np.uint64), augment.device), reference).kept
        if kept is not None and bool(kept.any()):
            raise ReferenceSetError(
                f"policy {augment.policy} finds no partner for the only image of a class and keeps it unchanged, but "
                "changes generated ones, so the discriminator could recognise generated images by this difference; "
                "leave the class out, or use gaussian"
            )

    def real(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self._replaced(batch), batch.labels

    def fake(self, batch: Batch) -> torch.Tensor:
        return self._replaced(batch)

    def _replaced(self, batch: Batch) -> torch.Tensor:
        random = SampleRandom(batch.keys, self.latent_augment.device)
        return self.latent_augment.replace(batch.images, batch.labels, random, p=self.p.value)[0]
