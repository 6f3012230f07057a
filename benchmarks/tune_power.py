"""Error rates of the test of `tune` in simulated races: ``python benchmarks/tune_power.py``.

A race is between one setting and one control, which classifies 80 % of all images correctly. Counted is how often the
setting wins by four tests: that of `tune`, the same for one of two finalists, a test over images only, and a test over
cells. Whether an image is classified correctly depends on its difficulty, on the row (LIKING), on the training
(SHARED_LUCK) and on the image in this training (LUCK).

The standard deviations follow races of the classification benchmark on MNIST with 5 and 10 labels per class. There the
difference of two trainings on one image has a standard deviation of 0.2 to 0.36 between repeats (here 0.31), and of up
to 0.19 between images after averaging over repeats (here 0.13). The means of trainings over the test images vary up to
1.2 times as much as independent images explain (here up to 1.4). Trainings on overlapping images are independent here,
although they are not in practice.
"""

from __future__ import annotations

import math
import statistics
from itertools import product

import numpy as np
from common import draw_table, record
from scipy.stats import t

from augmentor.tuning.race import FINALISTS
from augmentor.tuning.verdict import LEVEL, crossed_p_value, paired_p_value

RACES, FOLDS = 400, 3
COUNTS, REPEATS, GAINS = (50, 100, 500), (1, 2, 10), (0.0, 0.03, 0.06, 0.12)
LIKING, SHARED_LUCK, LUCK = 0.2, 0.1, 0.3  # standard deviations; that of the difficulty of images is 1
RIGHT = 0.8
SEEDS = (0, 1, 2)


def outcomes(rng: np.random.Generator, folds: np.ndarray, level: float, difficulty: np.ndarray) -> np.ndarray:
    """Return for one row whether each image is correct in each repeat: bool (repeats, images), as `folds`."""
    shared = np.take_along_axis(rng.normal(scale=SHARED_LUCK, size=(len(folds), FOLDS)), folds, axis=1)
    liking = rng.normal(scale=LIKING, size=len(difficulty))
    return level + difficulty + liking + shared + rng.normal(scale=LUCK, size=folds.shape) > 0


def level_of(right: float) -> float:
    """Return the level at which a row classifies this fraction of all images correctly."""
    return math.sqrt(1 + LIKING**2 + SHARED_LUCK**2 + LUCK**2) * statistics.NormalDist().inv_cdf(right)


def race(seed: int, count: int, repeats: int, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Return setting minus control (-1, 0 or 1) and the number of the fold, both (repeats, count)."""
    rng = np.random.default_rng([seed, count, repeats, round(1000 * gain)])
    folds = rng.permuted(np.tile(np.arange(count) % FOLDS, (repeats, 1)), axis=1)
    difficulty = rng.normal(size=count)
    ours, theirs = (outcomes(rng, folds, level_of(RIGHT + up), difficulty) for up in (gain, 0.0))
    return ours.astype(float) - theirs, folds


def by_tune(differences: np.ndarray, folds: np.ndarray) -> float:
    """Return the one-sided p of `tune`, which accounts for the variance of images and of trainings."""
    repeats, count = differences.shape
    trainings = FOLDS * np.arange(repeats)[:, None] + folds
    return crossed_p_value(differences.ravel(), np.tile(np.arange(count), repeats), trainings.ravel())


def by_tune_of_two(differences: np.ndarray, folds: np.ndarray) -> float:
    """Return the p of `tune` for two finalists."""
    return FINALISTS * by_tune(differences, folds)


def by_image(differences: np.ndarray, folds: np.ndarray) -> float:
    """Return the one-sided p of Student's test over images only; with one repeat it is close to McNemar's."""
    return paired_p_value(differences.mean(0))


def by_cell(differences: np.ndarray, folds: np.ndarray) -> float:
    """Return the one-sided p of the corrected resampled t test over cells (Nadeau and Bengio 2003)."""
    cells = [
        row[fold == number].mean() for row, fold in zip(differences, folds, strict=True) for number in range(FOLDS)
    ]
    error = np.sqrt((1 / len(cells) + 1 / (FOLDS - 1)) * np.var(cells, ddof=1))
    return float(t.sf(np.mean(cells) / error, len(cells) - 1)) if error else 1.0


def variation(differences: np.ndarray) -> tuple[float, float]:
    """Return the standard deviations of the difference on one image, between repeats and between images."""
    within = differences.var(axis=0, ddof=1).mean()
    return float(np.sqrt(within)), float(np.sqrt(differences.mean(0).var(ddof=1) - within / len(differences)))


TESTS = {"tune": by_tune, "tune, two finalists": by_tune_of_two, "images": by_image, "cells": by_cell}


def main() -> None:
    rows = {}
    for count, repeats in product(COUNTS, REPEATS):
        row = rows[f"{count} images, {repeats} repeat{'s' * (repeats > 1)}"] = {name: {} for name in TESTS}
        for gain in GAINS:
            races = [[race(RACES * seed + number, count, repeats, gain) for number in range(RACES)] for seed in SEEDS]
            for name, p_value in TESTS.items():
                row[name][f"{gain:g}"] = [statistics.fmean(p_value(*one) < LEVEL for one in seed) for seed in races]
    within, between = variation(race(0, 20000, 40, 0.0)[0])
    heads = [f"{100 * gain:g} points" if gain else "no gain" for gain in GAINS]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (1 + len(GAINS)) + "|"]
    for name, row in rows.items():
        cells = [
            " / ".join(f"{100 * statistics.fmean(row[test][f'{gain:g}']):.0f}" for test in TESTS) for gain in GAINS
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    print("\n".join(lines))
    print(f"standard deviation of a difference: {within:.2f} between repeats, {between:.2f} between images")
    model = {"liking": LIKING, "shared_luck": SHARED_LUCK, "luck": LUCK, "right": RIGHT}
    record("tune-power", {"races": RACES, "seeds": SEEDS, **model, "within": within, "between": between}, rows)
    draw_table("tune-power", lines)


if __name__ == "__main__":
    main()
