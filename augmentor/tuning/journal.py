"""What a race has measured so far, a line each, so that a run that was killed goes on where it was.

Decisions are a function of the recorded values alone, times included; so the same race replayed from its journal takes
the same decisions, and the first line that is missing is the first work to do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..exceptions import OutputError


class Journal:
    """Lines of JSON, in `path` or only in memory (None).

    elapsed: seconds that all runs together had used when the line was written that was read or added last.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float]):
        self.path, self.elapsed = path, 0.0
        self._clock, self._mark = clock, clock()
        self._past = [] if path is None else _read(path)

    def now(self) -> float:
        """Seconds used, up to this moment."""
        return self.elapsed + self._clock() - self._mark

    def replay(self, what: dict[str, Any]) -> dict[str, Any] | None:
        """The next line, which must be about `what`; None when all have been read."""
        if not self._past:
            return None
        line = self._past.pop(0)
        if any(line.get(key) != value for key, value in what.items()):
            raise OutputError(
                f"{self.path} goes on with {line}, where {what} was expected: it stems from another version or was "
                "edited; remove the folder to start again"
            )
        self.elapsed, self._mark = line["elapsed"], self._clock()
        return line

    def add(self, what: dict[str, Any]) -> dict[str, Any]:
        """Append a line, on the disk when this returns."""
        line = json.loads(json.dumps({**what, "elapsed": round(self.now(), 3)}))
        self.elapsed, self._mark = line["elapsed"], self._clock()
        if self.path is not None:
            with open(self.path, "ab") as file:
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        return line


def _read(path: Path) -> list[dict[str, Any]]:
    """All whole lines; half a line at the end, of a process that was killed, is cut off."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        if not all(isinstance(line, dict) and isinstance(line["elapsed"], (int, float)) for line in lines):
            raise ValueError("a line has no time")
    except (ValueError, KeyError) as error:
        raise OutputError(
            f"{path} is not the journal of a tuning ({error}); remove the folder to start again"
        ) from error
    return lines
