"""Labels for unlabelled latents, from labelled ones, and how many of them are right."""

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
# The share of the unlabelled that gets a label, the most probable first. On MNIST with 5 labels a class about 94 % of
# these are right, and 98 % of the more probable half, which holds next to none of the hard classes.
SURE_SHARE = 0.8
# The share of right labels below which they do more harm than good.
MIN_ACCURACY = 0.8
_FOLDS = 5


class PseudoLabels(NamedTuple):
    """Rows of the unlabelled that get a label, int64 (n,), ascending; the labels, int64 (n,); how probable each of them
    is, float32 (n,).
    """

    rows: torch.Tensor
    labels: torch.Tensor
    confidences: torch.Tensor


class HeldOut(NamedTuple):
    """How many labels that were hidden came out right, of how many.

    >>> print(HeldOut(30, 39)), HeldOut(30, 39).reaches(0.8), HeldOut(2, 4).reaches(0.8)
    77 % (30 of 39 held-out labels, standard error 7 points)
    (None, True, False)
    """

    right: int
    total: int

    @property
    def accuracy(self) -> float:
        """The share of right ones, 0 to 1."""
        return self.right / self.total

    def reaches(self, least: float) -> bool:
        """Whether at least this share of the labels may be right.

        One standard error is allowed for, because a few labels say little: of 50 it is about 6 points. One wrong label
        is added, because else two labels that happen to be right would be enough.
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
    """Labels for the surest share of the unlabelled latents.

    z: float (N, *L). labels: int64 (N,), of which negative ones are ignored, or one-hot (N,K). unlabelled: float
    (M, *L). method: a name of `METHODS`. share: of the unlabelled, in (0, 1]; the most probable ones get a label.
    Raises `DataError` for labels of one class, and for labels of several classes at once; `InputError` for arguments
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
            raise InputError(f"share is the part of the unlabelled images that gets a label, in (0, 1]; got {share}")
        keys = label_keys(labels)
        labelled = keys >= 0
        if not bool(is_class(keys[labelled]).all()):
            raise DataError("labels can be spread where each image has one class, got multi-hot or soft labels")
        z = z[labelled]
        classes, known = keys[labelled].cpu().unique(return_inverse=True)
        if len(classes) < 2:
            raise DataError(
                f"labels can be spread from at least 2 classes, got {len(classes)}; label images of another class, or "
                "use no unlabelled images"
            )
        self.share, self._classes, self._device = share, classes, z.device
        self._known = np.concatenate([known.numpy(), np.full(len(unlabelled), -1)])
        self._labelled = len(known)
        points = torch.cat([z, unlabelled.to(z)]).flatten(1).double().cpu().numpy()
        self._probabilities = METHODS[method](points)

    def pseudo_labels(self) -> PseudoLabels:
        """The labels of the surest share; fewer, where there are more that no label reaches."""
        probabilities = self._probabilities(self._known)
        surest = self._surest(probabilities, np.arange(self._labelled, len(self._known)))
        chosen = torch.from_numpy(probabilities[surest])
        confidences, best = chosen.max(1)
        rows = torch.from_numpy(surest - self._labelled)
        return PseudoLabels(*(x.to(self._device) for x in (rows, self._classes[best], confidences.float())))

    def held_out(self, seed: int = 0) -> HeldOut | None:
        """How many of the labels come out right if they are hidden, a fold at a time, and the rest stay.

        Only those count that are among the surest share of all that have no label then. There are as many folds as the
        rarest class has labels, up to five, and each class is spread evenly over them. As fewer labels are left, a
        little fewer come out right than in `pseudo_labels`. None where a class has but one label, or none is reached.
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
        """The surest share of the candidates, ascending; those that no label reaches are not among them."""
        sure = probabilities[candidates].max(1, initial=0)
        count = min(round(self.share * len(candidates)), int((sure > 0).sum()))
        return np.sort(candidates[np.argsort(-sure, kind="stable")[:count]])


def spread_labels(z: torch.Tensor, labels: torch.Tensor, unlabelled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of the unlabelled latents that get a label, int64 (n,), ascending, and their labels, int64 (n,).

    Those of `PseudoLabeller` by label spreading, for the most probable 80 %; it says what is taken and raised.

    >>> z, more = torch.tensor([[-3.0], [3.0]]), torch.cat([torch.randn(30, 1) - 3, torch.randn(30, 1) + 3])
    >>> rows, labels = spread_labels(z, torch.tensor([0, 1]), more)
    >>> len(rows), bool((labels == (more[rows, 0] > 0)).double().mean() > 0.9)
    (48, True)
    """
    rows, found, _ = PseudoLabeller(z, labels, unlabelled).pseudo_labels()
    return rows, found
