"""What goes wrong in a GAN without any number becoming infinite, read from the history of a run.

collapse     samples of a class hardly differ, or they look right and cover next to nothing of the real images
saturation   the discriminator is always right, so the generator learns nothing from it
divergence   samples are much farther from the real images than they were, as where a discriminator knows few images by
             heart (Karras et al. 2020)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

# A trouble counts once it has lasted as many steps; young generators show all of it.
_LASTS = 1000
# An FID that is so many times the best one.
_DIVERGED = 1.5

Row = dict[str, Any]

GUARDS: dict[str, tuple[Callable[[Row], bool], str]] = {
    "collapse": (
        lambda row: row.get("spread", 1) < 0.1 or (row.get("recall", 1) < 0.02 and row.get("precision", 0) > 0.5),
        "the generator makes nearly the same image again and again; try augment='both', a lower rate, a higher "
        "r1_gamma, or more classes of images in a batch",
    ),
    "saturation": (
        lambda row: row.get("real_sign", 0) > 0.95 and row.get("fake_sign", 0) < -0.95,
        "the discriminator is always right, and so teaches nothing; try augment='both' with p='adaptive', a higher "
        "r1_gamma, or a smaller discriminator",
    ),
    "divergence": (
        lambda row: row["over_best"] > _DIVERGED,
        "samples were much nearer to the real images before; the best snapshot is kept; try augment='ada', a higher "
        "r1_gamma, or more images",
    ),
}


def troubles(history: list[Row]) -> list[str]:
    """Names of the guards that the last rounds of a run have hit.

    >>> troubles([{"step": 900, "spread": 0.01}, {"step": 1800, "spread": 0.01}])
    ['collapse']
    """
    rows = list(_compared(history))
    return [name for name, (hit, _) in GUARDS.items() if _lasted(rows, hit) >= _LASTS]


def _compared(history: list[Row]) -> Iterator[Row]:
    """The rows, each with its FID in units of the lowest so far; 1 where none was measured."""
    best = float("inf")
    for row in history:
        fid = row.get("fid")
        best = best if fid is None else min(best, fid)
        yield {**row, "over_best": fid / best if fid is not None and best > 0 else 1.0}


def _lasted(rows: list[Row], hit: Callable[[Row], bool]) -> int:
    """For how many steps up to now."""
    good = [row["step"] for row in rows if not hit(row)]
    return rows[-1]["step"] - max(good, default=0) if rows else 0
