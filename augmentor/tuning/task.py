"""The interface of a task: its settings, its controls, and how a setting is scored."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from ..autoencoders import Autoencoder
from ..exceptions import InputError
from ..policies import get_policy

# One value per name of the task's space; for a control only its name: {"control": "none"}.
Setting: TypeAlias = Mapping[str, Any]


class Score(NamedTuple):
    """Score and, for tasks with test samples, whether each test sample of the cell is predicted correctly.

    >>> Score(0.5, [True, False]).value
    0.5
    """

    value: float
    right: Sequence[bool] | None = None


class Cost(NamedTuple):
    """Estimated seconds of scoring a control or a setting on a cell, of preparing a cell, and of opening.

    >>> Cost(control=2.0, setting=3.0).prepare
    0.0
    """

    control: float
    setting: float
    prepare: float = 0.0
    open: float = 0.0


class Task:
    """Base of all tasks. A member defines `space`, `controls` and `evaluate`; the rest has defaults.

    A *cell* is one comparison under equal conditions: a fold of a repeated cross-validation, or a seed. All settings
    that are compared on a cell use the same seed, so the differences on a cell are paired.

    name: for tables. larger_is_better: whether larger scores are better.
    space: name => values to search. controls: names of the controls; the first is the default, which is recommended
        unless another is significantly better.
    search_cells: number of cells on which a setting that is not pruned is scored, numbered from 0. The cells of the
        final have the following numbers.
    folds: number of consecutive cells, from cell 0 on, that together test each sample once; the final uses whole sets.
    weights: weights of the samples in the test, or None if they are equal.
    estimates, opens, prepares: whether `estimate`, `open` and `prepare` are used; their time is planned for.
    clock: function that returns seconds, from any origin.

    >>> class Parabola(Task):
    ...     space = {"x": [0.0, 1.0, 2.0]}
    ...
    ...     def evaluate(self, setting, cell, deadline):
    ...         return -((setting.get("x", 0.0) - 1.0) ** 2)
    >>> Parabola().evaluate({"x": 1.0}, 0, 60.0)
    -0.0
    """

    name: str = "task"
    larger_is_better: bool = True
    space: Mapping[str, Sequence[Any]]
    controls: Sequence[str] = ("none",)
    search_cells: int = 6
    folds: int = 1
    weights: Sequence[float] | None = None
    estimates: bool = False
    opens: bool = False
    prepares: bool = False
    clock: Callable[[], float] = staticmethod(time.monotonic)

    def evaluate(self, setting: Setting, cell: int, deadline: float) -> float | Score:
        """Return the score of a setting on a cell, the same at every call.

        With `Score.right`, the test is over samples and not over cells; `samples` returns their numbers. Raises
        `BudgetError` when `clock` passes `deadline`. After any other `AugmentorError` a setting is dropped, because it
        cannot be used on these data; for a control, the error is raised.
        """
        raise NotImplementedError

    def takes_settings(self, control: str) -> bool:
        """Return whether settings can be applied on top of this control."""
        return True

    def settle(self, control: str) -> None:
        """Use this control, the best that takes settings; called before a setting is scored."""

    def first(self, controls: Mapping[str, float]) -> Sequence[Setting]:
        """Return the settings to try first. controls: name => score on the first cell."""
        return ()

    def samples(self, cell: int) -> Sequence[int]:
        """Return the numbers, from 0, of the samples of `Score.right` of a cell; needed only with `Score.right`."""
        raise NotImplementedError

    def estimate(self) -> Cost:
        """Return estimated costs, measured in a few seconds at the start; called if `estimates`.

        Otherwise the costs are measured by scoring the controls on the first cell.
        """
        raise NotImplementedError

    def open(self, deadline: float) -> None:
        """Do work that controls need too, at the start; called if `opens`. Raises `BudgetError` at the deadline."""

    def prepare(self, cell: int, deadline: float) -> None:
        """Do work that settings, but not controls, need on a cell; called before the first, if `prepares`."""

    def close(self) -> None:
        """Do work after the race, such as training on all data; it should take about as long as `prepare`."""

    def describe(self, setting: Setting) -> str:
        """Return a setting in a few words."""
        return ", ".join(f"{name} {value}" for name, value in setting.items())

    def code(self, setting: Setting) -> str:
        """Return Python code that applies a setting or control, to paste into a script."""
        return ""

    def shown(self, score: float) -> str:
        """Return a score, or a difference of scores, as a string for tables."""
        return f"{score:.4g}"

    def final_autoencoder(self) -> Autoencoder | None:
        """Return the autoencoder of `config`, trained on all data if the task trains one; None without one."""
        return None

    def config(self, setting: Setting, won: bool) -> dict[str, Any]:
        """Return the content of `policy.json` for the best setting; if it has not won, one that adds no samples."""
        return {"setting": dict(setting)}

    def settings(self) -> dict[str, Any]:
        """Return all settings that determine the scores, as JSON; a folder with other settings is not resumed."""
        return {"task": self.name}


def in_order(task: Task, controls: Mapping[str, float]) -> list[Setting]:
    """Return all settings of a task, those of `Task.first` at the front. controls: name => score on the first cell."""
    settings: list[Setting] = [dict(zip(task.space, values, strict=True))
                               for values in itertools.product(*task.space.values())]  # fmt: skip
    front = [setting for setting in task.first(controls) if setting in settings]
    return front + [setting for setting in settings if setting not in front]


def chosen_space(
    usual: Mapping[str, Sequence[Any]], own: Mapping[str, Sequence[Any]] | None
) -> dict[str, tuple[Any, ...]]:
    """Return the default space, with the values of `own` where given; policies are checked and converted to texts."""
    for name, values in (own or {}).items():
        if name not in usual:
            raise InputError(f"space has no {name!r}; known: {', '.join(usual)}")
        if not isinstance(values, (list, tuple)) or not values:
            raise InputError(f"space[{name!r}] is {values!r}; expected a list of at least one value")
    space = {name: tuple(values) for name, values in {**usual, **(own or {})}.items()}
    space["policy"] = tuple(map(str, space["policy"]))  # for JSON
    for text in space["policy"]:
        get_policy(text)
    return space
