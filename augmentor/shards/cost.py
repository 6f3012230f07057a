"""Estimate of the cost of generation, measured on one micro-batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from .._internal.datasets import fetch
from ..autoencoders import InferencePlan
from .journal import read_partial
from .manifest import MANIFEST, read_manifest
from .plan import sources_of
from .precision import full_precision
from .work import Work

# A micro-batch that takes fewer seconds is measured again, because the first one includes one-time work.
_SHORT = 2.0
_UNITS = {"hours": 3600, "minutes": 60, "seconds": 1}


@dataclass(frozen=True)
class Cost:
    """Cost of the missing images in this process.

    images: number of missing images. seconds: time for all of them. memory_bytes: peak memory of the GPU, or None.

    >>> print(Cost(images=1000, seconds=7380.0, memory_bytes=2**31))
    2.05 hours for 1,000 images (7.4 s per image, 2.0 GiB of GPU memory)
    """

    images: int
    seconds: float
    memory_bytes: int | None = None

    def __str__(self) -> str:
        each = self.seconds / self.images
        shown = f"{each:.2g} s" if each >= 1 else f"{1000 * each:.2g} ms"
        memory = "" if self.memory_bytes is None else f", {self.memory_bytes / 2**30:.1f} GiB of GPU memory"
        unit, length = next((u, n) for u, n in _UNITS.items() if self.seconds >= n or n == 1)
        return f"{self.seconds / length:.3g} {unit} for {self.images:,} images ({shown} per image{memory})"


def still_to_make(folder: Path, units: Sequence[int]) -> list[int]:
    """Return the units that are not yet recorded in the folder."""
    begun = read_manifest(folder / MANIFEST) if (folder / MANIFEST).exists() else read_partial(folder)
    recorded = set() if begun is None else {entry.unit for entry in begun.shards}
    return [unit for unit in units if unit not in recorded]


def cost_of(work: Work, units: Sequence[int]) -> Cost:
    """Estimate the cost of these units from their first micro-batch, whose result is not kept."""
    settings, device = work.settings, work.augment.device
    sources, draws = sources_of(settings.samples(units[0])[: settings.micro_batch], len(work.dataset))
    images, labels = fetch(work.dataset, sources.tolist())
    plan = InferencePlan.parse(settings.precision)
    with torch.no_grad(), full_precision(device.type), work.augment.inference.using(plan):
        for _ in range(2):
            began = time.monotonic()
            work.micro_batch(images, labels, sources, draws)  # its result is on the host, so a GPU has finished
            if (seconds := time.monotonic() - began) >= _SHORT:
                break
    counts = [len(settings.samples(unit)) for unit in units]
    batches = sum(-(-count // settings.micro_batch) for count in counts)
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return Cost(sum(counts), batches * seconds, memory)
