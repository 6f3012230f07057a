"""The contract of a task: what settings there are, what they race against, and how one is scored."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from ..autoencoders import Autoencoder
from ..exceptions import InputError
from ..policies import get_policy

# One value for each name of the task's space; of a control, its name alone: {"control": "none"}.
Setting: TypeAlias = Mapping[str, Any]


class Score(NamedTuple):
    """A score and, where it is made of single samples, whether each of the cell's test samples came out right.

    >>> Score(0.5, [True, False]).value
    0.5
    """

    value: float
    right: Sequence[bool] | None = None


class Cost(NamedTuple):
    """Seconds of single pieces of work, estimated: to score a control or a setting on a cell, to prepare one, to open.

    >>> Cost(control=2.0, setting=3.0).prepare
    0.0
    """

    control: float
    setting: float
    prepare: float = 0.0
    open: float = 0.0


class Task:
    """Base of all tasks. A member gives `space`, `controls` and `evaluate`; the rest has defaults.

    A *cell* is one comparison under equal conditions: a fold of a repeated cross-validation, or a seed. All settings
    that are compared on a cell get the same seed there, so the differences on a cell are paired.

    name: for tables. larger_is_better: which way scores go.
    space: name => the values to search. controls: names of what the settings have to beat; the first is the default,
        which is recommended where no other is better beyond luck.
    search_cells: a setting that is never pruned is scored on so many cells, numbered from 0; the final goes on with
        the numbers after them.
    folds: so many cells, counted from 0, test each sample once; the final takes them together.
    weights: of the samples in the verdict, if they do not count the same.
    estimates, opens, prepares: whether `estimate`, `open` and `prepare` have something to do; what they take is planned
        for.
    clock: seconds, of any origin.

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
        """The score of a setting on a cell, the same at every call.

        With `Score.right` the verdict is taken over samples rather than over cells; `samples` says which they are.
        Raises `BudgetError` when `clock` passes `deadline`. Any other `AugmentorError` says that the setting cannot be
        used here, which drops it from the race, unless it is a control.
        """
        raise NotImplementedError

    def takes_settings(self, control: str) -> bool:
        """Whether settings can go on top of this control."""
        return True

    def settle(self, control: str) -> None:
        """Called once the best control that takes settings is known, before any setting is scored."""

    def first(self, controls: Mapping[str, float]) -> Sequence[Setting]:
        """Settings to try before any other. controls: what they scored on the first cell."""
        return ()

    def samples(self, cell: int) -> Sequence[int]:
        """Numbers, from 0, of the samples that `Score.right` of a cell is about, in its order; only if it is given."""
        raise NotImplementedError

    def estimate(self) -> Cost:
        """What everything will cost, measured in a few seconds before all else; if the task `estimates`.

        Without it the controls on the first cell have to tell.
        """
        raise NotImplementedError

    def open(self, deadline: float) -> None:
        """The first step of the race, if it `opens`: what controls need too. `BudgetError` at the deadline."""

    def prepare(self, cell: int, deadline: float) -> None:
        """What has to be there before settings, other than controls, are scored on a cell; if `prepares`."""

    def close(self) -> None:
        """The last step after the race, such as training on all the data; takes as long as a preparation or two."""

    def describe(self, setting: Setting) -> str:
        """A setting in a few words."""
        return ", ".join(f"{name} {value}" for name, value in setting.items())

    def code(self, setting: Setting) -> str:
        """Python that does a setting or control, to paste."""
        return ""

    def shown(self, score: float) -> str:
        """A score, or a difference of scores, for people."""
        return f"{score:.4g}"

    def final_autoencoder(self) -> Autoencoder | None:
        """The one that `config` means: trained on all the data, where one is trained."""
        return None

    def config(self, setting: Setting, won: bool) -> dict[str, Any]:
        """What `policy.json` says of the best setting; where it has not won, so that it changes nothing."""
        return {"setting": dict(setting)}

    def settings(self) -> dict[str, Any]:
        """Everything that decides the scores, as JSON: a folder with other settings is not resumed."""
        return {"task": self.name}


def in_order(task: Task, controls: Mapping[str, float]) -> list[Setting]:
    """All settings of a task, those to try first in front; controls: what they scored on the first cell."""
    settings: list[Setting] = [dict(zip(task.space, values, strict=True))
                               for values in itertools.product(*task.space.values())]  # fmt: skip
    front = [setting for setting in task.first(controls) if setting in settings]
    return front + [setting for setting in settings if setting not in front]


def chosen_space(
    usual: Mapping[str, Sequence[Any]], own: Mapping[str, Sequence[Any]] | None
) -> dict[str, tuple[Any, ...]]:
    """The usual space, with the values of one's own where there are any; policies as checked texts."""
    for name, values in (own or {}).items():
        if name not in usual:
            raise InputError(f"space has no {name!r}; known: {', '.join(usual)}")
        if not isinstance(values, (list, tuple)) or not values:
            raise InputError(f"space gives {values!r} for {name}; expected a list of at least one value")
    space = {name: tuple(values) for name, values in {**usual, **(own or {})}.items()}
    space["policy"] = tuple(map(str, space["policy"]))  # JSON has to hold it
    for text in space["policy"]:
        get_policy(text)
    return space
