"""The training method "flow": a latent flow, trained by flow matching without a discriminator."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ..._internal.batches import BatchStream
from ..._internal.random import fold, seeded, torch_generator
from ..._internal.registry import describe
from ..._internal.transfer import sent
from ..._internal.weights import fingerprint
from ...autoencoders import Autoencoder
from ...denoisers import flow_loss
from ...exceptions import DataError, InputError
from ...latents import ReferenceSet, encode_all
from ..feed import Feed
from ..networks import Generator
from ..networks._decoding import take_weights
from ..networks.flow import FlowGenerator
from ._base import TrainingMethod, methods
from ._codes import frozen, shape_of
from ._settings import GANSettings

# Fraction of the training samples whose class is withheld, so that the flow also learns an unconditional velocity.
_WITHHELD = 0.1
# Number of times and noise samples per held-out latent, and of generated latents that are compared with real ones.
_REPEATS, _COMPARED = 8, 250
# Largest number of latents that are held out, and of those that pass through the flow at once.
_MOST_HELD_OUT, _AT_ONCE = 1000, 500


@methods.register("flow")
class FlowMatching(TrainingMethod):
    """Flow matching (Lipman et al. 2023) in the latent space of an autoencoder, as in Rombach et al. 2022.

    The autoencoder is not trained, so images are never sharper than its reconstructions. A latent is the mean of its
    posterior. Some latents are held out: `held_out_loss` is the flow matching loss of the averaged flow on these. It
    rises when the flow starts to memorise the training latents; use it as ``best_by``. `nearest` is the median distance
    of a generated latent to the nearest training latent, divided by that of held-out latents: values below 1 mean that
    training latents are reproduced.

    autoencoder: its latents can be vectors or feature maps. width: width of the `LatentFlow`; None is its default.
    held_out: fraction of the images that is held out, above 0 and below 1, but at most 1,000 images.
    settings: see `GANSettings`; settings of a discriminator, and an augmentation, are refused.

    The flow is saved as ``prior.safetensors``, for the policy `denoise`.

    >>> from augmentor import load_autoencoder
    >>> FlowMatching(load_autoencoder("digits"), num_classes=10).generator.flow.name
    'perceptron'
    """

    generator: FlowGenerator

    needs_autoencoder = True
    takes_augmentation = False
    adversarial = False
    scores = ("held_out_loss",)

    def __init__(self, autoencoder: Autoencoder, *, width: int | None = None, held_out: float = 0.1, **settings: Any):
        shared = GANSettings(**settings)
        if not 0 < held_out < 1:
            raise InputError(f"held_out must be a fraction above 0 and below 1, got {held_out}")
        super().__init__(shared)
        shape = shape_of(autoencoder, shared.image_shape)
        with seeded(shared.seed, "init"):
            self.generator = FlowGenerator(shape, shared.num_classes, describe(autoencoder), width)
        take_weights(self.generator.model, autoencoder)
        self.generator.model.requires_grad_(False)
        self.autoencoder, self.held_out = frozen(autoencoder), held_out
        self._fingerprint = fingerprint(autoencoder.state_dict())

    def networks(self) -> dict[str, nn.Module]:
        return {"flow": self.generator.flow}

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"flow": torch.optim.AdamW(self.generator.flow.parameters(), lr=self.lr, weight_decay=0.01)}

    def prepare(self, feed: Feed) -> None:
        """Encode all images once, hold some out, and copy the latent statistics, fitted if there are none."""
        super().prepare(feed)
        self.autoencoder.to(feed.device)
        self.generator.to(feed.device)
        (mean, _), labels = encode_all(self.autoencoder, feed.samples())
        if not self.autoencoder.stats.fitted:
            self.autoencoder.stats.fit([mean])
        take_weights(self.generator.model, self.autoencoder)
        self.generator.flow.take_autoencoder(self.autoencoder)
        self._z = self.autoencoder.stats.standardise(mean.float())
        self._labels = labels.to(feed.device) if labels is not None and feed.labelled else None
        self._split(len(mean))
        self._stream = BatchStream(feed.dataset, self._train, feed.batch_size, feed.seed)

    def step(self, number: int) -> dict[str, torch.Tensor]:
        feed = self.feed
        rows = sent(torch.from_numpy(self._stream.indices(number)[feed.places]), feed.device)
        noise = feed.normal("noise", number, *self.generator.latent_shape)
        t, withheld = torch.special.ndtr(feed.normal("time", number, 2)).unbind(1)
        labels = None if self._labels is None else torch.where(withheld < _WITHHELD, -1, self._labels[rows])
        with feed.engine.autocast():
            loss = flow_loss(self.generator.flow, self._z[rows], labels, t, noise).mean()
        feed.engine.minimise(loss, self.optimizers["flow"])
        return {"loss": loss.detach()}

    @torch.no_grad()
    def measured(self, averaged: Generator) -> dict[str, float]:
        assert isinstance(averaged, FlowGenerator)
        random = torch_generator(self.feed.device, self.feed.seed, "held out")
        rows = self._held_out.repeat(_REPEATS)
        noise = torch.randn(len(rows), *self.generator.latent_shape, generator=random, device=rows.device)
        t = (torch.randperm(len(rows), generator=random, device=rows.device) + 0.5) / len(rows)
        labels = None if self._labels is None else self._labels[rows]
        losses = [
            flow_loss(averaged.flow, self._z[rows[at]], None if labels is None else labels[at], t[at], noise[at])
            for at in torch.arange(len(rows), device=rows.device).split(_AT_ONCE)
        ]
        return {"held_out_loss": float(torch.cat(losses).mean()), "nearest": self._nearest(averaged)}

    def finish(self, averaged: Generator) -> dict[str, nn.Module]:
        assert isinstance(averaged, FlowGenerator)
        return {"prior": averaged.flow}

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"decoder": self._fingerprint, "held_out": self.held_out}

    def _split(self, count: int) -> None:
        """Choose the rows that are held out; raise `DataError` if there are too few images."""
        held_out = min(_MOST_HELD_OUT, round(self.held_out * count))
        if not 0 < held_out < count:
            raise DataError(
                f"a fraction of {self.held_out} of the images is held out, and {count} images are too few for it; "
                "use at least 10 images, or another fraction held_out"
            )
        order = np.random.Generator(np.random.Philox(fold(self.feed.seed, "held out"))).permutation(count)
        self._held_out = torch.from_numpy(np.sort(order[:held_out])).to(self.feed.device)
        self._train = np.sort(order[held_out:])

    def _nearest(self, averaged: FlowGenerator) -> float:
        """Return the median distance of generated to training latents, divided by that of held-out latents."""
        real = ReferenceSet(self._z[torch.from_numpy(self._train).to(self._z.device)])
        random = torch_generator(self.feed.device, self.feed.seed, "nearest")
        noise = torch.randn(_COMPARED, averaged.latent_dim, generator=random, device=self.feed.device)
        places = torch.arange(_COMPARED, device=noise.device)
        labels = places % averaged.num_classes if averaged.num_classes else None
        made = torch.cat(
            [averaged.codes(noise[at], None if labels is None else labels[at]) for at in places.split(_AT_ONCE)]
        )
        generated, unseen = (real.nearest(z, 1)[0].median() for z in (made, self._z[self._held_out]))
        return float(generated / unseen.clamp_min(1e-12))
