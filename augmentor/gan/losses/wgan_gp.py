"""The Wasserstein loss with a gradient penalty."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ...exceptions import InputError
from ...latents import lerp
from ._base import GANLoss, register_loss


@register_loss("wgan_gp")
class WassersteinGP(GANLoss):
    """Wasserstein loss with gradient penalty (Gulrajani et al. 2017).

    The penalty pulls the norm of the critic's gradient to 1 between real and generated samples. weight: weight of the
    penalty; 10 in the paper.

    >>> float(WassersteinGP().discriminator(torch.tensor([3.0]), torch.tensor([1.0])))
    -2.0
    """

    signs_tell = False  # only differences of logits have a meaning
    r1_gamma = 0.0  # the gradient penalty pulls the norm to 1, and R1 pulls it to 0

    def __init__(self, weight: float = 10.0):
        if not (math.isfinite(weight) and weight > 0):
            raise InputError(f"gan loss 'wgan_gp' takes a finite weight > 0, got {weight!r}")
        self.weight = weight

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        return -fake_logits.mean()

    def discriminator(self, real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
        return fake_logits.mean() - real_logits.mean()

    def penalty(
        self,
        discriminator: Callable[[torch.Tensor], torch.Tensor],
        real: torch.Tensor,
        fake: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return ``weight * E (|grad| - 1)^2`` at random points between rows i of `real` and `fake`.

        If the batches differ in size, the extra rows of the larger one are not used.
        """
        rows = min(len(real), len(fake))
        share = torch.rand(rows, generator=generator, device=real.device)
        between = lerp(real[:rows].detach(), fake[:rows].detach(), share).requires_grad_(True)
        (gradient,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
        return self.weight * (gradient.flatten(1).norm(dim=1) - 1).square().mean()
