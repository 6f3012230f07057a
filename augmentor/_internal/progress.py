"""Progress bars: the one place of the package that makes them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

DELAY = 2.0  # seconds; shorter work shows nothing
_PAUSE = 10.0  # seconds at least between two lines of a log
_LINE = "{desc}: {percentage:.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


def progress_bar(iterable: Iterable[Any] | None = None, *, show: bool = True, **settings: Any) -> tqdm[Any]:
    """A tqdm bar on stderr for work of more than two seconds; settings are those of tqdm, such as `desc` and `total`.

    Where stderr is no terminal, such as in the log of a job, it writes a line at most every ten seconds, and one at the
    end. Of several processes that a launcher started only the first shows any. ``TQDM_DISABLE=1`` hides all bars, as
    for every use of tqdm.

    >>> list(progress_bar([1, 2, 3], desc="reading", unit="image"))
    [1, 2, 3]
    """
    if not show or not _first_process():  # never disable=False, which would override TQDM_DISABLE
        settings["disable"] = True
    bar, size = (tqdm, _size()) if _redraws() else (_Lines, {})
    return bar(iterable, delay=DELAY, **size, **settings)


class _Lines(tqdm):
    """A bar that writes whole lines, for a file or a pipe."""

    def __init__(self, *args: Any, **settings: Any):
        self._line, self._written = 0.0, -1  # when the last line was written, and the count in it
        # All times are looked at in `display`, and a bar that stays would end with an empty line.
        settings |= {"leave": False, "mininterval": 0, "miniters": 1}
        if settings.get("total") is not None or hasattr(args[0], "__len__"):
            settings.setdefault("bar_format", _LINE)
        super().__init__(*args, **settings)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Write a line if it is time for one, or, told to remove the bar, the last one."""
        now = self._time()
        early = now < getattr(self, "start_t", now) + self.delay  # where tqdm.write draws all bars anew
        due = not early and now - self._line >= _PAUSE
        if due or (msg == "" and self.n != self._written):
            self._line, self._written = now, self.n
            self.fp.write(f"{self}\n")
            self.fp.flush()
        return False

    def clear(self, nolock: bool = False) -> None:
        """Lines stay where they are."""


def _redraws() -> bool:
    """Whether what is written to stderr can be drawn over: on a terminal and in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def _size() -> dict[str, int]:
    """For terminals that say they have no columns, such as those of some editors, where tqdm would show nothing."""
    try:
        known = os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):  # a notebook
        known = True
    return {} if known else {"ncols": 80, "nrows": 24}


def _first_process() -> bool:
    return (os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0") == "0"
