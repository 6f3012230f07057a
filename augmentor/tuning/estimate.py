"""Estimation of the time of long work from short work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from ..exceptions import AugmentorError
from .task import Setting


def seconds_each(work: Callable[[int], Any], enough: float = 0.3) -> float:
    """Return the seconds per step of `work(steps)`; the number of steps is doubled until they take `enough` seconds.

    >>> 0.001 < seconds_each(lambda steps: time.sleep(0.002 * steps)) < 0.1
    True
    """
    work(2)  # the first call is slower, for example because it chooses kernels
    steps, taken = 2, 0.0
    while taken < enough:
        began = time.monotonic()
        work(steps)
        taken, each = time.monotonic() - began, (time.monotonic() - began) / steps
        steps *= 2
    return each


def first_usable(seconds: Callable[[Setting], float], settings: Iterable[Setting]) -> float:
    """Return the seconds of the first setting whose policy can be used on these data; 0 if there is none.

    >>> first_usable(lambda setting: setting["ratio"] * 10, [{"policy": "guided", "ratio": 0.5}])
    5.0
    """
    unusable = set()
    for setting in settings:
        if setting["policy"] not in unusable:
            try:
                return seconds(setting)
            except AugmentorError:
                unusable.add(setting["policy"])
    return 0.0
