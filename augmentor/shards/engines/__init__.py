"""Executors of the units of a plan: this process, the ranks of torchrun, or a Ray cluster."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence

from ...exceptions import InputError
from ..work import Record, Work
from . import local, ray

Executor = Callable[[Work, Sequence[int], Record], None]

# Each rank of torchrun runs the local executor on its own units.
EXECUTORS: dict[str, Executor] = {"local": local.run, "torchrun": local.run, "ray": ray.run}


def executor_of(name: str, gpus_per_worker: float | None) -> Executor:
    """Return the executor of this name; GPUs are only for workers of Ray."""
    return EXECUTORS[name] if gpus_per_worker is None else functools.partial(ray.run, gpus_per_worker=gpus_per_worker)


def rank_of(executor: str) -> tuple[int, int]:
    """Return the rank of this process and the number of ranks; (0, 1) except with torchrun."""
    if executor != "torchrun":
        return 0, 1
    rank, ranks = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    if not (rank.isdecimal() and ranks.isdecimal() and int(rank) < int(ranks)):
        raise InputError(
            f"executor='torchrun' reads RANK and WORLD_SIZE from the environment, got {rank!r} and {ranks!r}; "
            "start the program with torchrun --nproc-per-node N"
        )
    return int(rank), int(ranks)
