"""Base class of the training methods that alternate steps of a discriminator and of a generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..._internal.random import seeded
from ..._internal.registry import build, create, describe
from ...exceptions import InputError, TrainingError
from ..augmentations import get_augmentation
from ..feed import Batch, Feed
from ..losses import get_loss, r1_penalty
from ..networks import DISCRIMINATORS, GENERATORS, Discriminator, Generator
from ._base import TrainingMethod
from ._settings import GANSettings


class AdversarialMethod(TrainingMethod):
    """Base of the training methods with one generator and one discriminator (or critic), each with an Adam optimiser.

    A member can override `seen` and `make` (the real and generated samples that the discriminator compares),
    `generator_losses` (the losses of the generator), `networks` and `prepare`.

    discriminator: samples and class numbers (or None) => logits (B,).

    >>> generator, discriminator = network_pair("dcgan(width=8)", (1, 8, 8), num_classes=0, seed=0)
    >>> AdversarialMethod(generator, discriminator, GANSettings(loss="hinge")).loss.name
    'hinge'
    """

    def __init__(self, generator: Generator, discriminator: nn.Module, settings: GANSettings):
        super().__init__(settings)
        self.generator, self.discriminator = generator, discriminator
        self.loss, self.augmentation = get_loss(settings.loss), get_augmentation(settings.augmentation)
        self.r1_gamma = self.loss.r1_gamma if settings.r1_gamma is None else settings.r1_gamma
        self.r1_every, self.discriminator_steps = settings.r1_every, settings.discriminator_steps
        if self.augmentation.needs_signs and not self.loss.signs_tell:
            raise InputError(
                f"adaptive p follows the signs of logits, which have no meaning with loss {self.loss}; "
                "set p to a number, or to 'annealed'"
            )

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator}

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"generator": self.adam(self.generator), "discriminator": self.adam(self.discriminator)}

    def adam(self, *networks: nn.Module) -> torch.optim.Adam:
        """Return Adam with betas (0, 0.99), as usual for GANs, for the weights that are not frozen."""
        weights = [weight for network in networks for weight in network.parameters() if weight.requires_grad]
        return torch.optim.Adam(weights, lr=self.lr, betas=(0.0, 0.99))

    def prepare(self, feed: Feed) -> None:
        super().prepare(feed)
        self.augmentation.prepare(feed)

    def seen(self, batch: Batch) -> Batch:
        """Return the batch with the real samples for the discriminator in `images`; here the real images."""
        return batch

    def make(self, noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        """Return the generated samples for the discriminator, from noise (B, latent_dim) and class numbers."""
        return self.generator(noise, labels)

    def generator_losses(self, made: torch.Tensor, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """Return named scalars, whose sum the generator minimises; each of them is logged.

        made: generated samples (B, ...) before the augmentation. logits: their logits after it. batch: the real
        samples (see `seen`).
        """
        return {"g_loss": self.loss.generator(logits)}

    def step(self, number: int) -> dict[str, torch.Tensor]:
        for at in range(number * self.discriminator_steps, (number + 1) * self.discriminator_steps):
            batch = self.seen(self.feed.batch(at))
            logs = self.discriminator_step(at, batch)
        logs |= self.generator_step(number, batch)
        return {name: value for name, value in logs.items() if self.loss.signs_tell or not name.endswith("_sign")}

    def discriminator_step(self, number: int, batch: Batch) -> dict[str, torch.Tensor]:
        """Take step `number` of the discriminator, counted over the run. batch: real samples (see `seen`)."""
        feed = self.feed
        with feed.engine.autocast():
            with torch.no_grad():
                made = self.fakes("discriminator", number, batch)
            real, real_labels = self.augmentation.real(batch)
            fake = self.augmentation.fake(feed.made(batch, made, "fake", number))
            logits = self.discriminator(real, real_labels).float()
            loss = self.loss.discriminator(logits, self.discriminator(fake, batch.labels).float())
            critic = self._critic(real_labels)
            loss = loss + self.loss.penalty(critic, real, fake, feed.generator("penalty", number))
            if self.r1_gamma and number % self.r1_every == 0:
                loss = loss + self.r1_gamma * self.r1_every * r1_penalty(critic, real)
        feed.engine.minimise(loss, self.optimizers["discriminator"])
        sign = self.loss.signs(logits)
        if self.augmentation.watches:
            self.augmentation.observe(feed.engine.mean(sign), feed.batch_size)
        return {"d_loss": loss.detach(), "real_sign": sign}

    def generator_step(self, number: int, batch: Batch) -> dict[str, torch.Tensor]:
        """Take step `number` of the generator. batch: the discriminator's last one, whose labels are used."""
        feed = self.feed
        self.discriminator.requires_grad_(False)
        try:
            with feed.engine.autocast():
                made = self.fakes("generator", number, batch)
                fake = self.augmentation.fake(feed.made(batch, made, "generated", number))
                logits = self.discriminator(fake, batch.labels).float()
                losses = self.generator_losses(made, logits, batch)
            feed.engine.minimise(torch.stack(list(losses.values())).sum(), self.optimizers["generator"])
        finally:  # an interrupted run may be continued with this object
            self.discriminator.requires_grad_(True)
        return {name: loss.detach() for name, loss in losses.items()} | {"fake_sign": self.loss.signs(logits)}

    def fakes(self, purpose: str, number: int, batch: Batch) -> torch.Tensor:
        """Return generated samples for the positions of a batch."""
        noise = self.feed.normal(purpose, number, self.generator.latent_dim)
        made = self.make(noise, batch.labels).float()
        # On an accelerator this check would make the host wait; there the losses of the round are checked.
        if made.device.type == "cpu" and not bool(made.isfinite().all()):
            raise TrainingError(
                "the generated images are no longer finite; the last good checkpoint is kept: "
                f"try a lower learning rate than lr={self.lr}"
            )
        return made

    def status(self) -> dict[str, float]:
        return self.augmentation.status()

    def settings(self) -> dict[str, Any]:
        names = ("r1_gamma", "r1_every", "discriminator_steps")
        return {
            **super().settings(),
            "discriminator": describe(self.discriminator),
            "loss": str(self.loss),
            **self.augmentation.settings(),
            **{name: getattr(self, name) for name in names},
        }

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "augmentation": self.augmentation.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.augmentation.load_state_dict(state["augmentation"])

    def _critic(self, labels: torch.Tensor | None) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the discriminator as a function of samples only; n samples get the first n labels."""
        return lambda samples: self.discriminator(samples, None if labels is None else labels[: len(samples)]).float()


def network_pair(
    network: str | tuple[Generator, Discriminator],
    image_shape: tuple[int, int, int] | None,
    num_classes: int,
    seed: int,
    **of_generator: Any,
) -> tuple[Generator, Discriminator]:
    """Return the generator and the discriminator, of the same family and width, that a string describes.

    network: a string such as ``"dcgan(width=48)"``, or a pair of networks, which is checked and returned. seed: seed of
    the initial weights. of_generator: further arguments of the generator; those in the string take precedence.
    """
    if not isinstance(network, str):
        generator, discriminator = network
        if generator.image_shape != discriminator.image_shape or generator.num_classes != discriminator.num_classes:
            raise InputError(
                f"the generator makes images {generator.image_shape} of {generator.num_classes} classes, the "
                f"discriminator takes images {discriminator.image_shape} of {discriminator.num_classes} classes; build "
                "both with the same image_shape and num_classes"
            )
    elif image_shape is None:
        raise InputError(f"network {network!r} is built for one shape of images; give image_shape=(C, H, W)")
    else:
        shared = {"image_shape": image_shape, "num_classes": num_classes}
        with seeded(seed, "init"):
            generator = build("generator", GENERATORS, network, **shared, **of_generator)
            discriminator = create(
                "discriminator", DISCRIMINATORS, generator.name, {**shared, "width": generator.width}
            )
    return generator.train().requires_grad_(True), discriminator.train().requires_grad_(True)
