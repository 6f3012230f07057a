"""Jobs whose results are stored row by row, so that a stopped benchmark resumes."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import processor

from augmentor._internal.files import write_json
from augmentor.exceptions import AugmentorError

Rows = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One seed of one set, as it is passed to a process."""

    name: str
    seed: int
    root: str
    work: Path
    settings: Any
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Store:
    """File of rows with the settings of the run. Rows that were stored with other settings are ignored."""

    path: Path
    settings: Mapping[str, Any]

    def rows(self) -> Rows:
        """Return the stored rows."""
        if not self.path.exists():
            return {}
        document = json.loads(self.path.read_text())
        return document["rows"] if document["settings"] == self.settings else {}

    def write(self, rows: Rows) -> None:
        """Replace the stored rows."""
        write_json(self.path, {"settings": self.settings, "rows": rows})


def fill(
    store: Store,
    job: Job,
    found: Rows,
    rows: Mapping[str, Callable[[Rows], dict[str, Any]]],
    shown: Callable[[dict[str, Any]], str],
) -> None:
    """Compute the rows that are not stored yet, and store each. A row is a function of the rows before it."""
    torch.set_num_threads(1)
    for name, row in rows.items():
        if name in found:
            continue
        started = time.process_time()  # CPU time, because other processes may run on the machine
        try:
            result = row(found)
        except AugmentorError as error:  # such as a budget that is too small for this machine
            print(f"{job.name:17} seed {job.seed}  {name:36} {error}", flush=True)
            continue
        found[name] = {**result, "seconds": round(time.process_time() - started, 1), "processor": processor()}
        found |= store.rows() | {name: found[name]}  # another run may have stored rows in the meantime
        store.write(found)
        print(f"{job.name:17} seed {job.seed}  {name:36} {shown(found[name])}  {found[name]['seconds']:4.0f} s",
              flush=True)  # fmt: skip


def in_processes(
    run: Callable[[Job], Job], jobs: Iterable[Job], processes: int, publish: Callable[[list[Job]], None]
) -> None:
    """Run all jobs in processes, and publish each set when its last seed ends."""
    jobs = list(jobs)
    waiting = [job.name for job in jobs]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for job in pool.imap_unordered(run, jobs):
            waiting.remove(job.name)
            if job.name not in waiting:
                publish([other for other in jobs if other.name == job.name])
