"""Where the units of a plan are made: in this process, in the ranks of torchrun, or on a Ray cluster."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence

from ...exceptions import InputError
from ..work import Record, Work
from . import local, ray

Executor = Callable[[Work, Sequence[int], Record], None]

# Ranks of torchrun work like the local executor, each on its own part of the units.
EXECUTORS: dict[str, Executor] = {"local": local.run, "torchrun": local.run, "ray": ray.run}


def executor_of(name: str, gpus_per_worker: float | None) -> Executor:
    """The executor of this name; GPUs are for workers of Ray."""
    return EXECUTORS[name] if gpus_per_worker is None else functools.partial(ray.run, gpus_per_worker=gpus_per_worker)


def rank_of(executor: str) -> tuple[int, int]:
    """The number of this process among those of the executor that share the units, and how many there are."""
    if executor != "torchrun":
        return 0, 1
    rank, ranks = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    if not (rank.isdecimal() and ranks.isdecimal() and int(rank) < int(ranks)):
        raise InputError(
            f"executor='torchrun' takes RANK and WORLD_SIZE from the environment, got {rank!r} and {ranks!r}; "
            "start the program with torchrun --nproc-per-node N"
        )
    return int(rank), int(ranks)
