"""Ctrl-C that takes effect after the current step."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Defer the first Ctrl-C: it prints a message, and the yielded function returns True from then on.

    The second Ctrl-C raises `KeyboardInterrupt` as usual. The context has no effect if another handler of SIGINT is
    installed, and in threads other than the main thread.

    >>> with deferred_interrupt() as interrupted:
    ...     interrupted()
    False
    """
    usual, noted = signal.getsignal(signal.SIGINT), threading.Event()
    if usual is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield noted.is_set
        return

    def note(*_: Any) -> None:
        print("\nstopping after this step; press Ctrl-C again to stop immediately", file=sys.stderr, flush=True)
        noted.set()
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGINT, usual)
