"""The statistics of a race: which controls are kept, which one is recommended, and whether a setting is better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .row import Row, best_of
from .task import Task

LEVEL = 0.05
# Number of standard errors behind the best at which a control is dropped, and largest number of controls that are kept.
BEHIND, MOST_RIVALS = 2.0, 3
# Smallest number of scores, without samples, from which a standard error is computed.
_FEWEST_SCORES = 4

# A smaller mean, or standard error, of differences of scores counts as 0.
_ROUNDING = 1e-12


class Gain(NamedTuple):
    """Mean difference of two rows, its standard error, and the degrees of freedom of the standard error."""

    mean: float
    error: float
    free: float


def recommended(task: Task, controls: Sequence[Row]) -> Row:
    """Return the control to use: the first, which is the default, unless another is clearly better.

    The best of m other controls must be better by more than ``max(1, sqrt(2 ln m))`` standard errors. One standard
    error is the rule of Breiman et al. (1984) for trees. The second term is an upper bound of the mean of the largest
    of m standard normals, that is, of the expected lead of the best of m equal controls. If there are too few scores
    for a standard error, the best control is returned.
    """
    default, best = controls[0], best_of(controls)
    gain = gain_of(task, best, default, [cell for cell in best.scores if cell in default.scores])
    errors = max(1.0, math.sqrt(2 * math.log(max(1, len(task.controls) - 1))))
    return default if gain.mean <= errors * gain.error < np.inf else best


def survivors(task: Task, controls: Sequence[Row], most: int) -> list[Row]:
    """Return at most `most` controls, without those far behind the best; the default is always kept."""
    best = best_of(controls)
    shared = [cell for cell in best.scores if all(cell in row.scores for row in controls)]
    ranked = sorted(controls, key=lambda row: row.level(shared), reverse=True)
    kept = [row for row in ranked if not _far_behind(task, row, best, shared)][:most]
    if controls[0] not in kept:
        kept[most - 1 :] = [controls[0]]
    for row in controls:
        row.fate = "" if row in kept else f"dropped after cell {len(row.scores)}"
    return [row for row in controls if row in kept]


def _far_behind(task: Task, row: Row, best: Row, cells: Sequence[int]) -> bool:
    gain = gain_of(task, best, row, cells)
    return gain.mean > BEHIND * gain.error


def decide(
    task: Task, rivals: list[Row], finalists: list[Row], final: range, fewest: int
) -> tuple[Row, Row, bool, str]:
    """Return the best setting, the best control, whether the setting is better than every rival, and the reason.

    fewest: smallest number of cells for a win. A control that was not scored for lack of time prevents a win; p is then
    that of the others.
    """
    usable = [row for row in finalists if not row.unusable]
    cells = [cell for cell in final if all(cell in row.scores for row in usable)]
    scored = [row for row in rivals if row.scores]
    met = [row for row in scored if all(cell in row.scores for cell in cells)] or scored
    control = recommended(task, scored)  # from all scores, also of controls that are missing in the final
    cells = [cell for cell in cells if cell in control.scores]
    for row in finalists:
        # The setting must be better than every control, so the largest p counts (intersection-union test, Berger 1982).
        # The best of several settings is selected, so p is multiplied by their number (Bonferroni).
        row.p_value = min(1.0, len(finalists) * max(_p_value(task, row, rival, cells) for rival in met))
    best = min(finalists, key=lambda row: row.p_value or 0.0)
    assert best.p_value is not None
    enough = len(cells) >= fewest
    if not enough:
        done = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
        reason = f"the budget was sufficient for {done} of the final comparison; at least {fewest} are needed"
    elif control.right:
        count = sum(len(control.right[cell]) for cell in cells[: task.folds])
        repeats = len(cells) // task.folds
        reason = f"p = {best.p_value:.2g} over {count} samples, {repeats} new repeat{'s' * (repeats > 1)}"
    else:
        reason = f"p = {best.p_value:.2g} on {len(cells)} new cells"
    if len(met) < len(rivals):
        names = ", ".join(task.describe(row.setting) for row in rivals if row not in met)
        reason += f"; the budget did not suffice for {names}"
    return best, control, enough and met == rivals and best.p_value < LEVEL, reason


def _p_value(task: Task, row: Row, control: Row, cells: Sequence[int]) -> float:
    """Return p of the row against a control; 1 without cells, or if the row was dropped."""
    if not cells or not all(cell in row.scores for cell in cells):
        return 1.0
    if not _has_samples(row, control, cells):
        return paired_p_value(row.gains(control, cells))
    return crossed_p_value(*_sampled(task, row, control, cells))


def gain_of(task: Task, row: Row, other: Row, cells: Sequence[int]) -> Gain:
    """Return the gain of a row over another on these cells, which both must have; over samples if they are known."""
    if row is other:
        return Gain(0.0, 0.0, 0.0)
    if _has_samples(row, other, cells):
        return crossed_gain(*_sampled(task, row, other, cells))
    gains = row.gains(other, cells)
    if len(gains) < _FEWEST_SCORES:
        return Gain(float(np.mean(gains)) if gains else 0.0, np.inf, 0.0)
    return _paired_gain(gains)


def _has_samples(row: Row, other: Row, cells: Sequence[int]) -> bool:
    return bool(cells) and all(cell in row.right and cell in other.right for cell in cells)


def _sampled(
    task: Task, row: Row, other: Row, cells: Sequence[int]
) -> tuple[Sequence[float], Sequence[int], Sequence[int], Sequence[float] | None]:
    """Return the differences per sample, the samples and trainings that they belong to, and their weights."""
    found = [
        (int(ours) - int(theirs), sample, cell)
        for cell in cells
        for ours, theirs, sample in zip(row.right[cell], other.right[cell], task.samples(cell), strict=True)
    ]
    gains, samples, trainings = zip(*found, strict=True)
    weights = task.weights
    return gains, samples, trainings, weights and [weights[sample] for sample in samples]


def paired_p_value(differences: Sequence[float]) -> float:
    """Return the one-sided p of the hypothesis that the mean difference is not above 0, by Student's paired t test.

    With fewer than 2 differences p is 1.

    >>> round(paired_p_value([0.02, 0.03, 0.01, 0.02, 0.03]), 4)
    0.0021
    """
    return 1.0 if len(differences) < 2 else _upper_tail(_paired_gain(differences))


def _paired_gain(differences: Sequence[float]) -> Gain:
    d = np.asarray(differences, np.float64)
    return Gain(float(d.mean()), float(np.sqrt(d.var(ddof=1) / len(d))), len(d) - 1)


def crossed_p_value(
    differences: Sequence[float],
    samples: Sequence[int],
    trainings: Sequence[int],
    weights: Sequence[float] | None = None,
) -> float:
    """Return the one-sided p of the hypothesis that the (weighted) mean difference is not above 0.

    It accounts for the variation of samples and of trainings. Arguments as in `crossed_gain`. With fewer than 2 samples
    or trainings p is 1.

    >>> better, samples, trainings = [1, 1, 0, 1, 0, 1, 1, -1], [0, 1, 2, 3, 0, 1, 2, 3], [0, 0, 1, 1, 2, 2, 3, 3]
    >>> round(crossed_p_value(better, samples, trainings), 3)
    0.046
    """
    if min(len(set(samples)), len(set(trainings))) < 2:
        return 1.0
    return _upper_tail(crossed_gain(differences, samples, trainings, weights))


def crossed_gain(
    differences: Sequence[float],
    samples: Sequence[int],
    trainings: Sequence[int],
    weights: Sequence[float] | None = None,
) -> Gain:
    """Return the (weighted) mean difference, with its standard error over samples and trainings.

    Each difference belongs to a sample and to a training (of either row); differences with the same sample or the same
    training are correlated. The variance of the mean is that of the means per sample, plus that of the means per
    training minus that of independent differences, if positive. This is two-way clustering (Cameron, Gelbach and Miller
    2011), limited to at least the variance over samples. Its degrees of freedom are those of Satterthwaite (1946). With
    one training, the variance of trainings is left out; with one sample, the standard error is infinite.

    weights: weights of the differences, scaled to the sum 1; the numbers of samples and of trainings are then effective
    numbers (Kish 1965).
    """
    d = np.asarray(differences, np.float64)
    w = np.ones(len(d)) if weights is None else np.asarray(weights, np.float64)
    w = w / w.sum()
    mean = w @ d
    each = w * (d - mean)
    if len(set(samples)) < 2:
        return Gain(float(mean), np.inf, 0.0)
    of_samples, free = _clustered(each, w, samples)
    variance = of_samples
    if len(set(trainings)) > 1:
        of_trainings, free_trainings = _clustered(each, w, trainings)
        shared = max(0.0, of_trainings - np.square(each).sum())
        variance += shared
        if shared > 0:  # its uncertainty is that of the variance of trainings
            free = variance**2 / (of_samples**2 / free + of_trainings**2 / free_trainings)
    return Gain(float(mean), float(np.sqrt(variance)), free)


def _clustered(each: np.ndarray, weights: np.ndarray, clusters: Sequence[int]) -> tuple[float, float]:
    """Return the variance of a sum of terms that are correlated within clusters, and its degrees of freedom."""
    _, numbers = np.unique(clusters, return_inverse=True)
    count = float(1 / np.square(np.bincount(numbers, weights)).sum())
    variance = np.square(np.bincount(numbers, each)).sum() * count / (count - 1)
    return float(variance), count - 1


def _upper_tail(gain: Gain) -> float:
    from scipy.stats import t  # 1 s to import, needed only here

    if gain.error < _ROUNDING:
        return 0.0 if gain.mean > _ROUNDING else 1.0
    return float(t.sf(gain.mean / gain.error, gain.free))
