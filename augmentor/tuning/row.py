"""What takes part in a race, and how the race ended."""

from __future__ import annotations

import math
import statistics
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

from .task import Setting


@dataclass
class Row:
    """One setting or control, and what was measured of it.

    sign: 1 where larger scores are better, else -1. scores, right: by cell, the latter "0" or "1" for each test sample
    where the task tells. seconds: of each training. fate: why it is no longer in the race. unusable: `fate` says why it
    cannot be used here.
    """

    setting: Setting
    sign: int
    scores: dict[int, float] = field(default_factory=dict)
    right: dict[int, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    fate: str = ""
    unusable: bool = False
    p_value: float | None = None

    @property
    def is_control(self) -> bool:
        """Whether it is what the others have to beat."""
        return "control" in self.setting

    def on(self, cells: Container[int]) -> list[float]:
        """Its scores on those of these cells that it has, in their order."""
        return [score for cell, score in sorted(self.scores.items()) if cell in cells]

    def level(self, cells: Container[int]) -> float:
        """Its mean score on these cells, negated where smaller scores are better; NaN on none."""
        found = self.on(cells)
        return self.sign * statistics.fmean(found) if found else math.nan

    def rank(self, cells: Container[int]) -> tuple[int, float]:
        """Larger for a row that came further, or as far with a better mean on these cells."""
        return len(self.scores), self.level(cells) if self.scores else 0.0

    def gains(self, other: Row, cells: Iterable[int]) -> list[float]:
        """By how much it is better than another row on each of these cells, which both have."""
        return [self.sign * (self.scores[cell] - other.scores[cell]) for cell in cells]


@dataclass
class Outcome:
    """The best setting, whether it won, the best control, and all that took part.

    untried: the number of settings that were never scored. search, final: numbers of the cells.
    """

    controls: list[Row]
    candidates: list[Row]
    best: Row
    control: Row
    won: bool
    reason: str
    untried: int
    search: range
    final: range


def best_of(rows: Sequence[Row]) -> Row:
    """The row with the best mean over the cells that all rows have."""
    shared = set.intersection(*(set(row.scores) for row in rows))
    return max(rows, key=lambda row: row.level(shared))
