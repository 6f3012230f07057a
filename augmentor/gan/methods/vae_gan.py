"""The training method "vae-gan": a variational autoencoder and a discriminator, trained together."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from ..._internal.random import SampleRandom, mix, seeded
from ..._internal.registry import describe
from ..._internal.transfer import sent
from ..._internal.weights import fingerprint
from ...autoencoders import Autoencoder, autoencoders
from ...exceptions import InputError
from ..feed import Batch, Feed
from ..networks import DecoderGenerator, Discriminator, Generator
from ..networks._decoding import take_weights
from ._adversarial import AdversarialMethod, network_pair
from ._base import methods
from ._codes import fit_codes, real_latents, real_reference, shape_of
from ._settings import GANSettings

# Added to the mean squared difference of features before the logarithm.
_SMALLEST = 1e-6


@methods.register("vae-gan")
class VAEGAN(AdversarialMethod):
    """VAE-GAN (Larsen et al. 2016): the decoder is the generator; discriminator features measure the reconstruction.

    Encoder and decoder minimise ``weight * (log(|f(x) - f(x')|^2 / F) / 2 + beta * KL / F)``. x' is decoded from a
    sample of the posterior, and f are the F input features of the discriminator's last layer. The first term is their
    negative log-likelihood under a normal distribution with the maximum-likelihood standard deviation (Rybkin et al.
    2021), so their scale does not matter; in the paper the standard deviation is 1.

    The decoder also minimises the adversarial loss of samples and of reconstructions, alternating within a batch. As in
    the paper, the adversarial loss has no gradient for the encoder. The reconstruction loss has no gradient for the
    discriminator. Samples are decoded from codes drawn around those of the real images of a class (see
    `DecoderGenerator`), which are encoded again before each round, because codes fill the prior only partly (Ghosh et
    al. 2020). The class is an input of the discriminator only.

    autoencoder: a trained one, which is not changed, or the string that describes a new one. Its posterior must have a
        standard deviation. The result is saved as ``autoencoder.safetensors``.
    network: as in `GAN`; only the discriminator is used. Its last layer must be called `head`, as in this package.
    beta: weight of the KL term. weight: weight of reconstruction and KL term. bandwidth: as in `AEInit`.
    settings: see `GANSettings`.

    >>> VAEGAN("vae(latent_dim=6, width=8)", network="dcgan(width=8)", image_shape=(1, 8, 8)).generator.latent_shape
    (6,)
    """

    generator: DecoderGenerator

    def __init__(
        self,
        autoencoder: str | Autoencoder = "vae",
        network: str | tuple[Generator, Discriminator] = "conv",
        *,
        beta: float = 1.0,
        weight: float = 1.0,
        bandwidth: float = 0.5,
        **settings: Any,
    ):
        if not beta >= 0 or not weight >= 0:
            raise InputError(f"vae-gan takes beta >= 0 and weight >= 0, got {beta} and {weight}")
        shared = GANSettings(**settings)
        shape = shared.image_shape
        if isinstance(autoencoder, str):
            sizes = {} if shape is None else {"image_shape": shape, "channels": shape[0]}
            with seeded(shared.seed, "init", "autoencoder"):
                autoencoder = autoencoders.build(autoencoder, **sizes)
        shape = shape_of(autoencoder, shape)
        with seeded(shared.seed, "init"):
            generator = DecoderGenerator(
                shape, shared.num_classes, describe(autoencoder), whole=True, bandwidth=bandwidth
            )
        take_weights(generator.model, autoencoder)
        _, discriminator = network_pair(network, shape, shared.num_classes, shared.seed)
        self._check_parts(generator.model, shape, discriminator)
        super().__init__(generator, discriminator, shared)
        self.beta, self.weight = beta, weight
        self._fingerprint = fingerprint(autoencoder.state_dict())

    def prepare(self, feed: Feed) -> None:
        super().prepare(feed)
        self.start_round(0, self.generator)  # fits missing latent statistics; a resume needs buffers of the right size

    def start_round(self, step: int, averaged: Generator) -> None:
        fit_codes(self.generator, real_reference(self.generator.model, self.feed))

    def fakes(self, purpose: str, number: int, batch: Batch) -> torch.Tensor:
        """Return samples at the even positions of a batch, and reconstructions at the odd ones."""
        samples = super().fakes(purpose, number, batch)
        with torch.no_grad():
            codes = self._posterior(batch)[0]
        odd = sent(torch.from_numpy(batch.places % 2 == 1), samples.device)[:, None, None, None]
        return torch.where(odd, self._decoded(codes), samples)

    def generator_losses(self, made: torch.Tensor, logits: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        codes, kl = self._posterior(batch)
        with torch.no_grad():
            wanted = self._features(batch.images, batch.labels)
        features = self._features(self._decoded(codes), batch.labels)
        apart = self.feed.engine.batch_mean((features - wanted).square().mean())
        return super().generator_losses(made, logits, batch) | {
            "reconstruction": self.weight * 0.5 * (apart + _SMALLEST).log(),
            "kl": self.weight * self.beta * kl / wanted[0].numel(),
        }

    def finish(self, averaged: Generator) -> dict[str, nn.Module]:
        """Return the autoencoder, with its latent statistics fitted again."""
        model: Any = copy.deepcopy(averaged.model)
        model.stats.fit([real_latents(model, self.feed)[0]])
        return {"autoencoder": model}

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"beta": self.beta, "weight": self.weight, "starts_from": self._fingerprint}

    def _posterior(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a posterior sample per real image, the same in all calls of a step, and the mean KL divergence."""
        mean, std = self.generator.model.encode(batch.images)
        assert std is not None
        mean, std = mean.float(), std.float()
        # A random sequence per image, different from the one of the augmentation.
        noise = SampleRandom(mix(batch.keys), mean.device).normal(*mean.shape[1:])
        kl = 0.5 * (mean.square() + std.square() - 1 - 2 * std.log()).flatten(1).sum(1).mean()
        return mean + std * noise, kl

    def _decoded(self, raw: torch.Tensor) -> torch.Tensor:
        return self.generator.model.decode(raw, self.generator.image_shape).float()

    def _features(self, images: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        """Return the input features (B,F) of the discriminator's last layer."""
        seen: list[torch.Tensor] = []
        head: Any = self.discriminator.head
        with head.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].float())):
            self.discriminator(images, labels)
        return seen[0]

    @staticmethod
    def _check_parts(model: Autoencoder, image_shape: tuple[int, int, int], discriminator: nn.Module) -> None:
        with torch.no_grad():
            if model.encode(torch.zeros(1, *image_shape)).std is None:
                raise InputError(
                    f"vae-gan takes a variational autoencoder, and {model.name!r} has no posterior std; use vae"
                )
        if not hasattr(discriminator, "head"):
            raise InputError(
                "vae-gan needs a discriminator whose last layer is an attribute `head`, and "
                f"{type(discriminator).__name__} has none; rename its last layer, or use network='conv'"
            )
