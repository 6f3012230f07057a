"""Pseudo-labels of unlabelled latents, and an estimate of their accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from .._internal.progress import progress_bar
from .._internal.random import fold
from .._internal.registry import did_you_mean
from ..exceptions import DataError, InputError, UnknownNameError
from .batch import is_class, label_keys
from .label_spreading import label_spreading
from .self_training import self_training

METHODS: dict[str, Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    method.__name__: method for method in (label_spreading, self_training)
}
# Fraction of the unlabelled latents that get a label, the most probable first. On MNIST with 5 labels per class about
# 94 % of these are correct, and 98 % of the more probable half, which has almost no images of the hard classes.
SURE_SHARE = 0.8
# Accuracy below which pseudo-labels usually lower the accuracy of the classifier.
MIN_ACCURACY = 0.8
_FOLDS = 5


class PseudoLabels(NamedTuple):
    """Rows of the unlabelled latents that get a label, int64 (n,), ascending; the labels, int64 (n,); their
    probabilities, float32 (n,).
    """

    rows: torch.Tensor
    labels: torch.Tensor
    confidences: torch.Tensor


class HeldOut(NamedTuple):
    """Number of held-out labels that were predicted correctly, and number of held-out labels.

    >>> print(HeldOut(30, 39)), HeldOut(30, 39).reaches(0.8), HeldOut(2, 4).reaches(0.8)
    77 % (30 of 39 held-out labels, standard error 7 points)
    (None, True, False)
    """

    right: int
    total: int

    @property
    def accuracy(self) -> float:
        """Fraction of correct labels, 0 to 1."""
        return self.right / self.total

    def reaches(self, least: float) -> bool:
        """Return whether the accuracy may be at least `least`.

        One standard error is allowed, because the estimate from a few labels is imprecise: with 50 labels it is about 6
        points. One wrong label is added, because otherwise two labels that are correct by accident would be enough.
        """
        total = self.total + 1
        return self.right / total + math.sqrt(least * (1 - least) / total) >= least

    def __str__(self) -> str:
        error = math.sqrt(self.accuracy * (1 - self.accuracy) / self.total)
        return (
            f"{100 * self.accuracy:.0f} % ({self.right} of {self.total} held-out labels, "
            f"standard error {100 * error:.0f} points)"
        )


class PseudoLabeller:
    """Labeller that assigns confident pseudo-labels to unlabelled latents.

    z: float (N, *L).
    labels: int64 (N,), of which negative ones are ignored, or one-hot (N,K).
    unlabelled: float (M, *L).
    method: a name of `METHODS`.
    share: fraction of the unlabelled latents that get a label, the most probable first, in (0, 1].

    Raises `DataError` for labels of only one class, and for multi-hot or soft labels; `InputError` for other arguments
    that do not fit.

    >>> z, more = torch.tensor([[-3.1], [-2.9], [2.9], [3.1]]), torch.linspace(-4, 4, 40)[:, None]
    >>> labeller = PseudoLabeller(z, torch.tensor([0, 0, 1, 1]), more)
    >>> rows, labels, _ = labeller.pseudo_labels()
    >>> len(rows), bool((labels == (more[rows, 0] > 0)).all()), labeller.held_out()
    (32, True, HeldOut(right=4, total=4))
    """

    def __init__(
        self,
        z: torch.Tensor,
        labels: torch.Tensor,
        unlabelled: torch.Tensor,
        method: str = "label_spreading",
        share: float = SURE_SHARE,
    ):
        if method not in METHODS:
            raise UnknownNameError(f"unknown method {method!r}{did_you_mean(method, METHODS)}")
        if not 0 < share <= 1:
            raise InputError(f"share is the fraction of unlabelled images that get a label, in (0, 1]; got {share}")
        keys = label_keys(labels)
        labelled = keys >= 0
        if not bool(is_class(keys[labelled]).all()):
            raise DataError("pseudo-labels need one class per image, got multi-hot or soft labels")
        z = z[labelled]
        classes, known = keys[labelled].cpu().unique(return_inverse=True)
        if len(classes) < 2:
            raise DataError(
                f"pseudo-labels need labels of at least 2 classes, got {len(classes)}; label images of another class, "
                "or use no unlabelled images"
            )
        self.share, self._classes, self._device = share, classes, z.device
        self._known = np.concatenate([known.numpy(), np.full(len(unlabelled), -1)])
        self._labelled = len(known)
        points = torch.cat([z, unlabelled.to(z)]).flatten(1).double().cpu().numpy()
        self._probabilities = METHODS[method](points)

    def pseudo_labels(self) -> PseudoLabels:
        """Return labels for the fraction `share` of the unlabelled latents, or for fewer if labels reach fewer."""
        probabilities = self._probabilities(self._known)
        surest = self._surest(probabilities, np.arange(self._labelled, len(self._known)))
        chosen = torch.from_numpy(probabilities[surest])
        confidences, best = chosen.max(1)
        rows = torch.from_numpy(surest - self._labelled)
        return PseudoLabels(*(x.to(self._device) for x in (rows, self._classes[best], confidences.float())))

    def held_out(self, seed: int = 0) -> HeldOut | None:
        """Return how many labels are predicted correctly if they are hidden, one fold at a time.

        A hidden label counts only if its latent is in the most probable fraction `share` of those without a label. The
        number of folds is the number of labels of the rarest class, at most five, and each class is spread evenly over
        them. As fewer labels are left, the accuracy is slightly lower than in `pseudo_labels`. The result is None if a
        class has only one label, or if no hidden label counts.
        """
        labels = self._known[: self._labelled]
        folds = min(_FOLDS, int(np.bincount(labels).min()))
        if folds < 2:
            return None
        order = np.random.Generator(np.random.Philox(fold(seed, "held out"))).permutation(len(labels))
        order = order[np.argsort(labels[order], kind="stable")]
        right = total = 0
        for number in progress_bar(range(folds), desc="checking labels", unit="fold", leave=False):
            hidden = order[number::folds]
            known = self._known.copy()
            known[hidden] = -1
            probabilities = self._probabilities(known)
            surest = self._surest(probabilities, np.flatnonzero(known < 0))
            surest = surest[surest < len(labels)]
            right += int((probabilities[surest].argmax(1) == labels[surest]).sum())
            total += len(surest)
        return HeldOut(right, total) if total else None

    def _surest(self, probabilities: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Return the most probable fraction of the candidates, ascending, without those that no label reaches."""
        sure = probabilities[candidates].max(1, initial=0)
        count = min(round(self.share * len(candidates)), int((sure > 0).sum()))
        return np.sort(candidates[np.argsort(-sure, kind="stable")[:count]])


def spread_labels(z: torch.Tensor, labels: torch.Tensor, unlabelled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows of the unlabelled latents that get a label, int64 (n,), ascending, and their labels, int64 (n,).

    Label spreading labels the most probable 80 % of them. `PseudoLabeller` documents the arguments and errors.

    >>> z, more = torch.tensor([[-3.0], [3.0]]), torch.cat([torch.randn(30, 1) - 3, torch.randn(30, 1) + 3])
    >>> rows, labels = spread_labels(z, torch.tensor([0, 1]), more)
    >>> len(rows), bool((labels == (more[rows, 0] > 0)).double().mean() > 0.9)
    (48, True)
    """
    rows, found, _ = PseudoLabeller(z, labels, unlabelled).pseudo_labels()
    return rows, found
