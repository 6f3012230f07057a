"""Float32 and the same kernels throughout, so that stored bytes do not depend on a caller's settings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def full_precision(device: str) -> Iterator[None]:
    """Set aside whatever the caller has switched on for a training loop; it comes back afterwards."""
    with contextlib.ExitStack() as restore:
        cudnn: Any = torch.backends.cudnn
        mkldnn: Any = torch.backends.mkldnn
        for backend in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn):
            before = backend.fp32_precision
            if before not in ("none", "ieee"):
                backend.fp32_precision = "ieee"
                restore.callback(setattr, backend, "fp32_precision", before)
        for flag, value in (("benchmark", False), ("deterministic", True)):
            restore.callback(setattr, cudnn, flag, getattr(cudnn, flag))
            setattr(cudnn, flag, value)
        restore.enter_context(torch.autocast(device, enabled=False))
        yield
