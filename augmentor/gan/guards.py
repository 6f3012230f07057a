"""What goes wrong in a GAN without any number becoming infinite, read from the history of a run.

collapse     samples of a class hardly differ, or they look right and cover next to nothing of the real images
saturation   the discriminator is always right, so the generator learns nothing from it
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# A trouble counts once it has lasted as many steps; young generators show all of it.
_LASTS = 1000

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
}


def troubles(history: list[Row]) -> list[str]:
    """Names of the guards that the last rounds of a run have hit.

    >>> troubles([{"step": 900, "spread": 0.01}, {"step": 1800, "spread": 0.01}])
    ['collapse']
    """
    return [name for name, (hit, _) in GUARDS.items() if _lasted(history, hit) >= _LASTS]


def _lasted(history: list[Row], hit: Callable[[Row], bool]) -> int:
    """For how many steps up to now."""
    good = [row["step"] for row in history if not hit(row)]
    return history[-1]["step"] - max(good, default=0) if history else 0
