"""The interface of a GAN loss: pure functions of logits, and for some losses a penalty.

Logits are those of a discriminator, higher for real images. Real and fake batches can differ in size, because decoded
samples can be added to the real ones. A loss does not depend on the optimiser or the network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch

from ..._internal.registry import build, describe, register
from ...exceptions import InputError

LOSSES: dict[str, type[GANLoss]] = {}


def register_loss(name: str) -> Callable[[type], type]:
    """Return a class decorator that adds a `GANLoss` to `LOSSES`; it raises `ValueError` if the name is taken."""
    return register("gan loss", LOSSES, name)


class GANLoss:
    """Base of all GAN losses. A member stores the arguments of its constructor under their names.

    >>> loss = get_loss("hinge")
    >>> float(loss.discriminator(torch.tensor([2.0]), torch.tensor([-2.0])))
    0.0
    """

    name: ClassVar[str]
    signs_tell: ClassVar[bool] = True  # whether a logit above `undecided` means "real", and one below "generated"
    undecided: ClassVar[float] = 0.0  # the logit at which "real" and "generated" are equally likely
    r1_gamma: ClassVar[float] = 1.0  # the default R1 weight with this loss

    def generator(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """Return the scalar that the generator minimises, from the logits (B,) of generated images."""
        raise NotImplementedError

    def discriminator(self, real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
        """Return the scalar that the discriminator minimises, from logits of real (B,) and generated (B',) images."""
        raise NotImplementedError

    def signs(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the mean sign of logits (B,), detached: 1 if all are classified as real, -1 if none is."""
        return (logits.detach() - self.undecided).sign().mean()

    def penalty(
        self,
        discriminator: Callable[[torch.Tensor], torch.Tensor],
        real: torch.Tensor,
        fake: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return the weighted penalty to add to the discriminator's loss, a scalar; 0 if the loss has none.

        discriminator: images => logits. real, fake: samples (B, ...) and (B', ...). generator: source of random
        numbers, on the device of the samples.
        """
        return real.new_zeros(())

    @classmethod
    def example(cls) -> GANLoss:
        """Return an instance with usual settings, for tests, benchmarks and documentation."""
        return cls()

    def __str__(self) -> str:
        return describe(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({describe(self)})"


def get_loss(spec: str | GANLoss) -> GANLoss:
    """Return the loss for a string such as ``"wgan_gp(weight=5)"``; a `GANLoss` is returned unchanged.

    Raises `InputError` for other types.

    >>> str(get_loss("wgan_gp"))
    'wgan_gp(weight=10.0)'
    """
    if isinstance(spec, str):
        return build("gan loss", LOSSES, spec)
    if not isinstance(spec, GANLoss):
        raise InputError(f"loss must be a string such as 'hinge', or a GANLoss, got {spec!r:.60}")
    return spec
