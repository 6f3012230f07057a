"""A small classifier of latents that scores each sample with a network that was not trained on it."""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F

from .._internal.random import fold as fold_seed
from .batch import is_class, label_keys

FOLDS = 5
_HIDDEN, _STEPS, _BATCH, _RATE, _DECAY, _NOISE = 64, 300, 512, 1e-2, 1e-2, 0.3
# Feature maps are averaged down to at most this many cells per side.
_LARGEST_MAP = 4


class LatentClassifier:
    """Cross-fitted classifier of standardised latents (B, *L) (Chernozhukov et al. 2018).

    The samples are split into stratified folds, and for each fold a network with one hidden layer is fitted on the
    other folds. A sample, or one made from it, is scored by the network that was fitted without it: pass its fold. All
    networks are fitted at once, with batched matrix products, in about one second. Noise is added to the training rows,
    so that a few labels give smooth decision regions.

    z: float (N, *L).
    labels: int64 (N,), or float (N,K), in which each distinct row is a class of its own unless it is one-hot
        (`label_keys`); samples with ignored labels, the negative ones, are left out.
    folds: int64 (N,), the fold of each sample; -1 for a sample in no fold: the only one of its class, or left out.

    >>> z = torch.cat([torch.randn(20, 4) - 2, torch.randn(20, 4) + 2])
    >>> classifier = LatentClassifier(z, torch.arange(40) // 20)
    >>> classifier.log_probs(z, classifier.folds).argmax(1).unique()
    tensor([0, 1])
    """

    def __init__(self, z: torch.Tensor, labels: torch.Tensor, seed: int = 0):
        keys = label_keys(labels)
        known = (keys >= 0).nonzero().squeeze(1)
        self.classes, target = keys[known].unique(return_inverse=True)
        self._single = bool(is_class(self.classes).all())
        folds = _deal(target)
        self.folds = torch.full_like(keys, -1).index_copy(0, known, folds)
        rng = np.random.Generator(np.random.Philox(fold_seed(seed, "classifier")))
        with torch.inference_mode(False), torch.enable_grad():
            self._fit(_features(z[known]).detach(), target, folds, rng)

    def log_probs(self, z: torch.Tensor, folds: torch.Tensor | None = None) -> torch.Tensor:
        """Return log-probabilities (B, len(classes)); gradients flow to `z`.

        folds: int64 (B,), the fold of each sample; None or -1 averages the probabilities of all networks.
        """
        each = self._logits(_features(z)).log_softmax(2)  # (folds, B, classes)
        mean = each.logsumexp(0) - np.log(len(each))
        if folds is None:
            return mean
        own = each[folds.clamp_min(0), torch.arange(len(folds), device=z.device)]
        return torch.where((folds < 0)[:, None], mean, own)

    def agreement(self, z: torch.Tensor, labels: torch.Tensor, folds: torch.Tensor | None = None) -> torch.Tensor:
        """Return how well the labels fit, float (B,), at most 0: minus the KL divergence of prediction and label.

        For a class number this is its log-probability. A label (B,K) is compared as a distribution, or as one of the
        classes if some of these are multi-hot or soft labels. An unknown class gives minus infinity.
        """
        log_probs = self.log_probs(z, folds)
        if labels.ndim == 1 or not self._single:
            keys = label_keys(labels).contiguous()
            place = torch.searchsorted(self.classes, keys).clamp_max(len(self.classes) - 1)
            found = log_probs.gather(1, place[:, None]).squeeze(1)
            return found.masked_fill(self.classes[place] != keys, -torch.inf)
        share = labels[:, self.classes]
        unknown = labels.sum(1) - share.sum(1) > 1e-4
        return (share * log_probs - torch.xlogy(share, share)).sum(1).masked_fill(unknown, -torch.inf)

    def to(self, device: torch.device | str) -> LatentClassifier:
        """Return a copy on a device."""
        moved = copy.copy(self)
        moved.__dict__.update(
            {name: value.to(device) for name, value in self.__dict__.items() if isinstance(value, torch.Tensor)}
        )
        return moved

    def _logits(self, features: torch.Tensor) -> torch.Tensor:
        hidden = torch.baddbmm(self._bias_in, features.expand(FOLDS, *features.shape), self._weight_in).relu()
        return torch.baddbmm(self._bias_out, hidden, self._weight_out)

    def _fit(self, features: torch.Tensor, target: torch.Tensor, folds: torch.Tensor, rng: np.random.Generator) -> None:
        def normal(*shape: int, scale: float) -> torch.Tensor:
            return torch.from_numpy(scale * rng.standard_normal(shape, np.float32)).to(features)

        width, classes = features.shape[1], len(self.classes)
        self._weight_in = normal(FOLDS, width, _HIDDEN, scale=width**-0.5)
        self._weight_out = normal(FOLDS, _HIDDEN, classes, scale=_HIDDEN**-0.5)
        self._bias_in, self._bias_out = features.new_zeros(FOLDS, 1, _HIDDEN), features.new_zeros(FOLDS, 1, classes)
        parameters = [self._weight_in, self._weight_out, self._bias_in, self._bias_out]
        for parameter in parameters:
            parameter.requires_grad_(True)
        optimizer = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
        for _ in range(_STEPS):
            rows = torch.from_numpy(rng.integers(len(target), size=min(_BATCH, 4 * len(target)))).to(target.device)
            noisy = features[rows] + normal(len(rows), width, scale=_NOISE)
            loss = F.cross_entropy(
                self._logits(noisy).flatten(0, 1), target[rows].repeat(FOLDS), reduction="none"
            ).reshape(FOLDS, -1)
            unseen = folds[rows] == torch.arange(FOLDS, device=rows.device)[:, None]
            optimizer.zero_grad()
            loss.masked_fill(unseen, 0).mean().backward()
            optimizer.step()
            schedule.step()
        for parameter in parameters:
            parameter.requires_grad_(False)


def _features(z: torch.Tensor) -> torch.Tensor:
    """Return vectors unchanged, and feature maps averaged to a few cells."""
    if z.ndim == 4:
        height, width = (min(side, _LARGEST_MAP) for side in z.shape[-2:])
        z = F.adaptive_avg_pool2d(z, (height, width))
    return z.flatten(1)


def _deal(target: torch.Tensor) -> torch.Tensor:
    """Return the folds of the samples, with each class spread evenly."""
    folds = torch.empty_like(target)
    for number, count in enumerate(target.bincount().tolist()):
        rank = torch.arange(count, device=target.device)
        folds[target == number] = rank % FOLDS if count > 1 else rank - 1
    return folds
