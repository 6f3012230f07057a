"""Hard examples for a classifier: uphill on the loss of the user's own model, inside the class."""

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
    """What is needed of an `Autoencoder`."""

    @property
    def stats(self) -> LatentStats:
        """From standard latents to raw ones."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Raw latents => images in [0, 1]."""


class Adversarial(AscendingPolicy):
    """Up the cross-entropy of a model, while the reference set's classifier, which is another one, keeps the label.

    Adversarial training (Madry et al. 2018) along the latent space, so that what is hard is a shape and not a pattern
    of pixels (Stutz et al. 2019, "Disentangling Adversarial Robustness and Generalization"). It has to be fitted
    (`augment.fit(dataset)`), on labels of at least two classes.

    model: the classifier that is being trained, images (B,C,H,W) in [0, 1] => logits (B,K), on the device of the
        autoencoder and without a distributed wrapper. It is asked in eval mode and left as it was: its mode, its
        statistics and its gradients do not change.
    autoencoder: the transform's own, ``augment.autoencoder``.
    radius: how far a latent may move, as the root mean square over its dimensions. steps: each one passes the decoder
        and the model forwards and backwards.

    A sample's result depends on the model as it is at that moment. Use it in the training loop (`AugmentedLoader`, or
    the transform on batches): a loader's workers have the model as it was when they started. As a model has no text
    form, neither has the policy.

    >>> from augmentor import LatentAugment, load_autoencoder
    >>> autoencoder = load_autoencoder("digits")
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> LatentAugment(autoencoder, Adversarial(model, autoencoder)).policy
    Adversarial(Sequential, radius=0.3, steps=3)
    """

    name = "adversarial"
    weight = 100.0
    enough = SURE  # what the classifier is surer of is easier for the model too

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
                "adversarial needs labels of at least two classes, of the samples (labels_getter, or labels=) and of "
                "the data set it is fitted on"
            )

        def odds(z: torch.Tensor) -> torch.Tensor:
            images = self.autoencoder.decode(self.autoencoder.stats.unstandardise(z)).float()
            logits = self.model(images).float()
            if logits.ndim != 2 or len(logits) != len(z) or logits.shape[1] < 2:
                raise ShapeError(
                    f"adversarial takes a model that gives logits ({len(z)}, classes), got {tuple(logits.shape)}"
                )
            own = soft_labels(class_index(labels), logits.shape[1]).bool()
            # The log odds against the label rise with the cross-entropy, and do not round to 0 where the model is sure.
            return logits.masked_fill(own, -torch.inf).logsumexp(1) - logits.masked_fill(~own, 0).sum(1)

        return odds

    def __repr__(self) -> str:
        return f"Adversarial({type(self.model).__name__}, radius={self.radius}, steps={self.steps})"
