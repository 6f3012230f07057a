"""The hinge loss: images that the discriminator classifies correctly by a margin do not change it."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ._base import GANLoss, register_loss


@register_loss("hinge")
class Hinge(GANLoss):
    """Hinge loss (Lim and Ye 2017), commonly used with spectral norm (Miyato et al. 2018).

    >>> float(Hinge().discriminator(torch.zeros(4), torch.zeros(4)))
    2.0
    """

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        return -fake_logits.mean()

    def discriminator(self, real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
        return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()
