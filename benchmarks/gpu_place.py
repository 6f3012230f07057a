"""Where a part of the GPU benchmark runs, and the results that it collects."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from common import Bench

from augmentor.data import ArrayDataset


@dataclass(frozen=True)
class Place:
    """Device, sizes (small ones with `quick`), and a folder for temporary files of a part."""

    device: torch.device
    quick: bool
    folder: Path

    @property
    def on_cuda(self) -> bool:
        return self.device.type == "cuda"

    def size(self, full: int, quick: int) -> int:
        """Return a number of images, steps or rounds."""
        return quick if self.quick else full

    def synchronize(self) -> None:
        """Wait until the device has finished all queued work."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    def images(self, count: int, shape: tuple[int, int, int]) -> ArrayDataset:
        """Return smooth random images in ten classes, equal at every call."""
        random = torch.Generator().manual_seed(0)
        coarse = torch.rand(count, shape[0], 4, 4, generator=random)
        images = torch.nn.functional.interpolate(coarse, shape[1:], mode="bicubic").clamp(0, 1)
        return ArrayDataset((255 * images).round().to(torch.uint8), torch.arange(count) % 10)

    def seconds(self, contenders: dict[str, Callable[[], Any]], calls: int = 10, rounds: int = 5) -> dict[str, float]:
        """Return the median seconds per call of each contender, measured in turn, after warm-up calls."""
        bench = Bench(self.device, self.size(rounds, 1))
        times = bench.in_turn(contenders, calls=self.size(calls, 1))
        return {name: statistics.median(values) for name, values in times.items()}


@dataclass
class Found:
    """Figures of a part by name, and the names of failed checks."""

    figures: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    error: str | None = None

    def figure(self, name: str, value: Any) -> None:
        """Record a measured value."""
        self.figures[name] = value

    def check(self, name: str, value: Any, holds: bool) -> None:
        """Record a measured value that has to meet a condition."""
        self.figure(name, value)
        if not holds:
            self.failed.append(name)

    def as_json(self) -> dict[str, Any]:
        return {"figures": self.figures, "failed": self.failed, "error": self.error}
