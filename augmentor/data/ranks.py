"""Rank of this process: from the samplers of its loader, or from `torch.distributed`."""

from __future__ import annotations

from typing import Any

import torch.distributed
from torch.utils.data import IterableDataset

# Attributes of samplers: of torch and timm, and of Accelerate.
_NAMES = (("rank", "num_replicas"), ("process_index", "num_processes"))


def samplers_of(loader: Any) -> list[Any]:
    """Return the samplers of a loader, including those inside other samplers."""
    inside = [getattr(loader, name, None) for name in ("sampler", "batch_sampler")]
    return [each for sampler in inside if sampler is not None for each in (sampler, *samplers_of(sampler))]


def rank_of(loader: Any) -> tuple[int, int]:
    """Return rank and number of ranks: of a distributed sampler, else of `torch.distributed`, else (0, 1)."""
    return _by_sampler(loader) or process_rank()


def repeats_data(loader: Any) -> bool:
    """Return whether each of several processes seems to read all of a map-style data set."""
    dataset = getattr(loader, "dataset", None)
    map_style = hasattr(dataset, "__getitem__") and not isinstance(dataset, IterableDataset)
    return map_style and process_rank()[1] > 1 and _by_sampler(loader) is None and not is_prepared(loader)


def is_prepared(loader: Any) -> bool:
    """Return whether Accelerate has prepared the loader; each process then gets a part, also without a sampler."""
    return bool(getattr(loader, "_is_accelerate_prepared", False))


def _by_sampler(loader: Any) -> tuple[int, int] | None:
    for sampler in samplers_of(loader):
        for rank, ranks in _NAMES:
            # A sampler created before the processes were initialised has one rank, and does not divide the data.
            if getattr(sampler, ranks, 1) > 1:
                return getattr(sampler, rank), getattr(sampler, ranks)
    return None


def process_rank() -> tuple[int, int]:
    """Return rank and number of ranks of `torch.distributed`; (0, 1) if it is not initialised."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
