"""The result of a race: an answer, a table, a plot, and `policy.json`."""

from __future__ import annotations

import io
import itertools
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..autoencoders import Autoencoder
from .row import Outcome, Row
from .task import Task

# Largest number of settings in the plot.
_SHOWN = 24
_STYLES = (("tab:gray", "-"), ("tab:orange", "--"), ("tab:green", ":"), ("tab:red", "-."), ("tab:purple", "-"))


@dataclass(frozen=True)
class TuneResult:
    """Result of `tune`.

    answer: "latent" if a setting is better than every control, else "none": then use the best control, which is a
    standard augmentation or no augmentation. code: Python to paste into a script with a map-style data set `dataset`;
    it augments the data set with the recommended augmentation, anew at every fetch. config: the content of
    `policy.json`, for `LatentAugment.from_config`; if the answer is "none" it adds no samples. table: one dict per
    setting and control. sentence: the answer in words. paths: name => file; empty without a folder.
    autoencoder: the autoencoder of `config`, trained on all images if `tune` trained it; None for your own `Task`.

    >>> TuneResult("none", {}, [], "Nothing beat the geometric augmentation.").answer
    'none'
    """

    answer: str
    config: dict[str, Any]
    table: list[dict[str, Any]]
    sentence: str
    paths: dict[str, Path] = field(default_factory=dict)
    autoencoder: Autoencoder | None = None

    @property
    def code(self) -> str:
        """Python code to paste, with the path of `policy.json` if there is a folder; "" for a task without code."""
        code = str(self.config.get("code", ""))
        path = self.paths.get("policy.json")
        return code if path is None else code.replace(repr("policy.json"), repr(str(path)))

    def markdown(self) -> str:
        """Return the table and the sentence as Markdown."""
        names = "setting | search | cells | difference from the best control | final | p | seconds | note"
        head = f"| {names} |\n{'|---' * 8}|"
        lines = [f"| {' | '.join(map(str, row['shown'].values()))} |" for row in self.table]
        return "\n".join([head, *lines, "", self.sentence, ""])


def table(task: Task, outcome: Outcome) -> list[dict[str, Any]]:
    """Return one dict per row: controls, then settings, those with most cells first; `shown` holds formatted texts."""
    ranked = sorted(outcome.candidates, key=lambda row: row.rank(outcome.search), reverse=True)
    return [_line(task, outcome, row) for row in (*outcome.controls, *ranked)]


def _line(task: Task, outcome: Outcome, row: Row) -> dict[str, Any]:
    search, final, control = row.on(outcome.search), row.on(outcome.final), outcome.control
    shared = [cell for cell in row.scores if cell in outcome.search and cell in control.scores]
    against = [row.scores[cell] - control.scores[cell] for cell in shared]
    fate = _fate(outcome, row)
    return {
        "setting": dict(row.setting),
        "control": row.is_control,
        "search": search,
        "final": final,
        "p_value": row.p_value,
        "seconds": round(sum(row.seconds), 3),
        "fate": fate,
        "shown": {
            "setting": task.describe(row.setting),
            "search": _mean_and_std(task, search),
            "cells": len(search),
            "against": "" if row is control or not against else _signed(task, statistics.fmean(against)),
            "final": _mean_and_std(task, final),
            "p": "" if row.p_value is None else f"{row.p_value:.2g}",
            "seconds": f"{sum(row.seconds):.0f}",
            "fate": fate,
        },
    }


def _fate(outcome: Outcome, row: Row) -> str:
    if row is outcome.control:
        return "best control"
    if row is outcome.best:
        return "wins" if outcome.won else "best setting"
    unfinished = not row.is_control and len(row.on(outcome.search)) < len(outcome.search)
    return row.fate or ("out of time" if unfinished else "")


