"""Detection of training failures of a GAN in which all numbers stay finite, from the history of a run.

collapse     the variance of samples within a class is very low, or precision is high and recall is nearly 0
saturation   the discriminator classifies nearly all images correctly, so its gradients do not train the generator
divergence   the FID is much higher than the lowest of the run, for example because the discriminator has memorised a
             small data set (Karras et al. 2020)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

# Number of steps that a condition must last to be reported: generators at the start of training meet all of them.
_LASTS = 1000
# Ratio of the FID to the lowest of the run above which the run diverges.
_DIVERGED = 1.5

Row = dict[str, Any]

GUARDS: dict[str, tuple[Callable[[Row], bool], str]] = {
    "collapse": (
        lambda row: row.get("spread", 1) < 0.1 or (row.get("recall", 1) < 0.02 and row.get("precision", 0) > 0.5),
        "the generator makes nearly identical images; try augmentation 'both' (--augment both), a lower learning rate, "
        "a higher r1_gamma, or batches with more classes",
    ),
    "saturation": (
        lambda row: row.get("real_sign", 0) > 0.95 and row.get("fake_sign", 0) < -0.95,
        "the discriminator classifies nearly all images correctly, so the generator stops improving; try "
        "augmentation 'both' (--augment both) with p='adaptive', a higher r1_gamma, or a smaller discriminator",
    ),
    "divergence": (
        lambda row: row["over_best"] > _DIVERGED,
        "the FID is much higher than the lowest of this run; the best snapshot is kept; try augmentation 'ada' "
        "(--augment ada), a higher r1_gamma, or more images",
    ),
}


def troubles(history: list[Row]) -> list[str]:
    """Return the names of the guards whose condition has lasted for the last 1000 steps or more.

    >>> troubles([{"step": 900, "spread": 0.01}, {"step": 1800, "spread": 0.01}])
    ['collapse']
    """
    rows = list(_compared(history))
    return [name for name, (hit, _) in GUARDS.items() if _lasted(rows, hit) >= _LASTS]


def _compared(history: list[Row]) -> Iterator[Row]:
    """Yield the rows, each with the ratio of its FID to the lowest so far; 1 if no FID was measured."""
    best = float("inf")
    for row in history:
        fid = row.get("fid")
        best = best if fid is None else min(best, fid)
        yield {**row, "over_best": fid / best if fid is not None and best > 0 else 1.0}


def _lasted(rows: list[Row], hit: Callable[[Row], bool]) -> int:
    """Return the number of steps for which the condition has held without interruption, up to the last row."""
    good = [row["step"] for row in rows if not hit(row)]
    return rows[-1]["step"] - max(good, default=0) if rows else 0
