"""The pieces of work of a race, each done within a time limit and recorded in the journal."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

from tqdm import tqdm

from ..exceptions import AugmentorError, BudgetError
from .journal import Journal
from .row import Row
from .task import Cost, Score, Task


class OutOfTime(Exception):
    """Raised if a piece of work would exceed its time limit, or has exceeded it."""


class Work:
    """Executor of a race: opens the task, prepares cells and scores settings, unless the journal has the result.

    Limits are seconds of the whole race, over all runs; methods that take one raise `OutOfTime` at the limit.
    cost: the estimate of the task, 0 without one. opened, prepared, slowest: seconds of opening, of preparing each
    cell, and of the slowest training.
    """

    def __init__(self, task: Task, journal: Journal, bar: tqdm):
        self.task, self.journal, self.bar = task, journal, bar
        self.cost = Cost(0.0, 0.0)
        self.opened, self.slowest = 0.0, 0.0
        self.prepared: dict[int, float] = {}

    def preparing(self) -> float:
        """Return the mean seconds of preparing a cell."""
        return statistics.fmean(self.prepared.values()) if self.prepared else self.cost.prepare

    def closing(self) -> float:
        """Return the expected seconds of closing: a preparation, scaled from the training part to all data."""
        folds = self.task.folds
        return max(self.prepared.values(), default=self.cost.prepare) * (folds / (folds - 1) if folds > 1 else 1)

    def scoring(self, row: Row) -> float:
        """Return the mean seconds of scoring a row on a cell."""
        guess = self.cost.control if row.is_control else self.cost.setting
        return statistics.fmean(row.seconds) if row.seconds else guess or self.slowest

    def estimate(self, limit: float) -> None:
        """Estimate the costs, if the task can."""
        if self.task.estimates:
            line = self._timed({"estimate": self.task.name}, limit, 0.0, lambda _: {"cost": self.task.estimate()})
            self.cost = Cost(*line["cost"])

    def open(self, limit: float) -> None:
        """Open the task, if it has something to open."""
        if self.task.opens:
            self.opened = self._timed({"open": self.task.name}, limit, 0.0, self.task.open)["seconds"]

    def score(self, row: Row, cell: int, limit: float) -> None:
        """Score a setting on a cell, unless it already has a score there."""
        if cell in row.scores:
            return
        if self.task.prepares and not row.is_control and cell not in self.prepared:
            expected = max(self.prepared.values(), default=self.cost.prepare)
            line = self._timed({"prepare": cell}, limit, expected, partial(self.task.prepare, cell))
            self.prepared[cell] = line["seconds"]
        setting = dict(row.setting)
        evaluate = partial(self._evaluate, setting, cell)
        guess = max(self.slowest, self.cost.control if row.is_control else self.cost.setting)
        line = self._timed({"setting": setting, "cell": cell}, limit, max(row.seconds, default=guess), evaluate)
        row.seconds.append(line["seconds"])
        self.slowest = max(self.slowest, line["seconds"])
        if line["error"] is None:
            row.scores[cell] = line["score"]
            if "right" in line:
                row.right[cell] = line["right"]
        else:
            row.fate, row.unusable = line["error"], True

    def _evaluate(self, setting: dict[str, Any], cell: int, deadline: float) -> dict[str, Any]:
        try:
            found = self.task.evaluate(setting, cell, deadline)
        except BudgetError:
            raise
        except AugmentorError as error:
            if "control" in setting:
                raise
            return {"score": None, "error": " ".join(str(error).split())}
        score, right = found if isinstance(found, Score) else Score(found)
        outcomes = {} if right is None else {"right": "".join("01"[bool(each)] for each in right)}
        return {"score": float(score), "error": None, **outcomes}

    def _timed(
        self, what: dict[str, Any], limit: float, expected: float, work: Callable[[float], dict[str, Any] | None]
    ) -> dict[str, Any]:
        """Return the journal entry of a piece of work, and do the work if there is none. expected: its seconds."""
        if self.journal.elapsed + expected > limit:  # recorded times only, so that a replay decides the same
            raise OutOfTime
        line = self.journal.replay(what)
        if line is None:
            began, before = self.task.clock(), self.journal.now()
            try:
                found = work(began + limit - before) or {}
            except BudgetError:
                found = {"stopped": True}
            line = self.journal.add({**what, **found, "seconds": round(self.task.clock() - began, 3)})
        self.bar.update(min(self.journal.elapsed, self.bar.total) - self.bar.n)
        if "stopped" in line:
            raise OutOfTime
        return line
