"""How many synthetic samples and repeats of real ones join each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .._internal.checks import is_number
from ..exceptions import InputError


class Added(NamedTuple):
    """What joins the samples of a class: some of them again as they are, and synthetic ones."""

    oversampled: int
    synthetic: int


@dataclass(frozen=True)
class Mixing:
    """How many samples join the real ones: repeats fill small classes up, then each class gets its synthetic ones.

    ratio: synthetic samples for each sample of a class so filled, >= 0. balance: 0 to 1, how far smaller classes are
    filled up to the largest. So the synthetic share is the same in all classes: where it is not, a classifier learns
    that what looks decoded is of a small class.

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
        """For each class what joins it, for classes of these sizes."""
        largest = max(have.values())
        filled = {label: n + round(self.balance * (largest - n)) for label, n in have.items()}
        return {label: Added(filled[label] - n, round(self.ratio * filled[label])) for label, n in have.items()}
