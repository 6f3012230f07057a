"""Whether a setting is better than another, or only luckier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# A mean of differences of scores that is smaller is 0.
_ROUNDING = 1e-12


def paired_p_value(differences: Sequence[float]) -> float:
    """One-sided p of "the mean difference is not above 0", by Student's paired t test.

    Fewer than 2 differences tell nothing: p is 1.

    >>> round(paired_p_value([0.02, 0.03, 0.01, 0.02, 0.03]), 4)
    0.0021
    """
    d = np.asarray(differences, np.float64)
    if len(d) < 2:
        return 1.0
    return _upper_tail(d.mean(), d.var(ddof=1) / len(d), len(d) - 1)


def crossed_p_value(
    differences: Sequence[float],
    samples: Sequence[int],
    trainings: Sequence[int],
    weights: Sequence[float] | None = None,
) -> float:
    """One-sided p of "the (weighted) mean difference is not above 0", beyond the luck of samples and of trainings.

    Each difference belongs to a sample and to a training (of either row), whose luck moves all its differences
    together. The variance of the mean is that of the means of samples, and the part of that of the means of trainings
    that single differences do not explain: two-way clustering (Cameron, Gelbach and Miller 2011), kept from going below
    one-way over samples. Its degrees of freedom are Satterthwaite's (1946).

    weights: of the differences, scaled to the sum 1; the numbers of samples and of trainings are then effective ones
    (Kish 1965). Fewer than 2 of either tell nothing: p is 1.

    >>> better, samples, trainings = [1, 1, 0, 1, 0, 1, 1, -1], [0, 1, 2, 3, 0, 1, 2, 3], [0, 0, 1, 1, 2, 2, 3, 3]
    >>> round(crossed_p_value(better, samples, trainings), 3)
    0.046
    """
    d = np.asarray(differences, np.float64)
    w = np.ones(len(d)) if weights is None else np.asarray(weights, np.float64)
    if min(len(set(samples)), len(set(trainings))) < 2:
        return 1.0
    w = w / w.sum()
    mean = w @ d
    each = w * (d - mean)
    of_samples, free = _clustered(each, w, samples)
    of_trainings, free_trainings = _clustered(each, w, trainings)
    shared = max(0.0, of_trainings - np.square(each).sum())
    variance = of_samples + shared
    if shared > 0:  # as uncertain as what it is the rest of
        free = variance**2 / (of_samples**2 / free + of_trainings**2 / free_trainings)
    return _upper_tail(mean, variance, free)


def _clustered(each: np.ndarray, weights: np.ndarray, clusters: Sequence[int]) -> tuple[float, float]:
    """Variance of a sum whose terms move together within clusters, and its degrees of freedom."""
    _, numbers = np.unique(clusters, return_inverse=True)
    count = 1 / np.square(np.bincount(numbers, weights)).sum()
    return np.square(np.bincount(numbers, each)).sum() * count / (count - 1), count - 1


def _upper_tail(mean: float, variance: float, free: float) -> float:
    from scipy.stats import t  # 1 s to import, needed only here

    error = np.sqrt(variance)
    if error < _ROUNDING:
        return 0.0 if mean > _ROUNDING else 1.0
    return float(t.sf(mean / error, free))
