"""Fixed precision and kernels, so that stored bytes do not depend on the settings of the caller."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def full_precision(device: str) -> Iterator[None]:
    """Use full float32 and deterministic kernels without autocast; restore the settings of the caller afterwards."""
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
