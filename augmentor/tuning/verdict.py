"""The statistics of the final: which controls it needs, and whether a setting is better or only luckier."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

from .row import Row, best_of
from .task import Task

LEVEL = 0.05
# A control so many standard errors behind the best one, on at least so many cells, is spared the final.
HOPELESS, HOPELESS_CELLS = 3.0, 4

# A mean of differences of scores that is smaller is 0.
_ROUNDING = 1e-12


def rivals_of(controls: list[Row], search: range) -> list[Row]:
    """The controls that the final needs: all but those that are far behind the best one on the cells of the search."""
    best = best_of(controls)
    for row in controls:
        gaps = best.gains(row, [cell for cell in search if cell in row.scores and cell in best.scores])
        if len(gaps) >= HOPELESS_CELLS:
            error = statistics.stdev(gaps) / math.sqrt(len(gaps))
            row.fate = "far behind" if statistics.fmean(gaps) > HOPELESS * error else ""
    return [row for row in controls if not row.fate]


def decide(
    task: Task, rivals: list[Row], finalists: list[Row], final: range, fewest: int
) -> tuple[Row, Row, bool, str]:
    """The best setting, the best control, whether the setting beats every rival, and why; fewest: cells to tell.

    A control that the final had no time for is not beaten: the p is then that of the others.
    """
    usable = [row for row in finalists if not row.unusable]
    cells = [cell for cell in final if all(cell in row.scores for row in usable)]
    met = [row for row in rivals if all(cell in row.scores for cell in cells)]
    control = best_of(met or rivals)
    cells = [cell for cell in cells if cell in control.scores]
    for row in finalists:
        # It has to beat every control: the largest p is that of all (an intersection-union test, Berger 1982). And
        # the better of several settings is taken, so each has to be as much surer (Bonferroni).
        row.p_value = min(1.0, len(finalists) * max(_p_value(task, row, rival, cells) for rival in met or rivals))
    best = min(finalists, key=lambda row: row.p_value or 0.0)
    assert best.p_value is not None
    enough = len(cells) >= fewest
    if not enough:
        reason = f"the budget allowed {len(cells)} of at least {fewest} cells of the final"
    elif control.right:
        count = sum(len(control.right[cell]) for cell in cells[: task.folds])
        repeats = len(cells) // task.folds
        reason = f"p {best.p_value:.2g} over {count} samples, {repeats} fresh repeat{'s' * (repeats > 1)}"
    else:
        reason = f"p {best.p_value:.2g} on {len(cells)} fresh cells"
    if enough and len(met) < len(rivals):
        names = ", ".join(task.describe(row.setting) for row in rivals if row not in met)
        reason += f"; the budget ended before {names}"
    return best, control, enough and met == rivals and best.p_value < LEVEL, reason


def _p_value(task: Task, row: Row, control: Row, cells: Sequence[int]) -> float:
    """Over samples where each one's outcome is known, else over cells; 1 without any, or if the row dropped out."""
    if not cells or not all(cell in row.scores for cell in cells):
        return 1.0
    if not all(cell in row.right and cell in control.right for cell in cells):
        return paired_p_value(row.gains(control, cells))
    found = [
        (int(ours) - int(theirs), sample, cell)
        for cell in cells
        for ours, theirs, sample in zip(row.right[cell], control.right[cell], task.samples(cell), strict=True)
    ]
    gains, samples, trainings = zip(*found, strict=True)
    weights = task.weights
    return crossed_p_value(gains, samples, trainings, weights and [weights[sample] for sample in samples])


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
    count = float(1 / np.square(np.bincount(numbers, weights)).sum())
    variance = np.square(np.bincount(numbers, each)).sum() * count / (count - 1)
    return float(variance), count - 1


def _upper_tail(mean: float, variance: float, free: float) -> float:
    from scipy.stats import t  # 1 s to import, needed only here

    error = np.sqrt(variance)
    if error < _ROUNDING:
        return 0.0 if mean > _ROUNDING else 1.0
    return float(t.sf(mean / error, free))
