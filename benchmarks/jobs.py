"""Work in pieces that are stored as they are found, so that a benchmark that was stopped goes on."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from augmentor._internal.files import write_json
from augmentor.exceptions import AugmentorError

Rows = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One seed of one set, as a process is told of it."""

    name: str
    seed: int
    root: str
    work: Path
    settings: Any
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Store:
    """A file of rows that were found under some settings; under others they are not seen."""

    path: Path
    settings: Mapping[str, Any]

    def rows(self) -> Rows:
        """Those that are there."""
        if not self.path.exists():
            return {}
        document = json.loads(self.path.read_text())
        return document["rows"] if document["settings"] == self.settings else {}

    def write(self, rows: Rows) -> None:
        """Replace them."""
        write_json(self.path, {"settings": self.settings, "rows": rows})


def fill(
    store: Store,
    job: Job,
    found: Rows,
    rows: Mapping[str, Callable[[Rows], dict[str, Any]]],
    shown: Callable[[dict[str, Any]], str],
) -> None:
    """Find the rows that are not there yet, storing each; a row is a function of those before it."""
    torch.set_num_threads(1)
    for name, row in rows.items():
        if name in found:
            continue
        started = time.process_time()  # not the clock: other work may share the machine
        try:
            result = row(found)
        except AugmentorError as error:  # such as a budget that is too small for this machine: the others go on
            print(f"{job.name:17} seed {job.seed}  {name:36} {error}", flush=True)
            continue
        found[name] = {**result, "seconds": round(time.process_time() - started, 1)}
        found |= store.rows() | {name: found[name]}  # another run may have stored rows meanwhile
        store.write(found)
        print(f"{job.name:17} seed {job.seed}  {name:36} {shown(found[name])}  {found[name]['seconds']:4.0f} s",
              flush=True)  # fmt: skip


def in_processes(
    run: Callable[[Job], Job], jobs: Iterable[Job], processes: int, publish: Callable[[list[Job]], None]
) -> None:
    """Run all jobs, and publish each set when the last of its seeds is done."""
    jobs = list(jobs)
    waiting = [job.name for job in jobs]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for job in pool.imap_unordered(run, jobs):
            waiting.remove(job.name)
            if job.name not in waiting:
                publish([other for other in jobs if other.name == job.name])
