"""A run in TensorBoard, where that is installed: the history's numbers as scalars, and the grids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


class Board:
    """Event files in ``folder/tensorboard``; nothing without the package or a folder. Opened by the first `add`."""

    def __init__(self, folder: Path | None):
        self._folder = folder
        self._writer: Any = None

    def add(self, row: dict[str, Any], picture: torch.Tensor) -> None:
        """One round: its row of the history and its picture (3,H,W)."""
        if self._writer is None and not self._opened(row["step"]):
            return
        for name, value in row.items():
            if isinstance(value, float):
                self._writer.add_scalar(name, value, row["step"])
        self._writer.add_image("samples", picture, row["step"])
        self._writer.flush()

    def close(self) -> None:
        """Flush and close."""
        if self._writer is not None:
            self._writer.close()

    def _opened(self, step: int) -> bool:
        if self._folder is None:
            return False
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._folder = None
            return False
        # A resumed run replaces what was written after its checkpoint.
        self._writer = SummaryWriter(str(self._folder / "tensorboard"), purge_step=step)
        return True
