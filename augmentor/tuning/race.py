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
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from .._internal.random import fold
from ..exceptions import AugmentorError, BudgetError, InputError
from .journal import Journal
from .task import Score, Setting, Task
from .verdict import crossed_p_value, paired_p_value

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
LEVEL = 0.05
# A control so many standard errors behind the best one, on at least so many cells, is spared the final.
HOPELESS, HOPELESS_CELLS = 3.0, 4


@dataclass
class Row:
    """One setting or control, and how it fared."""

    setting: Setting
    scores: dict[int, float] = field(default_factory=dict)  # by cell
    right: dict[int, str] = field(default_factory=dict)  # by cell: "0" or "1" for each test sample, if known
    seconds: list[float] = field(default_factory=list)
    fate: str = ""  # why it is no longer in the race
    unusable: bool = False  # it cannot be used here, as `fate` says
    p_value: float | None = None

    @property
    def is_control(self) -> bool:
        """Whether it is what the others have to beat."""
        return "control" in self.setting

    def mean(self, cells: Container[int] | None = None) -> float:
        """Mean score over its cells, or over those of them that are among `cells`; NaN over none."""
        found = self.on(cells)
        return statistics.fmean(found) if found else math.nan

    def on(self, cells: Container[int] | None = None) -> list[float]:
        """Its scores, in the order of the cells."""
        return [score for cell, score in sorted(self.scores.items()) if cells is None or cell in cells]


@dataclass
class Outcome:
    """Who ran, and how it ended: the best setting, whether it won, and the best control."""

    controls: list[Row]
    candidates: list[Row]
    best: Row
    control: Row
    won: bool
    reason: str
    untried: int
    search: range  # numbers of cells
    final: range


class _OutOfTime(Exception):
    """The phase's share of the budget is spent."""


