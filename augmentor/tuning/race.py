"""The race: settings against controls, cell by cell, under a budget of time; then a final on fresh cells.

The search asks optuna's tree-structured Parzen estimator (Bergstra et al. 2011) for settings, and its asynchronous
successive halving (Li et al. 2020) for when to give one up; half-way, one that is not ahead of every control is given
up as well. The controls run on every cell that any setting reaches.
The best few settings and the controls then meet on cells that decided nothing before, because the best of many noisy
scores is too good to be true. A setting has to beat every control there.
"""

from __future__ import annotations

import itertools
import math
import statistics
from typing import Any

from tqdm import tqdm

from .._internal.random import fold
from ..exceptions import BudgetError, InputError
from .journal import Journal
from .row import Outcome, Row
from .task import Setting, Task
from .verdict import decide, rivals_of
from .work import OutOfTime, Work

# The search ends when this share of the budget, without what opening took, is used; or earlier if the smallest final
# would not fit, or later if the largest will. Most of what makes a small gain doubtful is the luck of single trainings,
# which repeats average out.
SEARCH_SHARE = 0.4
FINALISTS = 2
# Cells of the final, rounded up to whole repeats: at most, for more than one finalist, and at least. Where the verdict
# is over samples, whole repeats, but at least two trainings, as one tells nothing.
MOST_CELLS, SEVERAL_CELLS, FEWEST_CELLS = 10, 5, 5
MOST_REPEATS, SEVERAL_REPEATS, FEWEST_REPEATS = 10, 5, 1
FEWEST_TRAININGS = 2


