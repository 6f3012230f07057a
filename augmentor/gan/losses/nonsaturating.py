"""The cross-entropy of the original GAN, with the non-saturating loss of the generator."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ._base import GANLoss, register_loss


@register_loss("nonsaturating")
class NonSaturating(GANLoss):
    """Non-saturating loss (Goodfellow et al. 2014, section 3): the generator maximises ``log D(fake)``.

    >>> round(float(NonSaturating().generator(torch.zeros(4))), 4)  # log 2
    0.6931
    """

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        return F.softplus(-fake_logits).mean()

    def discriminator(self, real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
        return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
