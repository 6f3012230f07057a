"""The plain training method: a generator against a discriminator."""

from __future__ import annotations

from ..augmentations import Augmentation
from ..losses import GANLoss
from ..networks import Discriminator, Generator
from ._adversarial import AdversarialMethod, network_pair
from ._base import methods


@methods.register("gan")
class GAN(AdversarialMethod):
    """Goodfellow et al. 2014, with any loss, and augmentation of real images or of real and generated ones.

    network: a text such as ``"dcgan(width=48)"``, or a generator and a discriminator, trained in place; conditional if
        built with `num_classes`. image_shape, num_classes, seed (of the initial weights): for a text.
    loss: a text such as ``"hinge"`` or ``"wgan_gp(weight=5)"``, or a `GANLoss`.
    augmentation: see `get_augmentation`. lr: of Adam, for both networks.
    r1_gamma: weight of the R1 penalty, computed every `r1_every` steps and scaled up by as much; 0 leaves it out. None
        is what goes with the loss: 0 for "wgan_gp", 1 for the others.
    discriminator_steps: for each step of the generator.

    >>> GAN("dcgan(width=8)", image_shape=(1, 8, 8)).generator.image_shape
    (1, 8, 8)
    """

    def __init__(
        self,
        network: str | tuple[Generator, Discriminator] = "dcgan",
        *,
        image_shape: tuple[int, int, int] | None = None,
        num_classes: int = 0,
        loss: str | GANLoss = "nonsaturating",
        augmentation: str | Augmentation = "none",
        lr: float = 2e-4,
        r1_gamma: float | None = None,
        r1_every: int = 4,
        discriminator_steps: int = 1,
        seed: int = 0,
    ):
        generator, discriminator = network_pair(network, image_shape, num_classes, seed)
        super().__init__(
            generator.train().requires_grad_(True),
            discriminator.train().requires_grad_(True),
            loss=loss,
            augmentation=augmentation,
            lr=lr,
            r1_gamma=r1_gamma,
            r1_every=r1_every,
            discriminator_steps=discriminator_steps,
        )