class Race:
    """One race of a task's settings; `run` gives the outcome.

    budget: seconds; no work is started that would pass it by what work took so far. seed: of the search.
    Raises `BudgetError` where not even the controls and a final can fit.
    """

    def __init__(self, task: Task, journal: Journal, *, budget: float, seed: int, progress: bool = True):
        self.task, self.budget, self.seed = task, budget, seed
        self.sign = 1 if task.larger_is_better else -1
        self.controls = [Row({"control": name}, self.sign) for name in task.controls]
        self.candidates: list[Row] = []
        self.search = range(task.search_cells)
        self._plan_final(*map(self._whole, (MOST_CELLS, SEVERAL_CELLS, FEWEST_CELLS)))
        bar = tqdm(total=budget, unit="s", desc="search", delay=2, disable=not progress,
                   bar_format="{desc}: {n:.0f} of {total:.0f} s |{bar}| {postfix}")  # fmt: skip
        self.work = Work(task, journal, bar)

    def run(self) -> Outcome:
        """Controls, search, final, verdict."""
        try:
            self._open()
            self._first_controls()
            untried = self._search()
            rivals = rivals_of(self.controls, self.search)
            finalists = self._finalists(rivals)
            self._final([*rivals, *finalists])
            self.task.close()
        finally:
            self.work.bar.close()
        decided = decide(self.task, rivals, finalists, self.final, self._fewest)
        return Outcome(self.controls, self.candidates, *decided, untried, self.search, self.final)

    def _open(self) -> None:
        try:
            self.work.open(self.budget)
        except OutOfTime:
            raise BudgetError(
                f"a budget of {self.budget:g} s is too small: it was spent before the first control; allow more"
            ) from None

    def _first_controls(self) -> None:
        """The controls on the first cell, which also say what everything costs."""
        try:
            for row in self.controls:
                self.work.score(row, 0, self.budget)
        except OutOfTime:
            raise self._too_small() from None
        if all(row.right for row in self.controls):
            folds = self.task.folds
            fewest = max(FEWEST_TRAININGS, FEWEST_REPEATS * folds)
            self._plan_final(MOST_REPEATS * folds, SEVERAL_REPEATS * folds, fewest)
        if self._least() > self.budget:
            raise self._too_small()

    def _plan_final(self, most: int, several: int, fewest: int) -> None:
        """It takes so many cells, after those of the search; with more than one finalist where `several` fit."""
        start = self._whole(len(self.search))
        self.final, self._several, self._fewest = range(start, start + most), several, fewest

    def _search(self) -> int:
        """Ask, score, prune or keep, until the search's share is spent; how many settings were never scored."""
        import optuna  # 1 s to import, needed only here

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
        study = optuna.create_study(direction="maximize" if self.task.larger_is_better else "minimize", pruner=pruner)
        untried = [dict(zip(self.task.space, values, strict=True))
                   for values in itertools.product(*self.task.space.values())]  # fmt: skip
        for setting in self.task.first({str(row.setting["control"]): row.scores[0] for row in self.controls}):
            if setting in untried:
                study.enqueue_trial(dict(setting))
        number, total = 0, len(untried)
        try:
            while untried:
                # A sampler of its own for each question, so that the answers do not depend on who asked before.
                study.sampler = optuna.samplers.TPESampler(seed=fold(self.seed, "ask", number) % 2**32)
                trial = study.ask()
                setting = {name: trial.suggest_categorical(name, values) for name, values in self.task.space.items()}
                if setting in untried:
                    untried.remove(setting)
                    self._run_candidate(study, trial, setting)
                else:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                    study.enqueue_trial(untried[fold(self.seed, "untried", number) % len(untried)])
                number += 1
        except OutOfTime:
            pass
        return total - len(self.candidates)

    def _run_candidate(self, study: Any, trial: Any, setting: Setting) -> None:
        from optuna.trial import TrialState

        row = Row(setting, self.sign)
        for cell in self.search:
            for each in (*self.controls, row):
                self.work.score(each, cell, self._search_limit())
            if cell == 0:
                self.candidates.append(row)
                self.work.bar.set_postfix_str(f"{len(self.candidates)} settings tried", refresh=False)
            if row.fate:
                study.tell(trial, state=TrialState.FAIL)
                return
            trial.report(statistics.fmean(row.scores.values()), cell + 1)
            if cell + 1 < len(self.search) and (trial.should_prune() or self._is_behind(row, cell + 1)):
                row.fate = f"pruned after {cell + 1}"
                study.tell(trial, state=TrialState.PRUNED)
                return
        study.tell(trial, statistics.fmean(row.scores.values()))

    def _is_behind(self, row: Row, cells: int) -> bool:
        """Whether a setting has to be given up half-way, because some control is as good."""
        done = range(cells)
        return cells == len(self.search) // 2 and any(
            control.level(done) >= row.level(done) for control in self.controls
        )

    def _finalists(self, rivals: list[Row]) -> list[Row]:
        """The settings that came furthest, the best of them first; one fewer if there is no time for all."""
        usable = [row for row in self.candidates if row.scores and not row.unusable]
        ranked = sorted(usable, key=lambda row: row.rank(self.search), reverse=True)
        if not ranked:
            reasons = {row.fate for row in self.candidates if row.unusable}
            if reasons:
                raise InputError(
                    f"none of {len(self.candidates)} settings can be used here: {'; '.join(sorted(reasons)[:3])}"
                )
            raise self._too_small()
        finalists = ranked[:FINALISTS]
        left = self.budget - self.work.closing() - self.work.journal.elapsed
        while len(finalists) > 1 and self._several * self._round_seconds([*rivals, *finalists]) > left:
            finalists.pop()
        return finalists

    def _final(self, rows: list[Row]) -> None:
        """Whole repeats of fresh cells, each cell for all rows, while there is time."""
        self.work.bar.set_description_str("final", refresh=False)
        limit = self.budget - self.work.closing()
        for start in self.final[:: self.task.folds]:
            cells = range(start, start + self.task.folds)
            try:
                if self.work.journal.elapsed + len(cells) * self._round_seconds(rows) > limit:
                    return
                for cell, row in itertools.product(cells, rows):
                    self.work.score(row, cell, limit)
            except OutOfTime:  # half a repeat is no comparison
                for cell, row in itertools.product(cells, rows):
                    row.scores.pop(cell, None)
                return

    def _too_small(self) -> BudgetError:
        return BudgetError(
            f"a budget of {self.budget:g} s is too small: the controls, one setting and a final take at least about "
            f"{math.ceil(self._least())} s here; allow more, or make a run shorter (steps)"
        )

    def _least(self) -> float:
        """Seconds that the smallest race would take, from what the controls took on the first cell."""
        work = self.work
        if work.stopped is not None:  # not even those: a guess from what was done of the one that was stopped
            slowest = max(work.slowest, work.stopped["seconds"] / max(work.stopped["stopped"], 0.01))
            return work.opened + (len(self.controls) + 1) * (1 + self._fewest) * slowest
        return work.journal.elapsed + work.slowest + self._final_seconds(self._fewest) + work.closing()

    def _search_limit(self) -> float:
        """When the search has to end, so that the final still fits."""
        left = self.budget - self.work.closing()
        largest = self._final_seconds(len(self.final), FINALISTS)
        share = self.work.opened + SEARCH_SHARE * (self.budget - self.work.opened)
        return min(max(share, left - largest), left - self._final_seconds(self._fewest))

    def _final_seconds(self, cells: int, finalists: int = 1) -> float:
        """A final of all controls and of settings as slow as any so far."""
        controls = [statistics.fmean(row.seconds or [self.work.slowest]) for row in self.controls]
        settings = [statistics.fmean(row.seconds) for row in self.candidates if row.seconds]
        return cells * (self.work.preparing() + sum(controls) + finalists * max([*controls, *settings]))

    def _round_seconds(self, rows: list[Row]) -> float:
        """One cell of the final."""
        return self.work.preparing() + sum(statistics.fmean(row.seconds) for row in rows)

    def _whole(self, cells: int) -> int:
        """So many cells or a few more, in whole repeats."""
        return -(-cells // self.task.folds) * self.task.folds
