"""A discriminator and a generator that step in turn, as in most training methods; members override the differences."""

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
    """Base of the training methods with one generator and one discriminator (or critic), each with its Adam.

    A member overrides what it does otherwise: `seen` and `make` (what is told apart), `generator_losses` (what the
    generator minimises besides), `networks` and `prepare`.

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
                f"adaptive p follows the signs of logits, which mean nothing with loss {self.loss}; "
                "give p a number, or 'annealed'"
            )

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator}

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"generator": self.adam(self.generator), "discriminator": self.adam(self.discriminator)}

    def adam(self, *networks: nn.Module) -> torch.optim.Adam:
        """Adam as GANs take it, for the weights that are not frozen."""
        weights = [weight for network in networks for weight in network.parameters() if weight.requires_grad]
        return torch.optim.Adam(weights, lr=self.lr, betas=(0.0, 0.99))

    def prepare(self, feed: Feed) -> None:
        super().prepare(feed)
        self.augmentation.prepare(feed)

    def seen(self, batch: Batch) -> Batch:
        """Real images => the real samples that are told from made ones, in `images`."""
        return batch

    def make(self, noise: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        """Noise (B, latent_dim) and class numbers => samples to be told from real ones; with gradients."""
        return self.generator(noise, labels)

    def generator_losses(self, made: torch.Tensor, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """Named scalars whose sum the generator minimises, each logged.

        made: samples (B, ...) before the augmentation. logits: of them after it. batch: the real ones (see `seen`).
        """
        return {"g_loss": self.loss.generator(logits)}

    def step(self, number: int) -> dict[str, torch.Tensor]:
        for turn in range(self.discriminator_steps):
            logs = self.discriminator_step(number * self.discriminator_steps + turn)
        logs |= self.generator_step(number)
        return {name: value for name, value in logs.items() if self.loss.signs_tell or not name.endswith("_sign")}

    def discriminator_step(self, number: int) -> dict[str, torch.Tensor]:
        """Turn `number` of the discriminator, counted over the run."""
        feed, batch = self.feed, self.seen(self.feed.batch(number))
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

    def generator_step(self, number: int) -> dict[str, torch.Tensor]:
        """Step `number` of the generator; its labels are those of the discriminator's last batch."""
        feed = self.feed
        batch = self.seen(feed.batch((number + 1) * self.discriminator_steps - 1))
        self.discriminator.requires_grad_(False)
        try:
            with feed.engine.autocast():
                made = self.fakes("generator", number, batch)
                fake = self.augmentation.fake(feed.made(batch, made, "generated", number))
                logits = self.discriminator(fake, batch.labels).float()
                losses = self.generator_losses(made, logits, batch)
            feed.engine.minimise(torch.stack(list(losses.values())).sum(), self.optimizers["generator"])
        finally:  # an interrupted run may go on with this training method
            self.discriminator.requires_grad_(True)
        return {name: loss.detach() for name, loss in losses.items()} | {"fake_sign": self.loss.signs(logits)}

    def fakes(self, purpose: str, number: int, batch: Batch) -> torch.Tensor:
        """Made samples in the places of a batch."""
        noise = self.feed.normal(purpose, number, self.generator.latent_dim)
        made = self.make(noise, batch.labels).float()
        # Elsewhere looking would make the host wait; there the losses of the round tell.
        if made.device.type == "cpu" and not bool(made.isfinite().all()):
            raise TrainingError(
                "the generated images are no longer finite; the last good checkpoint is kept: "
                f"try a lower rate than lr={self.lr}"
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
        """The discriminator as a function of samples alone, on as many of the labels as there are samples."""
        return lambda samples: self.discriminator(samples, None if labels is None else labels[: len(samples)]).float()


def network_pair(
    network: str | tuple[Generator, Discriminator],
    image_shape: tuple[int, int, int] | None,
    num_classes: int,
    seed: int,
    **of_generator: Any,
) -> tuple[Generator, Discriminator]:
    """The two networks of a text such as ``"dcgan(width=48)"``, alike in family and width; a pair is checked.

    seed: of the initial weights. of_generator: arguments that the generator gets unless the text gives them.
    """
    if not isinstance(network, str):
        generator, discriminator = network
        if generator.image_shape != discriminator.image_shape or generator.num_classes != discriminator.num_classes:
            raise InputError(
                f"the generator makes {generator.image_shape} images of {generator.num_classes} classes and the "
                f"discriminator takes {discriminator.image_shape} of {discriminator.num_classes}; build them alike"
            )
    elif image_shape is None:
        raise InputError(f"network {network!r} is built for a size of images; give image_shape=(C, H, W)")
    else:
        shared = {"image_shape": image_shape, "num_classes": num_classes}
        with seeded(seed, "init"):
            generator = build("generator", GENERATORS, network, **shared, **of_generator)
            discriminator = create(
                "discriminator", DISCRIMINATORS, generator.name, {**shared, "width": generator.width}
            )
    return generator.train().requires_grad_(True), discriminator.train().requires_grad_(True)
