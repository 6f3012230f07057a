"""Numbers of samples added to each class, synthetic and oversampled; also by strategies of imbalanced-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple, TypeAlias

import torch

from .._internal.checks import is_number
from .._internal.registry import did_you_mean
from ..exceptions import InputError, UnknownNameError
from ..latents import is_class, label_keys


class Added(NamedTuple):
    """Numbers of samples added to a class: oversampled real ones and synthetic ones."""

    oversampled: int
    synthetic: int


@dataclass(frozen=True)
class Mixing:
    """Rule for added samples: small classes are oversampled, then each class gets its synthetic samples.

    ratio: number of synthetic samples per sample of a class after oversampling, >= 0. balance: from 0, no oversampling,
    to 1, all classes are oversampled to the size of the largest. The fraction of synthetic samples is the same in all
    classes; otherwise a classifier may learn that decoded images belong to small classes.

    >>> Mixing(ratio=1.0, balance=0.5).added({0: 100, 1: 20})
    {0: Added(oversampled=0, synthetic=100), 1: Added(oversampled=40, synthetic=60)}
    """

    ratio: float = 1.0
    balance: float = 0.0

    def __post_init__(self) -> None:
        if not (is_number(self.ratio) and self.ratio >= 0 and is_number(self.balance) and 0 <= self.balance <= 1):
            raise InputError(
                f"Mixing takes a ratio >= 0 and a balance from 0 to 1, got {self.ratio} and {self.balance}"
            )

    def added(self, have: dict[int, int]) -> dict[int, Added]:
        """Return the numbers added to each class, for classes of these sizes."""
        largest = max(have.values())
        filled = {label: n + round(self.balance * (largest - n)) for label, n in have.items()}
        return {label: Added(filled[label] - n, round(self.ratio * filled[label])) for label, n in have.items()}


SamplingStrategy: TypeAlias = str | dict[int, int] | Mixing | Callable[[torch.Tensor], dict[int, int]]

_TEXTS = ("auto", "not majority", "minority", "not minority", "all")


def added_counts(labels: torch.Tensor, strategy: SamplingStrategy) -> dict[int, Added]:
    """Return the numbers of samples to add, by class: synthetic ones, and with a `Mixing` oversampled real ones.

    labels: int64 (N,), or one-hot (N,K); negative numbers and rows of zeros are ignored. Raises `InputError` for
        multi-hot and soft labels, which do not give one class per sample.
    strategy: "auto", "not majority" and "all" increase all classes to the size of the largest, "minority" only the
        smallest class, "not minority" all but the smallest. A dict gives the total of each class, real and synthetic;
        a callable returns such a dict for the labels. These strategies add only synthetic samples, as SMOTE does. A
        `Mixing` gives all classes the same fraction of synthetic samples.

    >>> added_counts(torch.tensor([0, 0, 0, 1]), "auto")
    {1: Added(oversampled=0, synthetic=2)}
    """
    keys = label_keys(labels)
    keys = keys[keys >= 0]
    if not bool(is_class(keys).all()):
        raise InputError(
            "sampling_strategy needs one class per sample, and got multi-hot or soft labels; "
            "use ratio, or labels that are class numbers"
        )
    classes, counts = keys.unique(return_counts=True)
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
            raise InputError(f"sampling_strategy gave a total of {total!r} for class {label}; expected an integer")
        if total < have[label]:
            raise InputError(
                f"sampling_strategy gave a total of {total} for class {label}, which already has {have[label]} "
                "samples; expected at least this number, because it can only add samples"
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
