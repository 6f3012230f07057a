"""The contract of a GAN loss: pure functions of logits, and a penalty where the loss asks for one.

Logits are those of a discriminator, higher for real. Real and fake batches may differ in size: the real one
may hold decoded samples as well. A loss has no optimiser and chooses no network; a trainer never asks which
loss it has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch

from ..._internal.registry import build, describe, register

LOSSES: dict[str, type[GANLoss]] = {}


def register_loss(name: str) -> Callable[[type], type]:
    """Class decorator that adds a `GANLoss` to `LOSSES`; `ValueError` if the name is taken."""
    return register("gan loss", LOSSES, name)


class GANLoss:
    """Base of all GAN losses; a member stores its constructor's arguments under their own names.

    >>> loss = get_loss("hinge")
    >>> float(loss.discriminator(torch.tensor([2.0]), torch.tensor([-2.0])))
    0.0
    """

    name: ClassVar[str]
    signs_tell: ClassVar[bool] = True  # whether a logit says what it was taken for: real above `undecided`
    undecided: ClassVar[float] = 0.0  # the logit of what may as well be real as generated
    r1_gamma: ClassVar[float] = 1.0  # the R1 weight that goes with the loss, unless the trainer is told another

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """Logits (B,) of generated images => scalar that the generator minimises."""
        raise NotImplementedError

    def discriminator(self, real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
        """Logits (B,) of real and (B',) of generated images => scalar that the discriminator minimises."""
        raise NotImplementedError

    def signs(self, logits: torch.Tensor) -> torch.Tensor:
        """Mean sign of logits (B,), detached: 1 where all were taken for real, -1 where none was."""
        return (logits.detach() - self.undecided).sign().mean()

    def penalty(
        self,
        discriminator: Callable[[torch.Tensor], torch.Tensor],
        real: torch.Tensor,
        fake: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Scalar to add to the discriminator's loss, already weighted; 0 where the loss has none.

        discriminator: images => logits. real (B, ...) and fake (B', ...): samples. generator: the only source
        of random numbers, on the device of the samples.
        """
        return real.new_zeros(())

    @classmethod
    def example(cls) -> GANLoss:
        """A usual instance, for tests, benchmarks and documentation."""
        return cls()

    def __str__(self) -> str:
        return describe(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({describe(self)})"


def get_loss(spec: str | GANLoss) -> GANLoss:
    """The loss that a text such as ``"wgan_gp(weight=5)"`` describes; a loss is returned as it is.

    >>> str(get_loss("wgan_gp"))
    'wgan_gp(weight=10.0)'
    """
    return build("gan loss", LOSSES, spec) if isinstance(spec, str) else spec
