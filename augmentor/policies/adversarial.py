"""Hard examples for a classifier: gradient ascent on the loss of the user's model, within the class."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from .._internal.eval_mode import eval_mode
from .._internal.random import SampleRandom
from ..exceptions import ReferenceSetError, ShapeError
from ..latents import Latents, LatentStats, ReferenceSet, class_index, is_class, label_keys, soft_labels
from ._ascent import SURE, AscendingPolicy, Score
from ._base import Params


class Decoder(Protocol):
    """The part of `Autoencoder` that the policy uses."""

    @property
    def stats(self) -> LatentStats:
        """Statistics that convert standardised latents to raw ones."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode raw latents to images in [0, 1]."""


class Adversarial(AscendingPolicy):
    """Gradient steps that increase the loss of a model, as long as a classifier of the reference set keeps the label.

    This is adversarial training (Madry et al. 2018) in latent space: it changes shapes and not patterns of pixels
    (Stutz et al. 2019, "Disentangling Adversarial Robustness and Generalization"). The policy must be fitted
    (`augment.fit(dataset)`) on labels of at least two classes.

    model: the classifier that is being trained, images (B,C,H,W) in [0, 1] => logits (B,K), on the device of the
        autoencoder and without a distributed wrapper. It is evaluated in eval mode. Its mode, statistics and gradients
        do not change.
    autoencoder: the autoencoder of the transform, ``augment.autoencoder``.
    radius: largest displacement of a latent, as the root mean square over its dimensions, at least 0. steps: number of
        gradient steps, at least 1, each with one forward and one backward pass through the decoder and the model.

    The result depends on the current weights of the model. Use the policy in the training loop (`AugmentedLoader`, or
    the transform on batches): the workers of a data loader keep the weights that the model had when they started. The
    policy has no string form, because the model has none.

    >>> from augmentor import LatentAugment, load_autoencoder
    >>> autoencoder = load_autoencoder("digits")
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> LatentAugment(autoencoder, Adversarial(model, autoencoder)).policy
    Adversarial(Sequential, radius=0.3, steps=3)
    """

    name = "adversarial"
    weight = 100.0
    enough = SURE  # samples with a higher probability are also easier for the model

    def __init__(self, model: nn.Module, autoencoder: Decoder, radius: float = 0.3, steps: int = 3):
        super().__init__(radius, steps)
        self.model, self.autoencoder = model, autoencoder

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        with eval_mode(self.model):
            return super().draw(latents, random, reference)

    def _known(self, latents: Latents, reference: ReferenceSet) -> torch.Tensor:
        known = super()._known(latents, reference)
        return known if latents.labels is None else known & is_class(label_keys(latents.labels))

    def _objective(self, latents: Latents, random: SampleRandom, reference: ReferenceSet) -> Score:
        labels = latents.labels
        if labels is None or reference.classifier is None:
            raise ReferenceSetError(
                "adversarial needs labels of at least two classes; pass the labels of the samples (labels_getter, or "
                "labels=), and fit it on a data set with labels"
            )

        def odds(z: torch.Tensor) -> torch.Tensor:
            images = self.autoencoder.decode(self.autoencoder.stats.unstandardise(z)).float()
            logits = self.model(images).float()
            if logits.ndim != 2 or len(logits) != len(z) or logits.shape[1] < 2:
                raise ShapeError(
                    f"adversarial takes a model that returns logits ({len(z)}, classes), got {tuple(logits.shape)}"
                )
            own = soft_labels(class_index(labels), logits.shape[1]).bool()
            # The log odds against the label increase with the cross-entropy, which can round to 0 for confident models.
            return logits.masked_fill(own, -torch.inf).logsumexp(1) - logits.masked_fill(~own, 0).sum(1)

        return odds

    def __repr__(self) -> str:
        return f"Adversarial({type(self.model).__name__}, radius={self.radius}, steps={self.steps})"