class Race:
    """One race of a task's settings; `run` gives the outcome.

    budget: seconds; no work is started that would pass it by what work took so far. seed: of the search.
    Raises `BudgetError` where not even the controls and a final can fit.
    """

    def __init__(self, task: Task, journal: Journal, *, budget: float, seed: int, progress: bool = True):
        self.task, self.journal, self.budget, self.seed = task, journal, budget, seed
        self.controls = [Row({"control": name}) for name in task.controls]
        self.candidates: list[Row] = []
        self.search = range(task.search_cells)
        self._plan_final(*map(self._whole, (MOST_CELLS, SEVERAL_CELLS, FEWEST_CELLS)))
        self._opened = 0.0  # seconds
        self._prepared: dict[int, float] = {}  # cell => seconds
        self._stopped: dict[str, Any] | None = None  # the last piece of work that ran out of time
        self._bar = tqdm(total=budget, unit="s", desc="search", delay=2, disable=not progress,
                         bar_format="{desc}: {n:.0f} of {total:.0f} s |{bar}| {postfix}")  # fmt: skip

    def run(self) -> Outcome:
        """Controls, search, final, verdict."""
        try:
            self._open()
            self._first_controls()
            untried = self._search()
            rivals = self._rivals()
            finalists = self._finalists(rivals)
            self._final([*rivals, *finalists])
            self.task.close()
        finally:
            self._bar.close()
        return self._verdict(rivals, finalists, untried)

    def _open(self) -> None:
        def work(what: dict[str, Any], deadline: float) -> dict[str, Any]:
            self.task.open(deadline)
            return {}

        if self.task.opens:
            try:
                self._opened = self._timed({"open": self.task.name}, self.budget, 0.0, work)["seconds"]
            except _OutOfTime:
                raise BudgetError(
                    f"a budget of {self.budget:g} s is too small: it was spent before the first control; allow more"
                ) from None

    def _first_controls(self) -> None:
        """The controls on the first cell, which also say what everything costs."""
        try:
            for row in self.controls:
                self._score(row, 0, self.budget)
        except _OutOfTime:
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
        except _OutOfTime:
            pass
        return total - len(self.candidates)

    def _run_candidate(self, study: Any, trial: Any, setting: Setting) -> None:
        from optuna.trial import TrialState

        row = Row(setting)
        for cell in self.search:
            for control in self.controls:
                self._score(control, cell, self._search_limit())
            self._score(row, cell, self._search_limit())
            if cell == 0:
                self.candidates.append(row)
            if row.fate:
                study.tell(trial, state=TrialState.FAIL)
                return
            trial.report(row.mean(), cell + 1)
            if cell + 1 < len(self.search) and (trial.should_prune() or self._is_behind(row, cell + 1)):
                row.fate = f"pruned after {cell + 1}"
                study.tell(trial, state=TrialState.PRUNED)
                return
        study.tell(trial, row.mean())

    def _is_behind(self, row: Row, cells: int) -> bool:
        """Whether a setting has to be given up half-way, because some control is as good."""
        done, sign = range(cells), 1 if self.task.larger_is_better else -1
        return cells == len(self.search) // 2 and any(
            sign * control.mean(done) >= sign * row.mean(done) for control in self.controls
        )

    def _rivals(self) -> list[Row]:
        """The controls to beat in the final: all but those that are far behind already."""
        best = self._best(self.controls)
        for row in self.controls:
            gaps = self._gains(best, row, [cell for cell in self.search if cell in row.scores and cell in best.scores])
            if len(gaps) >= HOPELESS_CELLS:
                error = statistics.stdev(gaps) / math.sqrt(len(gaps))
                row.fate = "far behind" if statistics.fmean(gaps) > HOPELESS * error else ""
        return [row for row in self.controls if not row.fate]

    def _finalists(self, rivals: list[Row]) -> list[Row]:
        """The settings that came furthest, the best of them first; one fewer if there is no time for all."""
        usable = [row for row in self.candidates if row.scores and not row.unusable]
        ranked = sorted(usable, key=self._rank, reverse=True)
        if not ranked:
            reasons = {row.fate for row in self.candidates if row.unusable}
            if reasons:
                raise InputError(
                    f"none of {len(self.candidates)} settings can be used here: {'; '.join(sorted(reasons)[:3])}"
                )
            raise self._too_small()
        finalists = ranked[:FINALISTS]
        left = self.budget - self._closing() - self.journal.elapsed
        while len(finalists) > 1 and self._several * self._round_seconds([*rivals, *finalists]) > left:
            finalists.pop()
        return finalists

    def _final(self, rows: list[Row]) -> None:
        """Whole repeats of fresh cells, each cell for all rows, while there is time."""
        limit = self.budget - self._closing()
        for start in self.final[:: self.task.folds]:
            cells = range(start, start + self.task.folds)
            try:
                if self.journal.elapsed + len(cells) * self._round_seconds(rows) > limit:
                    return
                for cell, row in itertools.product(cells, rows):
                    self._score(row, cell, limit)
            except _OutOfTime:  # half a repeat is no comparison
                for cell, row in itertools.product(cells, rows):
                    row.scores.pop(cell, None)
                return

    def _verdict(self, rivals: list[Row], finalists: list[Row], untried: int) -> Outcome:
        control = self._best(rivals)
        cells = [cell for cell in self.final if cell in control.scores]
        for row in finalists:
            # It has to beat every control: the largest p is that of all (an intersection-union test, Berger 1982). And
            # the better of several settings is taken, so each has to be as much surer (Bonferroni).
            p_value = max(self._p_value(row, rival, cells) for rival in rivals)
            row.p_value = min(1.0, len(finalists) * p_value)
        best = min(finalists, key=lambda row: row.p_value or 0.0)
        assert best.p_value is not None
        enough = len(cells) >= self._fewest
        if not enough:
            reason = f"the budget allowed {len(cells)} of at least {self._fewest} cells of the final"
        elif control.right:
            count = sum(len(control.right[cell]) for cell in cells[: self.task.folds])
            repeats = len(cells) // self.task.folds
            reason = f"p {best.p_value:.2g} over {count} samples, {repeats} fresh repeat{'s' * (repeats > 1)}"
        else:
            reason = f"p {best.p_value:.2g} on {len(cells)} fresh cells"
        won = enough and best.p_value < LEVEL
        return Outcome(self.controls, self.candidates, best, control, won, reason, untried, self.search, self.final)

    def _p_value(self, row: Row, control: Row, cells: list[int]) -> float:
        """Over samples where each one's outcome is known, else over cells; 1 without any, or if the row dropped out."""
        if not cells or not all(cell in row.scores for cell in cells):
            return 1.0
        if not all(cell in row.right and cell in control.right for cell in cells):
            return paired_p_value(self._gains(row, control, cells))
        found = [
            (int(ours) - int(theirs), sample, cell)
            for cell in cells
            for ours, theirs, sample in zip(row.right[cell], control.right[cell], self.task.samples(cell), strict=True)
        ]
        gains, samples, trainings = zip(*found, strict=True)
        weights = self.task.weights
        return crossed_p_value(gains, samples, trainings, weights and [weights[sample] for sample in samples])

    def _gains(self, row: Row, control: Row, cells: list[int]) -> list[float]:
        """By how much a row is better on each cell."""
        sign = 1 if self.task.larger_is_better else -1
        return [sign * (row.scores[cell] - control.scores[cell]) for cell in cells]

    def _score(self, row: Row, cell: int, limit: float) -> None:
        """Score a setting on a cell, from the journal or now; once it is known, it is known."""
        if cell in row.scores:
            return
        if self.task.prepares and not row.is_control:
            self._prepare(cell, limit)
        line = self._timed({"setting": dict(row.setting), "cell": cell}, limit, self._slowest(), self._evaluate)
        row.seconds.append(line["seconds"])
        if line["error"] is None:
            row.scores[cell] = line["score"]
            if "right" in line:
                row.right[cell] = line["right"]
        else:
            row.fate, row.unusable = line["error"], True

    def _evaluate(self, what: dict[str, Any], deadline: float) -> dict[str, Any]:
        try:
            found = self.task.evaluate(what["setting"], what["cell"], deadline)
        except BudgetError:
            raise
        except AugmentorError as error:
            if "control" in what["setting"]:
                raise
            return {"score": None, "error": " ".join(str(error).split())}
        score, right = found if isinstance(found, Score) else Score(found)
        outcomes = {} if right is None else {"right": "".join("01"[bool(each)] for each in right)}
        return {"score": float(score), "error": None, **outcomes}

    def _prepare(self, cell: int, limit: float) -> None:
        if cell in self._prepared:
            return
        expected = max(self._prepared.values(), default=0.0)

        def prepare(what: dict[str, Any], deadline: float) -> dict[str, Any]:
            self.task.prepare(cell, deadline)
            return {}

        self._prepared[cell] = self._timed({"prepare": cell}, limit, expected, prepare)["seconds"]

    def _timed(self, what: dict[str, Any], limit: float, expected: float, work: Any) -> dict[str, Any]:
        """A piece of work, unless it is in the journal; `_OutOfTime` if it would pass the limit, or did."""
        if self.journal.elapsed + expected > limit:  # of recorded times, so that a replay decides the same
            raise _OutOfTime
        line = self.journal.replay(what)
        if line is None:
            began, before = self.task.clock(), self.journal.now()
            try:
                found = work(what, began + limit - before)
            except BudgetError as error:
                found = {"stopped": round(error.share, 4)}
            line = self.journal.add({**what, **found, "seconds": round(self.task.clock() - began, 3)})
        self._show(what)
        if "stopped" in line:
            self._stopped = line
            raise _OutOfTime
        return line

    def _too_small(self) -> BudgetError:
        return BudgetError(
            f"a budget of {self.budget:g} s is too small: the controls, one setting and a final take at least about "
            f"{math.ceil(self._least())} s here; allow more, or make a run shorter (steps)"
        )

    def _least(self) -> float:
        """Seconds that the smallest race would take, from what the controls took on the first cell."""
        if self._stopped is not None:  # not even those: a guess from what was done of the one that was stopped
            slowest = max(self._slowest(), self._stopped["seconds"] / max(self._stopped["stopped"], 0.01))
            return self._opened + (len(self.controls) + 1) * (1 + self._fewest) * slowest
        return self.journal.elapsed + self._slowest() + self._final_seconds(self._fewest) + self._closing()

    def _search_limit(self) -> float:
        """When the search has to end, so that the final still fits."""
        left = self.budget - self._closing()
        largest = self._final_seconds(len(self.final), FINALISTS)
        share = self._opened + SEARCH_SHARE * (self.budget - self._opened)
        return min(max(share, left - largest), left - self._final_seconds(self._fewest))

    def _final_seconds(self, cells: int, finalists: int = 1) -> float:
        """A final of all controls and of settings as slow as any so far."""
        controls = [statistics.fmean(row.seconds or [self._slowest()]) for row in self.controls]
        settings = [statistics.fmean(row.seconds) for row in self.candidates if row.seconds]
        prepared = statistics.fmean(self._prepared.values()) if self._prepared else 0.0
        return cells * (prepared + sum(controls) + finalists * max([*controls, *settings]))

    def _slowest(self) -> float:
        return max((s for row in self._rows() for s in row.seconds), default=0.0)

    def _round_seconds(self, rows: list[Row]) -> float:
        """One cell of the final."""
        prepared = statistics.fmean(self._prepared.values()) if self._prepared else 0.0
        return prepared + sum(statistics.fmean(row.seconds) for row in rows)

    def _closing(self) -> float:
        """What `close` will take: all the data, and not all but a fold."""
        folds = self.task.folds
        return max(self._prepared.values(), default=0.0) * (folds / (folds - 1) if folds > 1 else 1)

    def _whole(self, cells: int) -> int:
        """So many cells or a few more, in whole repeats."""
        return -(-cells // self.task.folds) * self.task.folds

    def _best(self, rows: list[Row]) -> Row:
        """The best over the cells that all have."""
        sign, shared = 1 if self.task.larger_is_better else -1, set.intersection(*(set(row.scores) for row in rows))
        return max(rows, key=lambda row: sign * row.mean(shared))

    def _rank(self, row: Row) -> tuple[int, float]:
        sign = 1 if self.task.larger_is_better else -1
        return len(row.scores), sign * row.mean(self.search)

    def _rows(self) -> Iterator[Row]:
        return itertools.chain(self.controls, self.candidates)

    def _show(self, what: dict[str, Any]) -> None:
        final = what.get("cell", what.get("prepare")) in self.final
        self._bar.set_description_str("final" if final else "search", refresh=False)
        self._bar.set_postfix_str(f"{len(self.candidates)} settings tried", refresh=False)
        self._bar.update(min(self.journal.elapsed, self.budget) - self._bar.n)
