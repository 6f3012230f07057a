"""The pieces of work of a race, each done within a limit of time and kept in the journal."""

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
    """A piece of work would pass its limit, or did."""


class Work:
    """Opens the task, prepares cells and scores settings, unless the journal has it; notes how long each took.

    Limits are seconds of the whole race; every method raises `OutOfTime` at its limit.
    cost: the task's estimate, 0 where there is none. opened, prepared, slowest: seconds that opening, each cell's
    preparation and the slowest training took.
    """

    def __init__(self, task: Task, journal: Journal, bar: tqdm):
        self.task, self.journal, self.bar = task, journal, bar
        self.cost = Cost(0.0, 0.0)
        self.opened, self.slowest = 0.0, 0.0
        self.prepared: dict[int, float] = {}

    def preparing(self) -> float:
        """Seconds that preparing a cell takes on average."""
        return statistics.fmean(self.prepared.values()) if self.prepared else self.cost.prepare

    def closing(self) -> float:
        """Seconds that closing will take: a preparation with all the data, and not with all but a fold."""
        folds = self.task.folds
        return max(self.prepared.values(), default=self.cost.prepare) * (folds / (folds - 1) if folds > 1 else 1)

    def scoring(self, row: Row) -> float:
        """Seconds that scoring a row on a cell takes on average."""
        guess = self.cost.control if row.is_control else self.cost.setting
        return statistics.fmean(row.seconds) if row.seconds else guess or self.slowest

    def estimate(self, limit: float) -> None:
        """What everything will cost, where the task can tell."""
        if self.task.estimates:
            line = self._timed({"estimate": self.task.name}, limit, 0.0, lambda _: {"cost": self.task.estimate()})
            self.cost = Cost(*line["cost"])

    def open(self, limit: float) -> None:
        """The first step, where the task has one."""
        if self.task.opens:
            self.opened = self._timed({"open": self.task.name}, limit, 0.0, self.task.open)["seconds"]

    def score(self, row: Row, cell: int, limit: float) -> None:
        """Score a setting on a cell, once."""
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
        """The journal's entry about a piece of work, which is done if there is none; expected: seconds."""
        if self.journal.elapsed + expected > limit:  # of recorded times, so that a replay decides the same
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