def sentence(task: Task, outcome: Outcome) -> str:
    """Return the answer in words."""
    best, control = task.describe(outcome.best.setting), task.describe(outcome.control.setting)
    ours, theirs = _final_score(task, outcome, outcome.best), _final_score(task, outcome, outcome.control)
    if outcome.won:
        better = "above" if task.larger_is_better else "below"
        text = f"Use {best}: {task.name} {ours}, significantly {better} {control} ({theirs}): {outcome.reason}."
    else:
        latents = f"The best setting, {best}, has {task.name} {ours}" if ours else f"{best} was not scored in time"
        text = f"None: no latent setting was shown to be better than every control. {latents}; "
        text += f"the best control, {control}, has {task.name} {theirs}: {outcome.reason}."
    tried = sum(bool(row.scores or row.fate) for row in outcome.candidates)
    return f"{text} {tried} of {len(outcome.candidates) + outcome.untried} settings were tried."


def plot(task: Task, outcome: Outcome) -> bytes:
    """Return a PNG picture: scores, mean and standard deviation of each setting; the means of controls as lines."""
    from matplotlib.figure import Figure  # 0.5 s to import, needed only here

    lines = table(task, outcome)
    settings = [line for line in lines if not line["control"] and (line["search"] or line["final"])]
    shown = settings[:_SHOWN]
    percent = task.shown(1.0) == "100.0"
    scale = 100.0 if percent else 1.0
    figure = Figure(figsize=(9, 1.9 + 0.3 * len(shown)), dpi=110, layout="constrained")
    axis = figure.subplots()
    controls = [line for line in lines if line["control"] and line["search"]]
    for line, (colour, style) in zip(controls, itertools.cycle(_STYLES), strict=False):
        mean = scale * statistics.fmean(line["search"])
        label = f"{line['shown']['setting']} ({line['shown']['search']})"
        axis.axvline(mean, color=colour, linestyle=style, linewidth=1.6, label=label, zorder=1)
    for height, line in enumerate(shown):
        if line["search"]:
            _draw(axis, height, [scale * score for score in line["search"]], "tab:blue", -0.12)
        if line["final"]:
            _draw(axis, height, [scale * score for score in line["final"]], "black", 0.22, "D")
    axis.plot([], [], "o", color="tab:blue", label="search: mean, std, cells")
    if any(line["final"] for line in shown):
        axis.plot([], [], "D", color="black", markersize=5, label="final: mean, std, cells")
    axis.set_yticks(range(len(shown)), [line["shown"]["setting"] for line in shown], fontsize=8)
    axis.set_ylim(len(shown) - 0.4, -0.6)  # the first on top
    axis.set_xlabel(task.name + ", %" * percent + " (lower is better)" * (not task.larger_is_better))
    axis.grid(axis="x", alpha=0.3)
    left_out = f"; {len(settings) - len(shown)} more settings are in the table" if len(settings) > len(shown) else ""
    answer = 'answer: "latent"' if outcome.won else 'answer: "none"'
    figure.suptitle(f"{answer} ({outcome.reason}){left_out}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw(axis: Any, height: float, scores: list[float], colour: str, shift: float, marker: str = "o") -> None:
    deviation = statistics.stdev(scores) if len(scores) > 1 else 0.0
    axis.plot(scores, [height + shift] * len(scores), "|", color=colour, alpha=0.35, markersize=7, zorder=2)
    axis.errorbar(statistics.fmean(scores), height + shift, xerr=deviation, fmt=marker, color=colour, markersize=5,
                  elinewidth=1, capsize=2, zorder=3)  # fmt: skip


def _final_score(task: Task, outcome: Outcome, row: Row) -> str:
    """Return the score of a row in the final, or else in the search."""
    return _mean_and_std(task, row.on(outcome.final) or row.on(outcome.search))


def _mean_and_std(task: Task, scores: list[float]) -> str:
    if not scores:
        return ""
    deviation = f" ± {task.shown(statistics.stdev(scores))}" if len(scores) > 1 else ""
    return task.shown(statistics.fmean(scores)) + deviation


def _signed(task: Task, difference: float) -> str:
    return ("+" if difference >= 0 else "-") + task.shown(abs(difference))
