"""Work on the next batch while the one before is used: on CUDA, in a stream of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._pytree import tree_leaves


def ahead(batches: Iterator[Any], device: torch.device) -> Iterator[Any]:
    """The same batches. On CUDA each is made in a side stream, while the caller's step on the one before runs.

    What the caller has queued up to the last batch is waited for (by the device, not by the host), so a batch may
    depend on weights as they were one step ago. Elsewhere nothing runs beside the host, and batches just pass.
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
                leaf.record_stream(main)  # its memory is not given to the side stream before `main` has used it
        upcoming = following()
        yield batch
        batch = upcoming
