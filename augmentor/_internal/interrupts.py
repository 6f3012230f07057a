"""Ctrl-C that waits until a piece of work is done."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C says so and raises nothing: the function that this yields returns True from then on.

    The second Ctrl-C raises `KeyboardInterrupt` as usual. Nothing changes where a handler of somebody else is set, nor
    in threads other than the main one.

    >>> with deferred_interrupt() as interrupted:
    ...     interrupted()
    False
    """
    usual, noted = signal.getsignal(signal.SIGINT), threading.Event()
    if usual is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield noted.is_set
        return

    def note(*_: Any) -> None:
        print("\nending after this step; press Ctrl-C again to end at once", file=sys.stderr, flush=True)
        noted.set()
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGINT, usual)
