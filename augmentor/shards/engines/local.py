"""Executor in this process; a thread writes a unit while the next one is decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from ..work import Record, Work

_WAITING = 2  # decoded units that may wait for the writer


def run(work: Work, units: Sequence[int], record: Record) -> None:
    """Make the units in order. If decoding fails, units decoded before are still written and recorded."""
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "shard-writer") as writer:
        for unit, arrays in work.decoded(units):
            waiting.append(writer.submit(lambda unit, arrays: record(work.write(unit, arrays)), unit, arrays))
            while waiting and (len(waiting) > _WAITING or waiting[0].done()):
                waiting.popleft().result()  # raises errors of the writer
    for future in waiting:
        future.result()
