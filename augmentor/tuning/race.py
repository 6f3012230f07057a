"""The race: controls, then settings on top of the best of them, cell by cell, within a budget of time; then a final.

It begins with what the smallest useful race would take: one setting against the default control, without a search. A
smaller budget is refused at once; a larger one goes to that final first, then to the other controls, then to the search
and to more repeats. Controls that do not fit are left out. If settings turn out so slow that no final fits, what is
left of the budget goes to the controls.
The controls race first. Half of them leave after each rung (successive halving, Jamieson and Talwalkar 2016), and so
does any that is far behind; the default stays.
The search asks optuna's tree-structured Parzen estimator (Bergstra et al. 2011) for settings, and its asynchronous
successive halving (Li et al. 2020) for when to give one up; half-way, one that is not ahead of every control is given
up as well. The controls that are left run on every cell that any setting reaches.
The best few settings and these controls then meet on cells that decided nothing before, because the best of many noisy
scores is too good to be true. A setting has to beat every control there.
"""

from __future__ import annotations

import itertools
import math
import statistics
import sys
from typing import Any

from tqdm import tqdm

from .._internal.progress import progress_bar
from .._internal.random import fold, seeded
from ..exceptions import BudgetError, InputError
from .journal import Journal
from .row import Outcome, Row
from .task import Setting, Task, in_order
from .verdict import MOST_RIVALS, decide, recommended, survivors
from .work import OutOfTime, Work

# The race of the controls and the search end when these shares of the budget, without what opening took, are used; or
# earlier if the smallest final would not fit, or later if the largest will. Most of what makes a small gain doubtful is
# the luck of single trainings, which repeats average out.
CONTROL_SHARE, SEARCH_SHARE = 0.35, 0.55
FINALISTS = 2
# Cells of the final, rounded up to whole repeats: at most, for more than one finalist, and at least. Where the verdict
# is over samples, whole repeats, but at least two trainings, as one tells nothing.
MOST_CELLS, SEVERAL_CELLS, FEWEST_CELLS = 10, 5, 5
MOST_REPEATS, SEVERAL_REPEATS, FEWEST_REPEATS = 10, 5, 1
FEWEST_TRAININGS = 2
# An estimate from a few steps may be so much too low.
MARGIN = 1.25


