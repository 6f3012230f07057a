"""Writing of a run to TensorBoard, if it is installed: the history as scalars, and the sample grids as images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


class Board:
    """Writer of event files in ``folder/tensorboard``; it writes nothing without TensorBoard or without a folder."""

    def __init__(self, folder: Path | None):
        self._folder = folder
        self._writer: Any = None

    def add(self, row: dict[str, Any], picture: torch.Tensor) -> None:
        """Write one round: the row of the history, and a picture (3,H,W)."""
        if self._writer is None and not self._opened(row["step"]):
            return
        for name, value in row.items():
            if isinstance(value, float):
                self._writer.add_scalar(name, value, row["step"])
        self._writer.add_image("samples", picture, row["step"])
        self._writer.flush()

    def close(self) -> None:
        """Close the event file, if one is open."""
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
        # A resumed run replaces the events that were written after its checkpoint.
        self._writer = SummaryWriter(str(self._folder / "tensorboard"), purge_step=step)
        return True
