"""Journal of the measurements of a run, one per line, from which an interrupted run is resumed.

All decisions depend only on the recorded values, times included. So a run that is replayed from its journal makes the
same decisions, and the first missing line is the first work to do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..exceptions import OutputError


class Journal:
    """Journal of JSON lines, in the file `path`, or only in memory (None).

    elapsed: seconds used by all runs together, when the last line that was read or added was written.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float]):
        self.path, self.elapsed = path, 0.0
        self._clock, self._mark = clock, clock()
        self._past = [] if path is None else _read(path)

    def now(self) -> float:
        """Return the seconds used until now."""
        return self.elapsed + self._clock() - self._mark

    def replay(self, what: dict[str, Any]) -> dict[str, Any] | None:
        """Return the next line, or None if all have been read; `OutputError` if it does not contain `what`."""
        if not self._past:
            return None
        line = self._past.pop(0)
        if any(line.get(key) != value for key, value in what.items()):
            raise OutputError(
                f"{self.path} contains {line} in place of {what}: it was written by another version, or edited; "
                "remove the folder to start again"
            )
        self.elapsed, self._mark = line["elapsed"], self._clock()
        return line

    def add(self, what: dict[str, Any]) -> dict[str, Any]:
        """Append a line and return it; it is on the disk when the method returns."""
        line = json.loads(json.dumps({**what, "elapsed": round(self.now(), 3)}))
        self.elapsed, self._mark = line["elapsed"], self._clock()
        if self.path is not None:
            with open(self.path, "ab") as file:
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        return line


def _read(path: Path) -> list[dict[str, Any]]:
    """Return all complete lines; a partial line of a killed process is removed from the file."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        if not all(isinstance(line, dict) and isinstance(line["elapsed"], (int, float)) for line in lines):
            raise ValueError("a line has no elapsed time")
    except (ValueError, KeyError) as error:
        raise OutputError(
            f"{path} is not the journal of a run of tune ({error}); remove the folder to start again"
        ) from error
    return lines
