"""Shard generation: a pure function from (data, autoencoder, settings, unit number) to the bytes of a shard.

Within a unit, samples are decoded in micro-batches of one fixed shape, and the last one is padded, because results may
depend on the shape of the batch in the last bits. Equal settings give equal bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._internal.checks import to_uint8
from .._internal.datasets import fetch
from .._internal.files import write_bytes
from .._internal.random import SampleRandom, sample_keys
from ..autoencoders import InferencePlan
from ..autoencoders.augmenter import Augmenter
from ..exceptions import DataError
from ..latents import LatentCache
from ..latents import Posterior as RawPosterior
from .formats import ORIGINAL_KEPT
from .manifest import Manifest, ShardEntry
from .plan import sources_of
from .precision import full_precision
from .real_images import Batch, read, regrouped

# Called once per written shard, before the next one.
Record = Callable[[ShardEntry], None]


@dataclass(frozen=True)
class Work:
    """Callable that makes shards. It can be pickled, so an executor may send it to other processes.

    batch_size: real images read at once. num_workers: processes that read them; 0 reads in this process.
    cache: their latents and labels; images are then read only if the transform uses them.
    advance: called with the number of samples of each micro-batch, in the process that makes them.
    """

    dataset: Any
    augment: Augmenter
    folder: Path
    settings: Manifest
    batch_size: int = 256
    num_workers: int = 0
    cache: LatentCache | None = None
    advance: Callable[[int], object] | None = None

    def __call__(self, unit: int) -> ShardEntry:
        """Make and write one shard. A second call writes the same bytes."""
        return next(self.write(unit, arrays) for unit, arrays in self.decoded([unit]))

    def decoded(self, units: Iterable[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Yield the arrays of each unit, in order; images of the next unit may be read in advance."""
        units = list(units)
        if self._blank:
            assert self.cache is not None
            reads = self._known(self.cache, self._reads(units))
        else:
            reads = read(self.dataset, self._reads(units), self.num_workers)
        for unit in units:
            yield unit, self._arrays(unit, reads)

    def write(self, unit: int, arrays: dict[str, np.ndarray]) -> ShardEntry:
        """Write a shard atomically. Raises `OutputError` if this fails."""
        name = self.settings.file_name(unit)
        data = self.settings.form.encode(arrays, self.settings, unit)
        write_bytes(self.folder / name, data, shared=True)
        return ShardEntry(name, len(arrays["labels"]), hashlib.sha256(data).hexdigest(), len(data))

    @property
    def _blank(self) -> bool:
        """Whether images are not read, because the transform does not use them."""
        return self.cache is not None and not self.augment.needs_images

    def _sources(self, unit: int) -> tuple[np.ndarray, np.ndarray]:
        return sources_of(self.settings.samples(unit), len(self.dataset))

    def _reads(self, units: Iterable[int]) -> Iterator[list[int]]:
        for unit in units:
            sources, _ = self._sources(unit)
            for start in range(0, len(sources), self.batch_size):
                yield sources[start : start + self.batch_size].tolist()

    def _known(self, cache: LatentCache, reads: Iterable[list[int]]) -> Iterator[Batch]:
        """Yield batches as `read` does, with blank images, which are not used, and labels of the cache."""
        blank = torch.zeros(1, *self.settings.image_shape, dtype=torch.uint8)
        for rows in reads:
            yield blank.expand(len(rows), -1, -1, -1), None if cache.labels is None else cache.labels[rows]

    def _arrays(self, unit: int, reads: Iterator[Batch]) -> dict[str, np.ndarray]:
        sources, draws = self._sources(unit)
        step = self.settings.micro_batch
        batches = regrouped(islice(reads, -(-len(sources) // self.batch_size)), step)
        settings, labels, kept = self.settings, [], np.zeros(len(sources), bool)
        pixels, latents = (settings.image_shape, np.uint8), (settings.latent_shape or (), np.float32)
        shape, dtype = pixels if settings.store == "images" else latents
        content = np.empty((len(sources), *shape), dtype)
        plan = InferencePlan.parse(settings.precision)
        with torch.no_grad(), full_precision(self.augment.device.type), self.augment.inference.using(plan):
            for start, batch in zip(range(0, len(sources), step), batches, strict=True):
                part = slice(start, start + step)
                content[part], some_labels, kept[part] = self.micro_batch(*batch, sources[part], draws[part])
                labels.append(some_labels)
                if self.advance is not None:
                    self.advance(len(some_labels))
        return {
            settings.store: content,
            "labels": np.concatenate(labels),
            "source_index": sources[:, None],
            "copy": np.where(kept, ORIGINAL_KEPT, draws).astype(np.int32),
        }

    def micro_batch(
        self, images: torch.Tensor, labels: torch.Tensor | None, sources: np.ndarray, draws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the content to store of these draws, their labels, and which original images were kept."""
        count, settings = len(sources), self.settings
        if tuple(images.shape[1:]) != settings.image_shape:
            raise DataError(
                f"got images of shape {tuple(images.shape[1:])} after {settings.image_shape}; "
                "resize them to one shape with v2.Resize"
            )
        if count < settings.micro_batch:
            padded = np.minimum(np.arange(settings.micro_batch), count - 1)  # repeats the last row
            sources, draws, images = sources[padded], draws[padded], images[padded]
            labels = None if labels is None else labels[padded]
        else:
            images = images.clone(memory_format=torch.contiguous_format)  # not a view: alignment may change float sums
        keys = sample_keys(settings.seed, settings.epoch, sources, draws)
        raw = None if self.cache is None else self.cache[sources]
        content, new_labels, mask = self._synthetic(images, labels, SampleRandom(keys, self.augment.device), raw)
        made = content[:count].cpu().numpy()
        kept = np.zeros(count, bool) if mask is None else mask[:count].cpu().numpy()
        if self._blank and settings.store == "images" and kept.any():  # these were not read
            originals, _ = fetch(self.dataset, sources[:count][kept].tolist())
            made[kept] = to_uint8(originals).numpy()
        if new_labels is None:
            return made, np.zeros(count, np.int64), kept
        return made, self._checked_labels(new_labels[:count].cpu().numpy()), kept

    def _synthetic(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None,
        random: SampleRandom,
        raw: RawPosterior | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Return uint8 images or float32 raw latents of a micro-batch, labels, and which original images were kept."""
        if self.settings.store == "latents":
            latents = self.augment.perturb_latents(images, labels, random, raw=raw)
            return latents.raw.float(), latents.labels, latents.kept
        made = self.augment.perturb(images, labels, random, raw=raw)
        return to_uint8(made.images), made.labels, made.kept

    def _checked_labels(self, labels: np.ndarray) -> np.ndarray:
        classes = len(self.settings.class_names)
        if labels.ndim == 2 and labels.shape[1] != classes:
            raise DataError(f"got soft labels {labels.shape} for {classes} class names; expected one column per name")
        if labels.ndim == 1 and labels.max() >= classes:
            raise DataError(
                f"got labels up to {labels.max()} for {classes} class names; expected 0 to {classes - 1}, or a "
                "negative number for an image without a label"
            )
        return labels.astype(np.float32 if labels.ndim == 2 else np.int64, copy=False)