class Race:
    """One race of a task's settings; `run` gives the outcome.

    budget: seconds; no work is started that would pass it by what work took so far. seed: of the search.
    Raises `BudgetError` where not even two controls on one cell and a final of one setting and one control can fit.
    """

    def __init__(self, task: Task, journal: Journal, *, budget: float, seed: int, progress: bool = True):
        self.task, self.budget, self.seed = task, budget, seed
        self.sign = 1 if task.larger_is_better else -1
        self.controls = [Row({"control": name}, self.sign) for name in task.controls]
        self.candidates: list[Row] = []
        self.search = range(task.search_cells)
        self._plan_final()
        bar = progress_bar(total=budget, unit="s", desc="search", show=progress,
                           bar_format="{desc}: {n:.0f} of {total:.0f} s |{bar}| {postfix}")  # fmt: skip
        self.work = Work(task, journal, bar)

    def run(self) -> Outcome:
        """Controls, search, final, verdict."""
        try:
            self._begin()
            self._race_controls(self._limit(CONTROL_SHARE))
            bases = [row for row in self.controls if self.task.takes_settings(row.setting["control"])]
            left = [row for row in bases if not row.fate] or [row for row in bases if row.scores][:1]
            self.task.settle(recommended(self.task, left).setting["control"])
            self._search()
            rivals = survivors(self.task, self._alive(), MOST_RIVALS)
            finalists = self._finalists(rivals)
            if finalists:
                self._final(rivals, finalists)
            else:
                self._race_controls(self.budget - self.work.closing())
                rivals = survivors(self.task, self._alive(), MOST_RIVALS)
            self.task.close()
        finally:
            self.work.bar.close()
        rivals += [row for row in self.controls if not row.scores]  # what had no time is not beaten
        decided = decide(self.task, rivals, finalists or self._furthest()[:1], self.final, self._fewest)
        untried = math.prod(map(len, self.task.space.values())) - len(self.candidates)
        return Outcome(self.controls, self.candidates, *decided, untried, self.search, self.final)

    def _begin(self) -> None:
        """What everything costs: estimated where the task can, then measured by the controls on the first cell.

        The default and the last, which is "none", are always scored there; another only where the smallest final still
        fits after it.
        """
        try:
            with seeded(self.seed, "estimate"):
                self.work.estimate(self.budget)
            if self.task.estimates:
                self._check(MARGIN)
                self._announce(MARGIN)
            self.work.open(self.budget)
            for row in self._always():
                self.work.score(row, 0, self.budget)
        except OutOfTime:
            raise self._too_small() from None
        self._check()
        for row in self.controls:
            try:
                self.work.score(row, 0, self._latest_final(rivals=1))
            except OutOfTime:
                row.fate = "no time"
        if not self.task.estimates:
            self._announce()

    def _always(self) -> list[Row]:
        """The controls without which there is no race."""
        return self.controls[:1] + self.controls[1:][-1:]

    def _check(self, margin: float = 1.0) -> None:
        if self._least(1, margin) > self.budget:
            raise self._too_small(margin)

    def _announce(self, margin: float = 1.0) -> None:
        """One line about what the budget is worth here."""
        if self.work.bar.disable:
            return
        least, whole = (math.ceil(self._least(rivals, margin)) for rivals in (1, MOST_RIVALS))
        short = f"; {self.budget:g} s can show no win" if whole > self.budget else ""
        tqdm.write(
            f"smallest useful budget here: about {least} s, for one latent setting against the default control; "
            f"{whole} s for all controls, and against the {MOST_RIVALS} best, which a win takes{short}",
            file=sys.stderr,
        )  # fmt: skip

    def _plan_final(self) -> None:
        """It takes so many cells, after those of the search; with more than one finalist where `several` fit."""
        folds, start = self.task.folds, self._whole(len(self.search))
        if type(self.task).samples is Task.samples:
            most, several, fewest = map(self._whole, (MOST_CELLS, SEVERAL_CELLS, FEWEST_CELLS))
        else:  # the verdict is over samples
            most, several = MOST_REPEATS * folds, SEVERAL_REPEATS * folds
            fewest = max(FEWEST_TRAININGS, FEWEST_REPEATS * folds)
        self.final, self._several, self._fewest = range(start, start + most), several, fewest

    def _race_controls(self, limit: float) -> None:
        """Rung by rung, until a few are left that have run a whole repeat, or the time until the limit is used."""
        rungs = math.ceil(math.log2(max(1, len(self._alive()) / MOST_RIVALS)))
        rung = self.task.folds if self._rungs_seconds(rungs) < limit - self.work.journal.elapsed else 1
        try:
            for cell in self.search:
                few = len(self._alive()) <= MOST_RIVALS
                if len(self._alive()) == 1 or (few and cell >= self.task.folds):
                    return
                for row in self._alive():
                    self.work.score(row, cell, limit)
                if not few and (cell + 1) % rung == 0:
                    survivors(self.task, self._alive(), max(MOST_RIVALS, -(-len(self._alive()) // 2)))
        except OutOfTime:
            pass

    def _alive(self) -> list[Row]:
        """The controls that are still in the race."""
        return [row for row in self.controls if not row.fate]

    def _rungs_seconds(self, rungs: int) -> float:
        """The race of the controls, where each rung is a whole repeat and halves them."""
        alive = self._alive()
        rows = sum(max(MOST_RIVALS, len(alive) / 2**rung) for rung in range(rungs))
        return rows * self.task.folds * statistics.fmean(map(self.work.scoring, alive))

    def _search(self) -> None:
        """Ask, score, prune or keep, until the search's share is spent."""
        import optuna  # 1 s to import, needed only here

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
        study = optuna.create_study(direction="maximize" if self.task.larger_is_better else "minimize", pruner=pruner)
        untried = in_order(self.task, self._first_scores())
        for setting in self.task.first(self._first_scores()):
            if setting in untried:
                study.enqueue_trial(dict(setting))
        number = 0
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
                    study.enqueue_trial(dict(untried[fold(self.seed, "untried", number) % len(untried)]))
                number += 1
        except OutOfTime:
            pass

    def _first_scores(self) -> dict[str, float]:
        """What the controls scored on the first cell."""
        return {str(row.setting["control"]): row.scores[0] for row in self.controls if row.scores}

    def _run_candidate(self, study: Any, trial: Any, setting: Setting) -> None:
        from optuna.trial import TrialState

        row = Row(setting, self.sign)
        for cell in self.search:
            for each in (*self._alive(), row):
                self.work.score(each, cell, self._limit(SEARCH_SHARE))
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
            control.level(done) >= row.level(done) for control in self._alive()
        )

    def _finalists(self, rivals: list[Row]) -> list[Row]:
        """The settings that came furthest, the best of them first; fewer, or none, if there is no time for all."""
        limit = self.budget - self.work.closing()
        if all(row.unusable for row in self.candidates):
            self._unsearched(limit)
        left = limit - self.work.journal.elapsed
        control = recommended(self.task, rivals)
        fitting = [
            row
            for row in self._furthest()
            if self._seconds_left([control, row], self.final[: self._fewest]) <= left and row.scores
        ]
        finalists = fitting[:FINALISTS]
        while len(finalists) > 1 and self._several * self._round_seconds([*rivals, *finalists]) > left:
            finalists.pop()
        return finalists

    def _furthest(self) -> list[Row]:
        """The settings that can be used, those that came furthest before the others."""
        usable = [row for row in self.candidates if not row.unusable]
        return sorted(usable, key=lambda row: row.rank(self.search), reverse=True)

    def _unsearched(self, limit: float) -> None:
        """Where there was no time for a search: try the first setting that can be used. No cell has chosen it."""
        tried = [row.setting for row in self.candidates]
        try:
            for setting in in_order(self.task, self._first_scores()):
                if setting not in tried:
                    self.candidates.append(Row(setting, self.sign))
                    self.work.score(self.candidates[-1], self.final[0], limit)
                    if not self.candidates[-1].unusable:
                        return
        except OutOfTime:
            return
        reasons = sorted({row.fate for row in self.candidates})
        raise InputError(f"none of {len(self.candidates)} settings can be used here: {'; '.join(reasons[:3])}")

    def _final(self, rivals: list[Row], finalists: list[Row]) -> None:
        """The fewest cells that answer, the best control and settings first; then whole repeats, as time allows."""
        self.work.bar.set_description_str("final", refresh=False)
        limit, folds = self.budget - self.work.closing(), self.task.folds
        control = recommended(self.task, rivals)
        rows = [control, *finalists, *(row for row in rivals if row is not control)]
        first, later = self.final[: self._fewest], self.final[self._fewest :]
        for block in (first, *(later[start : start + folds] for start in range(0, len(later), folds))):
            try:
                if block is not first and self.work.journal.elapsed + folds * self._round_seconds(rows) > limit:
                    return
                for row, cell in itertools.product(rows, block):
                    self.work.score(row, cell, limit)
            except OutOfTime:
                if block is not first:  # half a repeat is no comparison
                    for row, cell in itertools.product(rows, block):
                        row.scores.pop(cell, None)
                return

    def _too_small(self, margin: float = 1.0) -> BudgetError:
        least, budget = math.ceil(self._least(1, margin)), math.ceil(self.budget)
        takes = f"takes at least about {least} s" if least > budget else f"takes more than {budget} s"
        return BudgetError(
            f"a budget of {self.budget:g} s is too small: one latent setting against the default control {takes} here; "
            "allow more, or make trainings shorter (steps, smaller images)"
        )

    def _least(self, rivals: int, margin: float = 1.0) -> float:
        """Seconds of a race without a search and with so many controls in the final, by what is known so far.

        With one, it begins with the controls that it always has; with more, with all.
        """
        work, first = self.work, self._always() if rivals == 1 else self.controls
        begin = sum(work.scoring(row) for row in first if not row.scores)
        begin += 0.0 if work.opened else work.cost.open
        rest = begin + self._final_seconds(self._fewest, rivals=rivals) + work.closing()
        return work.journal.elapsed + margin * rest

    def _limit(self, share: float) -> float:
        """When what comes before the final has to end: at a share of the budget, and so that the final still fits."""
        left = self.budget - self.work.closing()
        largest = self._final_seconds(len(self.final), FINALISTS)
        share = self.work.opened + share * (self.budget - self.work.opened)
        return min(max(share, left - largest), self._latest_final())

    def _latest_final(self, rivals: int | None = None) -> float:
        """When the smallest final has to begin."""
        return self.budget - self.work.closing() - self._final_seconds(self._fewest, rivals=rivals)

    def _final_seconds(self, cells: int, finalists: int = 1, rivals: int | None = None) -> float:
        """A final of the slowest controls, by default of all, and of settings as slow as any so far."""
        controls = sorted(map(self.work.scoring, self._alive()), reverse=True)[:MOST_RIVALS]
        settings = [self.work.scoring(row) for row in self.candidates if row.scores]
        slowest = max(settings, default=self.work.cost.setting or controls[0])
        return cells * (self.work.preparing() + sum(controls[:rivals]) + finalists * slowest)

    def _round_seconds(self, rows: list[Row]) -> float:
        """One cell of the final."""
        return self.work.preparing() + sum(map(self.work.scoring, rows))

    def _seconds_left(self, rows: list[Row], cells: range) -> float:
        """What is still to be done of these cells."""
        scoring = sum(self.work.scoring(row) for row in rows for cell in cells if cell not in row.scores)
        return scoring + self.work.preparing() * sum(cell not in self.work.prepared for cell in cells)

    def _whole(self, cells: int) -> int:
        """So many cells or a few more, in whole repeats."""
        return -(-cells // self.task.folds) * self.task.folds
