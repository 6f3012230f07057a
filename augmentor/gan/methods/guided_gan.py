"""The training method "guided-gan": a GAN with losses in the latent space of an autoencoder that is retrained."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..._internal.registry import describe
from ..._internal.weights import fingerprint
from ...autoencoders import Autoencoder
from ...exceptions import InputError
from ...latents import Latents, ReferenceSet
from ...quality import QualityGate
from ..feed import Batch
from ..networks import Discriminator, Generator
from ..networks._decoding import latent_shape_of
from ._adversarial import AdversarialMethod, network_pair
from ._base import methods
from ._codes import frozen, real_latents, real_reference, shape_of, standard_codes
from ._settings import GANSettings

# Lower bound of a variance: below it the gradient of the square root is too large.
_SMALLEST = 1e-8


@methods.register("guided-gan")
class GuidedGAN(AdversarialMethod):
    """GAN whose generator also minimises ``match * (|m - m'|^2 + |s - s'|^2) / D + reconstruct * |x - G(E(x))|^2``.

    m, s and m', s' are mean and standard deviation of the codes of a batch of real and of generated images: feature
    matching (Salimans et al. 2016, section 3.1) with the encoder as feature extractor. The last term, a mean over
    pixels, is the error of reconstructing a real image x from its code, used as noise, so that the generator covers the
    whole data set (compare Srivastava et al. 2017). Noise and code have the same length D.

    Before each round the autoencoder is trained for `refit_steps` steps on real images and on those samples of the
    averaged generator that a `QualityGate`, fitted to the real codes, does not reject.

    autoencoder: a trained one. A copy is trained and saved as ``autoencoder.safetensors``.
    network: as in `GAN`. The `latent_dim` of a generator must be D; a string needs none.
    match, reconstruct: weights of the two terms, at least 0. refit_steps: at least 0. settings: see `GANSettings`.

    >>> from augmentor import load_autoencoder
    >>> GuidedGAN(load_autoencoder("digits"), "dcgan(width=8)", num_classes=10).generator.latent_dim
    16
    """

    needs_autoencoder = True

    def __init__(
        self,
        autoencoder: Autoencoder,
        network: str | tuple[Generator, Discriminator] = "conv",
        *,
        match: float = 1.0,
        reconstruct: float = 5.0,
        refit_steps: int = 20,
        **settings: Any,
    ):
        if not match >= 0 or not reconstruct >= 0 or refit_steps < 0:
            raise InputError(
                "guided-gan takes match >= 0, reconstruct >= 0 and refit_steps >= 0, "
                f"got {match}, {reconstruct} and {refit_steps}"
            )
        shared = GANSettings(**settings)
        image_shape = shape_of(autoencoder, shared.image_shape)
        size = math.prod(latent_shape_of(autoencoder, image_shape))
        generator, discriminator = network_pair(network, image_shape, shared.num_classes, shared.seed, latent_dim=size)
        if generator.latent_dim != size:
            raise InputError(
                f"guided-gan uses codes of {size} numbers as noise, and the generator takes noise of "
                f"{generator.latent_dim}; build it with latent_dim={size}"
            )
        super().__init__(generator, discriminator, shared)
        self.autoencoder = frozen(autoencoder)
        self.match, self.reconstruct, self.refit_steps = match, reconstruct, refit_steps
        self._fingerprint = fingerprint(autoencoder.state_dict())
        self._passed = 0.0

    def networks(self) -> dict[str, nn.Module]:
        return super().networks() | {"autoencoder": self.autoencoder}

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        refit = torch.optim.Adam(self.autoencoder.parameters(), lr=self.lr)
        return super().make_optimizers() | {"autoencoder": refit}

    def start_round(self, step: int, averaged: Generator) -> None:
        """Train the autoencoder, and fit its latent statistics again."""
        feed, model = self.feed, self.autoencoder
        # Without labels, because the autoencoder is trained without labels.
        gate = QualityGate().fit(ReferenceSet(real_reference(model, feed).z))
        numbers = range(step * self.refit_steps, (step + 1) * self.refit_steps)
        # All samples pass through the gate before the autoencoder changes.
        passed = [self._passing(gate, averaged, number) for number in numbers]
        model.train().requires_grad_(True)
        for number, samples in zip(numbers, passed, strict=True):
            images = torch.cat([feed.batch(number).images, samples])
            with feed.engine.autocast():
                losses = model.training_losses(images, feed.generator("refit", number))
            # The gradients of all processes have equal weight, but their numbers of images can differ.
            count = torch.tensor(float(len(images)), device=feed.device)
            share = count / feed.engine.mean(count)
            feed.engine.minimise(share * torch.stack(list(losses.values())).sum(), self.optimizers["autoencoder"])
        model.eval().requires_grad_(False)
        model.stats.fit([real_latents(model, feed)[0]])
        counts = torch.tensor([float(len(samples)) for samples in passed] or [0.0], device=feed.device)
        self._passed = float(feed.engine.mean(counts.mean() / len(feed.places)))

    def generator_losses(self, made: torch.Tensor, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            real = self._codes(batch.images)
            wanted_mean, wanted_std = self._moments(real)
        mean, std = self._moments(self._codes(made))
        apart = (mean - wanted_mean).square() + (std - wanted_std).square()
        drawn = self.generator(real, batch.labels).float()
        return super().generator_losses(made, logits, batch) | {
            "match": self.match * apart.mean(),
            "reconstruction": self.reconstruct * F.mse_loss(drawn, batch.images),
        }

    def finish(self, averaged: Generator) -> dict[str, nn.Module]:
        """Return the trained autoencoder."""
        return {"autoencoder": self.autoencoder}

    def status(self) -> dict[str, float]:
        """Return also `passed`, the fraction of samples that the gate accepted before the round."""
        return super().status() | {"passed": self._passed}

    def settings(self) -> dict[str, Any]:
        names = ("match", "reconstruct", "refit_steps")
        own = {name: getattr(self, name) for name in names}
        return (
            super().settings() | own | {"autoencoder_start": self._fingerprint, "refitted": describe(self.autoencoder)}
        )

    def _codes(self, images: torch.Tensor) -> torch.Tensor:
        """Return the standardised latents (B,D) of images."""
        return standard_codes(self.autoencoder, images).flatten(1)

    def _moments(self, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and standard deviation (D,) of codes (B,D) over the whole batch."""
        mean = self.feed.engine.batch_mean(codes.mean(0))
        # Detached, because its gradient is 0 over the whole batch, but not over the part of one process.
        variance = self.feed.engine.batch_mean((codes - mean.detach()).square().mean(0))
        return mean, variance.clamp_min(_SMALLEST).sqrt()

    @torch.no_grad()
    def _passing(self, gate: QualityGate, averaged: Generator, number: int) -> torch.Tensor:
        """Return the accepted samples of the averaged generator, drawn with the labels of a batch of real images."""
        labels = self.feed.batch(number).labels
        images = averaged(self.feed.normal("refit", number, averaged.latent_dim), labels)
        return images[gate.passes(Latents(standard_codes(self.autoencoder, images)))]
