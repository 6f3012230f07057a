"""Make the next batch while the current one is used: on CUDA, on a separate stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._pytree import tree_leaves


def ahead(batches: Iterator[Any], device: torch.device) -> Iterator[Any]:
    """Yield the same batches. On CUDA each is made on a side stream, during the caller's step on the previous batch.

    The side stream (not the host) waits for the work that the caller queued before the previous batch, so a batch may
    depend on the weights of one step earlier. On other devices batches are yielded without prefetching.
    """
    if device.type != "cuda":
        yield from batches
        return
    side = torch.cuda.Stream(device)

    def following() -> Any:
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            return next(batches, None)

    batch = following()
    while batch is not None:
        main = torch.cuda.current_stream(device)
        main.wait_stream(side)
        for leaf in tree_leaves(batch):
            if isinstance(leaf, torch.Tensor) and leaf.is_cuda:
                leaf.record_stream(main)  # the side stream may reuse its memory only after `main`
        upcoming = following()
        yield batch
        batch = upcoming
