"""Settings that all GAN training methods share."""

from __future__ import annotations

from dataclasses import dataclass

from ..._internal.checks import check_counts
from ...exceptions import InputError
from ..augmentations import Augmentation
from ..losses import GANLoss


@dataclass(frozen=True, kw_only=True)
class GANSettings:
    """Keyword arguments of every training method, in addition to its own.

    image_shape: (C, H, W) of the images to generate, for networks that are described by a string.
    num_classes: number of classes of these networks; 0 is unconditional. seed: seed of the initial weights.
    loss: a string such as ``"hinge"`` or ``"wgan_gp(weight=5)"``, or a `GANLoss`.
    augmentation: see `get_augmentation`. lr: learning rate of all networks.
    r1_gamma: weight of the R1 penalty, which is computed every `r1_every` steps and multiplied by `r1_every`; 0
        disables it. None is the default of the loss: 0 for "wgan_gp", 1 for the others.
    discriminator_steps: number of discriminator steps per generator step.

    Raises `InputError` for numbers out of range.

    >>> GANSettings(loss="hinge").lr
    0.0005
    """

    image_shape: tuple[int, int, int] | None = None
    num_classes: int = 0
    loss: str | GANLoss = "nonsaturating"
    augmentation: str | Augmentation = "none"
    lr: float = 5e-4
    r1_gamma: float | None = None
    r1_every: int = 4
    discriminator_steps: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(r1_every=self.r1_every, discriminator_steps=self.discriminator_steps)
        if not self.lr > 0:
            raise InputError(f"lr must be positive, got {self.lr}")
        if self.r1_gamma is not None and not self.r1_gamma >= 0:
            raise InputError(f"r1_gamma must be at least 0, got {self.r1_gamma}")
