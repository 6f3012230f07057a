"""The R1 penalty, a regulariser of the discriminator that can be combined with every loss."""

from __future__ import annotations

from collections.abc import Callable

import torch


def r1_penalty(discriminator: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor) -> torch.Tensor:
    """Return ``E |grad D|^2 / 2`` on real samples (Mescheder et al. 2018, eq. 9), to be multiplied by gamma.

    discriminator: samples (B, ...) => logits (B,); each logit must depend on its own row only. real: samples (B, ...).

    >>> float(r1_penalty(lambda x: 3 * x[:, 0], torch.zeros(4, 2)))
    4.5
    """
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(1).mean()
