"""The race of `tune`: controls, then settings on top of the best control, then a final, within a budget of time.

First the time of the smallest useful race is estimated: one setting against the default control, without a search. A
smaller budget raises an error. A larger budget is reserved for this final first, then for the other controls, then for
the search and more repeats. Controls that do not fit are left out. If settings are too slow for a final, the rest of
the budget goes to the controls.
The controls are scored first. After each rung half of them are dropped (successive halving, Jamieson and Talwalkar
2016), and those that are far behind the best; the default is kept.
In the search, optuna's tree-structured Parzen estimator (Bergstra et al. 2011) proposes settings, and its asynchronous
successive halving (Li et al. 2020) prunes them; half-way, a setting that is not better than every control is pruned
too. The remaining controls are scored on every cell on which a setting is scored.
In the final, the best settings and these controls are scored on new cells, because the best of many noisy scores is
biased. A setting wins if it is better than every control.
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

# Fractions of the budget, without the time of opening, after which the race of the controls and the search end. They
# end earlier if the smallest final would not fit, and later if the largest fits. Much of the budget is kept for the
# final, because its repeats average out the variation of single trainings.
CONTROL_SHARE, SEARCH_SHARE = 0.35, 0.55
FINALISTS = 2
# Number of cells of the final, rounded up to whole repeats: the largest, the smallest with several finalists, and the
# smallest. For a test over samples: numbers of repeats, with at least two trainings, as one gives no variance.
MOST_CELLS, SEVERAL_CELLS, FEWEST_CELLS = 10, 5, 5
MOST_REPEATS, SEVERAL_REPEATS, FEWEST_REPEATS = 10, 5, 1
FEWEST_TRAININGS = 2
# Safety factor of the estimated time, because an estimate from a few steps can be too low.
MARGIN = 1.25


class Race:
    """Race of the settings of a task; `run` returns the outcome.

    budget: time limit in seconds. Work is not started if it is expected to exceed the limit, from the time of earlier
    work. seed: seed of the search. Raises `BudgetError` if two controls on one cell, and a final of one setting and one
    control, do not fit.
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
        """Run the controls, the search and the final, and return the outcome."""
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
        rivals += [row for row in self.controls if not row.scores]  # a control without scores prevents a win
        decided = decide(self.task, rivals, finalists or self._furthest()[:1], self.final, self._fewest)
        untried = math.prod(map(len, self.task.space.values())) - len(self.candidates)
        return Outcome(self.controls, self.candidates, *decided, untried, self.search, self.final)

    def _begin(self) -> None:
        """Estimate the costs if the task can, then measure them by scoring the controls on the first cell.

        The default and the last control, "none", are always scored there; another only if the smallest final still fits
        after it.
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
                row.fate = "not scored: budget too small"
        if not self.task.estimates:
            self._announce()

    def _always(self) -> list[Row]:
        """Return the controls that are always scored: the first and the last."""
        return self.controls[:1] + self.controls[1:][-1:]

    def _check(self, margin: float = 1.0) -> None:
        if self._least(1, margin) > self.budget:
            raise self._too_small(margin)

    def _announce(self, margin: float = 1.0) -> None:
        """Print the estimated time of the comparisons, and whether this budget allows the answer "latent"."""
        if self.work.bar.disable:
            return
        least, whole = (math.ceil(self._least(rivals, margin)) for rivals in (1, MOST_RIVALS))
        short = f" With {self.budget:g} s the answer can only be 'none'." if whole > self.budget else ""
        tqdm.write(
            f"Estimated time: about {least} s to compare one latent setting with the default augmentation; {whole} s "
            f"to compare with all standard augmentations. Only the second can give the answer 'latent'.{short}",
            file=sys.stderr,
        )  # fmt: skip

    def _plan_final(self) -> None:
        """Set the cells of the final, which follow those of the search, and its limits on their number."""
        folds, start = self.task.folds, self._whole(len(self.search))
        if type(self.task).samples is Task.samples:
            most, several, fewest = map(self._whole, (MOST_CELLS, SEVERAL_CELLS, FEWEST_CELLS))
        else:  # the test is over samples
            most, several = MOST_REPEATS * folds, SEVERAL_REPEATS * folds
            fewest = max(FEWEST_TRAININGS, FEWEST_REPEATS * folds)
        self.final, self._several, self._fewest = range(start, start + most), several, fewest

    def _race_controls(self, limit: float) -> None:
        """Score the controls rung by rung, until few are left after a whole repeat, or the time limit is reached."""
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
        """Return the controls that have not been dropped."""
        return [row for row in self.controls if not row.fate]

    def _rungs_seconds(self, rungs: int) -> float:
        """Return the seconds of the race of the controls, if each rung is a whole repeat and halves their number."""
        alive = self._alive()
        rows = sum(max(MOST_RIVALS, len(alive) / 2**rung) for rung in range(rungs))
        return rows * self.task.folds * statistics.fmean(map(self.work.scoring, alive))

    def _search(self) -> None:
        """Search settings until the time of the search is used, or all have been tried."""
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
                # A new sampler with its own seed per trial, so that proposals do not depend on earlier random draws.
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
        """Return the scores of the controls on the first cell."""
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
                row.fate = f"pruned after {cell + 1} of {len(self.search)} cells"
                study.tell(trial, state=TrialState.PRUNED)
                return
        study.tell(trial, statistics.fmean(row.scores.values()))

    def _is_behind(self, row: Row, cells: int) -> bool:
        """Return whether a setting is half-way through the search and not better than every control."""
        done = range(cells)
        return cells == len(self.search) // 2 and any(
            control.level(done) >= row.level(done) for control in self._alive()
        )

    def _finalists(self, rivals: list[Row]) -> list[Row]:
        """Return the settings for the final, best first; fewer or none if the time is too short for `FINALISTS`."""
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
        """Return the usable settings, sorted by the number of their cells and then by their mean score."""
        usable = [row for row in self.candidates if not row.unusable]
        return sorted(usable, key=lambda row: row.rank(self.search), reverse=True)

    def _unsearched(self, limit: float) -> None:
        """Without time for a search, score the first usable setting; no cell is used to select it."""
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
        """Score all rows on the smallest number of cells, then on further whole repeats while the time allows."""
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
                if block is not first:  # remove the scores of a partial repeat
                    for row, cell in itertools.product(rows, block):
                        row.scores.pop(cell, None)
                return

    def _too_small(self, margin: float = 1.0) -> BudgetError:
        least, budget = math.ceil(self._least(1, margin)), math.ceil(self.budget)
        takes = f"takes at least about {least} s" if least > budget else f"takes more than {budget} s"
        return BudgetError(
            f"a budget of {self.budget:g} s is too small: to compare one latent setting with the default control "
            f"{takes}; increase the budget, or make trainings shorter (fewer steps, smaller images)"
        )

    def _least(self, rivals: int, margin: float = 1.0) -> float:
        """Return the estimated seconds of a race without a search and with `rivals` controls in the final.

        With one rival, only the controls that are always scored are counted; with more, all controls.
        """
        work, first = self.work, self._always() if rivals == 1 else self.controls
        begin = sum(work.scoring(row) for row in first if not row.scores)
        begin += 0.0 if work.opened else work.cost.open
        rest = begin + self._final_seconds(self._fewest, rivals=rivals) + work.closing()
        return work.journal.elapsed + margin * rest

    def _limit(self, share: float) -> float:
        """Return the time limit of the work before the final: a fraction of the budget, such that the final fits."""
        left = self.budget - self.work.closing()
        largest = self._final_seconds(len(self.final), FINALISTS)
        share = self.work.opened + share * (self.budget - self.work.opened)
        return min(max(share, left - largest), self._latest_final())

    def _latest_final(self, rivals: int | None = None) -> float:
        """Return the latest time at which the smallest final can start."""
        return self.budget - self.work.closing() - self._final_seconds(self._fewest, rivals=rivals)

    def _final_seconds(self, cells: int, finalists: int = 1, rivals: int | None = None) -> float:
        """Return the seconds of a final with the slowest controls, and settings as slow as the slowest so far."""
        controls = sorted(map(self.work.scoring, self._alive()), reverse=True)[:MOST_RIVALS]
        settings = [self.work.scoring(row) for row in self.candidates if row.scores]
        slowest = max(settings, default=self.work.cost.setting or controls[0])
        return cells * (self.work.preparing() + sum(controls[:rivals]) + finalists * slowest)

    def _round_seconds(self, rows: list[Row]) -> float:
        """Return the seconds of one cell of the final."""
        return self.work.preparing() + sum(map(self.work.scoring, rows))

    def _seconds_left(self, rows: list[Row], cells: range) -> float:
        """Return the seconds of the remaining work on these cells."""
        scoring = sum(self.work.scoring(row) for row in rows for cell in cells if cell not in row.scores)
        return scoring + self.work.preparing() * sum(cell not in self.work.prepared for cell in cells)

    def _whole(self, cells: int) -> int:
        """Return the number of cells, rounded up to whole repeats."""
        return -(-cells // self.task.folds) * self.task.folds
