"""Where a part of the GPU benchmark runs, and what it finds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from augmentor.data import ArrayDataset


@dataclass(frozen=True)
class Place:
    """A device, sizes (`quick`: small ones), and a folder for what a part writes on the way."""

    device: torch.device
    quick: bool
    folder: Path

    @property
    def on_cuda(self) -> bool:
        return self.device.type == "cuda"

    def size(self, full: int, quick: int) -> int:
        """A number of images, steps or rounds."""
        return quick if self.quick else full

    def synchronize(self) -> None:
        """Wait until the device has done all that was queued."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    def images(self, count: int, shape: tuple[int, int, int]) -> ArrayDataset:
        """Smooth random images in ten classes; the same at every call."""
        random = torch.Generator().manual_seed(0)
        coarse = torch.rand(count, shape[0], 4, 4, generator=random)
        images = torch.nn.functional.interpolate(coarse, shape[1:], mode="bicubic").clamp(0, 1)
        return ArrayDataset((255 * images).round().to(torch.uint8), torch.arange(count) % 10)

    def seconds(self, contenders: dict[str, Callable[[], Any]], calls: int = 10, rounds: int = 5) -> dict[str, float]:
        """Median seconds a call of each contender, measured in turn, after calls to warm up."""
        calls, rounds = self.size(calls, 1), self.size(rounds, 1)
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(rounds + 1):
            for name, contender in contenders.items():
                self.synchronize()
                began = time.perf_counter()
                for _ in range(calls):
                    contender()
                self.synchronize()
                if turn:
                    times[name].append((time.perf_counter() - began) / calls)
        return {name: statistics.median(values) for name, values in times.items()}


@dataclass
class Found:
    """Figures of a part by name, and the names of those that are not as they should be."""

    figures: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    error: str | None = None

    def figure(self, name: str, value: Any) -> None:
        """Something measured."""
        self.figures[name] = value

    def check(self, name: str, value: Any, holds: bool) -> None:
        """Something measured that has to be so."""
        self.figure(name, value)
        if not holds:
            self.failed.append(name)

    def as_json(self) -> dict[str, Any]:
        return {"figures": self.figures, "failed": self.failed, "error": self.error}
