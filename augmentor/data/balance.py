"""How many samples each class gets besides its own, in the terms of imbalanced-learn."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import TypeAlias

import torch

from .._internal.registry import did_you_mean
from ..exceptions import InputError, UnknownNameError
from ..latents import class_index
from .mixing import Added, Mixing

SamplingStrategy: TypeAlias = str | dict[int, int] | Mixing | Callable[[torch.Tensor], dict[int, int]]

_TEXTS = ("auto", "not majority", "minority", "not minority", "all")


def added_counts(labels: torch.Tensor, strategy: SamplingStrategy) -> dict[int, Added]:
    """Class => what is to be added to it: synthetic samples, and with a `Mixing` repeats of real ones.

    labels: int64 (N,), or float (N,K) of which the heaviest class counts.
    strategy: "auto" or "not majority" fills every other class up to the largest, "minority" only the smallest,
        "not minority" all but the smallest, "all" every class; a dict says the wanted total of each class, real
        and synthetic together; a callable makes such a dict from the labels. These fill up with synthetic samples
        alone, as SMOTE does. A `Mixing` keeps the synthetic share the same in all classes.

    >>> added_counts(torch.tensor([0, 0, 0, 1]), "auto")
    {1: Added(oversampled=0, synthetic=2)}
    """
    classes, counts = class_index(labels).unique(return_counts=True)
    have = dict(zip(classes.tolist(), counts.tolist(), strict=True))
    if isinstance(strategy, Mixing):
        return {label: added for label, added in strategy.added(have).items() if any(added)}
    wanted = strategy(labels) if callable(strategy) else strategy
    if isinstance(wanted, str):
        wanted = _wanted_totals(have, wanted)
    if not isinstance(wanted, dict):
        raise InputError(f"sampling_strategy gave {type(wanted).__name__}; expected a dict class -> total")
    for label, total in wanted.items():
        if label not in have:
            raise InputError(f"sampling_strategy names class {label}; the data has classes {sorted(have)}")
        if not isinstance(total, Integral):
            raise InputError(f"sampling_strategy wants {total!r} samples of class {label}; expected a whole number")
        if total < have[label]:
            raise InputError(
                f"sampling_strategy wants {total} samples of class {label}, which has {have[label]} already; "
                "it can only add: ask for at least as many"
            )
    return {label: Added(0, int(total) - have[label]) for label, total in sorted(wanted.items()) if total > have[label]}


def _wanted_totals(have: dict[int, int], strategy: str) -> dict[int, int]:
    largest, smallest = max(have.values()), min(have.values())
    match strategy:
        case "auto" | "not majority" | "all":
            chosen = list(have)
        case "minority":
            chosen = [next(label for label, count in have.items() if count == smallest)]
        case "not minority":
            minority = next(label for label, count in have.items() if count == smallest)
            chosen = [label for label in have if label != minority]
        case _:
            raise UnknownNameError(f"unknown sampling_strategy {strategy!r}{did_you_mean(strategy, _TEXTS)}")
    return dict.fromkeys(chosen, largest)
