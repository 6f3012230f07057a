"""The least-squares loss: the targets of the logits are 1 for real and 0 for generated images."""

from __future__ import annotations

import torch

from ._base import GANLoss, register_loss


@register_loss("lsgan")
class LeastSquares(GANLoss):
    """Least-squares loss with targets 0 and 1 (Mao et al. 2017, eq. 9).

    >>> float(LeastSquares().discriminator(torch.ones(4), torch.zeros(4)))
    0.0
    """

    undecided = 0.5

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        return 0.5 * (fake_logits - 1).square().mean()

    def discriminator(self, real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
        return 0.5 * (real_logits - 1).square().mean() + 0.5 * fake_logits.square().mean()
