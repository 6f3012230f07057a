"""The rows of a race, settings and controls, and its outcome."""

from __future__ import annotations

import math
import statistics
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

from .task import Setting


@dataclass
class Row:
    """Setting or control with its measurements.

    sign: 1 if larger scores are better, else -1. scores: cell => score. right: cell => text with "1" per correctly
    classified test sample and "0" per other, for tasks that give it. seconds: of each training. fate: why the row was
    dropped. unusable: whether `fate` is an error that prevents its use.
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
        """Whether the row is a control."""
        return "control" in self.setting

    def on(self, cells: Container[int]) -> list[float]:
        """Return the existing scores on these cells, in the order of the cells."""
        return [score for cell, score in sorted(self.scores.items()) if cell in cells]

    def level(self, cells: Container[int]) -> float:
        """Return the mean score on these cells, negated if smaller scores are better; NaN without scores."""
        found = self.on(cells)
        return self.sign * statistics.fmean(found) if found else math.nan

    def rank(self, cells: Container[int]) -> tuple[int, float]:
        """Return a sort key: the number of scored cells, then the mean score on these cells."""
        return len(self.scores), self.level(cells) if self.scores else 0.0

    def gains(self, other: Row, cells: Iterable[int]) -> list[float]:
        """Return the gain over another row on each of these cells, which both must have."""
        return [self.sign * (self.scores[cell] - other.scores[cell]) for cell in cells]


@dataclass
class Outcome:
    """Outcome of a race: the best setting, whether it won, the best control, and all rows.

    untried: number of settings that were not scored. search, final: numbers of the cells.
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
    """Return the row with the best mean over the cells that all rows have."""
    shared = set.intersection(*(set(row.scores) for row in rows))
    return max(rows, key=lambda row: row.level(shared))
