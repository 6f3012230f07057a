"""Progress bars of the whole package."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

DELAY = 2.0  # seconds before a bar is shown
_PAUSE = 10.0  # minimum time between two lines of a log, in seconds
_LINE = "{desc}: {percentage:.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"

_hidden = ContextVar("hidden", default=False)


def progress_bar(iterable: Iterable[Any] | None = None, *, show: bool = True, **settings: Any) -> tqdm[Any]:
    """Return a tqdm bar on stderr, shown after two seconds; settings are those of tqdm, such as `desc` and `total`.

    If stderr is not a terminal, for example in a job log, the bar writes a line at most every ten seconds and a last
    line at the end. In a distributed run only the first process shows bars. ``TQDM_DISABLE=1`` hides all bars, as for
    every use of tqdm.

    >>> list(progress_bar([1, 2, 3], desc="reading", unit="image"))
    [1, 2, 3]
    """
    if not show or _hidden.get() or not _first_process():  # never disable=False, which would override TQDM_DISABLE
        settings["disable"] = True
    bar, size = (tqdm, _size()) if _redraws() else (_Lines, {})
    return bar(iterable, delay=DELAY, **size, **settings)


class _Lines(tqdm):
    """Progress bar that writes whole lines, for a file or a pipe."""

    def __init__(self, *args: Any, **settings: Any):
        self._line, self._written = 0.0, -1  # when the last line was written, and the count in it
        # `display` decides when a line is due; with leave=True tqdm would add an empty line at the end.
        settings |= {"leave": False, "mininterval": 0, "miniters": 1}
        if settings.get("total") is not None or hasattr(args[0], "__len__"):
            settings.setdefault("bar_format", _LINE)
        super().__init__(*args, **settings)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Write a line if one is due; if the bar is to be removed, write the last line."""
        now = self._time()
        early = now < getattr(self, "start_t", now) + self.delay  # tqdm.write also redraws new bars
        due = not early and now - self._line >= _PAUSE
        if due or (msg == "" and self.n != self._written):
            self._line, self._written = now, self.n
            self.fp.write(f"{self}\n")
            self.fp.flush()
        return False

    def clear(self, nolock: bool = False) -> None:
        """Do nothing: written lines are not removed."""


@contextlib.contextmanager
def hidden() -> Iterator[None]:
    """Hide all progress bars inside the context.

    >>> with hidden():
    ...     list(progress_bar([1, 2, 3]))
    [1, 2, 3]
    """
    token = _hidden.set(True)
    try:
        yield
    finally:
        _hidden.reset(token)


def _redraws() -> bool:
    """Return whether stderr can be redrawn: on a terminal and in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def _size() -> dict[str, int]:
    """Return a size for terminals that report no columns (as in some editors), where tqdm would show nothing."""
    try:
        known = os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):  # a notebook
        known = True
    return {} if known else {"ncols": 80, "nrows": 24}


def _first_process() -> bool:
    return (os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0") == "0"
