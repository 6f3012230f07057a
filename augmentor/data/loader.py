"""`AugmentedLoader`: any loader's batches, with synthetic samples behind the real ones, on the device."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from .._internal.checks import check_range, check_ratio
from .._internal.random import SampleRandom, fold, sample_keys
from .._internal.samples import image_to_tensor, labels_tensor, split_item, tensor_to_image
from .._internal.transfer import sent
from ..autoencoders.augmenter import Augmenter
from ..exceptions import AugmentorWarning
from ..latents import LatentCache, Posterior
from .block_sampler import BlockSampler
from .indexed import without_index
from .prefetch import ahead


class AugmentedLoader:
    """Moves each batch to the device, encodes, perturbs and decodes there, and appends the synthetic samples.

    loader: any iterable of `(images, labels)` or images (B,C,H,W), uint8 or floating in [0, 1]. With an engine that
        prepares loaders (Accelerate, Fabric), wrap the prepared loader.
    augment: makes the synthetic samples; it is moved to `device`.
    ratio: synthetic samples for each real one. A batch of B gets ``ratio * B`` (when that is whole; else one more or
        less, so that the epoch's total is exact).
    device: where to work; the autoencoder's by default.
    return_mask: yield also a bool tensor that is true for the synthetic rows (a rejected sample, whose image is the
        original, counts as real).
    return_weights: yield also float weights in [0, 1] for the loss: 1 for real rows, the gate's for the others.
    cache: latents of the data set, so that samples are only decoded. Batches then have to say which samples they hold:
        wrap the data set in `Indexed`, ``DataLoader(Indexed(dataset), ...)``; the numbers do not come out again. Images
        have to be those that were encoded, so no random transform may stand before.
    seed: what a sample becomes depends on (seed, epoch, its place in the epoch, draw index), not on the batch size.
        Under a distributed sampler the place counts over all ranks. A policy that needs a reference set has to be
        fitted for that.

    Each `iter` starts the next epoch, unless `set_epoch` says which. Nothing here makes the host wait for the device.
    On CUDA batches come through pinned memory, and the next one is made in a stream of its own while the training step
    on the last one runs.

    >>> from augmentor import LatentAugment
    >>> images, labels = torch.rand(8, 1, 8, 8), torch.arange(8)
    >>> loader = AugmentedLoader([(images, labels)], LatentAugment("digits"), ratio=0.5)
    >>> [(tuple(x.shape), len(y)) for x, y in loader]
    [((12, 1, 8, 8), 12)]
    """

    def __init__(
        self,
        loader: Any,
        augment: Augmenter,
        *,
        ratio: float = 0.5,
        device: torch.device | str | None = None,
        return_mask: bool = False,
        return_weights: bool = False,
        seed: int = 0,
        cache: LatentCache | None = None,
    ):
        check_ratio(ratio)
        if ratio == 0:
            warnings.warn("AugmentedLoader with ratio=0 adds no synthetic samples", AugmentorWarning, stacklevel=2)
        self.loader, self.ratio, self.seed = loader, ratio, seed
        self.return_mask, self.return_weights = return_mask, return_weights
        self.device = torch.device(device) if device is not None else augment.device
        self.cache = None if cache is None else cache.check(augment.autoencoder)
        self.augment = augment.to(self.device)
        _ = augment.plan  # measured here, if it has to be, and not in the loop
        self.epoch = -1
        self._next_epoch = 0

    def __len__(self) -> int:
        return len(self.loader)

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next `iter`; handed on to the loader's sampler where that has a `set_epoch`."""
        self._next_epoch = epoch
        for part in (self.loader, *_samplers(self.loader)):
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        return ahead(self._batches(), self.device)

    def _batches(self) -> Iterator[Any]:
        self.epoch, self._next_epoch = self._next_epoch, self._next_epoch + 1
        rank, ranks = _rank_of(self.loader)
        # A sampler that resumes goes on in the middle of the epoch, and so do the places.
        blocks = (part for part in _samplers(self.loader) if isinstance(part, BlockSampler))
        seen = next((part.start * part.num_replicas // ranks for part in blocks), 0)
        for batch in self.loader:
            batch, raw = (batch, None) if self.cache is None else self._looked_up(batch, self.cache)
            images, labels = split_item(batch)
            images = image_to_tensor(images)
            check_range(images, "AugmentedLoader")
            rows, draw_indices = self._chosen(seen + np.arange(len(images)))
            keys = sample_keys(self.seed, self.epoch, (seen + rows) * ranks + rank, draw_indices)
            seen += len(images)
            yield self._mixed(images, None if labels is None else labels_tensor(labels), rows, keys, raw)

    def _looked_up(self, batch: Any, cache: LatentCache) -> tuple[Any, Posterior]:
        """The batch without its samples' numbers, and their latents on the device."""
        batch, indices = without_index(batch)
        return batch, cache[indices].sent(self.device)

    def _mixed(
        self,
        images: torch.Tensor,
        labels: torch.Tensor | None,
        rows: np.ndarray,
        keys: np.ndarray,
        raw: Posterior | None,
    ) -> Any:
        """Real rows, then one synthetic row for each of `rows`."""
        images = sent(images, self.device)
        labels = None if labels is None else self.augment.soften(sent(labels, self.device))
        weights = torch.ones(len(images), device=self.device)
        synthetic = torch.zeros(len(images), dtype=torch.bool, device=self.device)
        if len(rows):
            random, picked = SampleRandom(keys, self.device), sent(torch.from_numpy(rows), self.device)
            made, made_labels, by_gate = self.augment.perturb(images, labels, random, picked, raw)
            images = torch.cat([images, tensor_to_image(made, like=images)])
            if labels is not None and made_labels is not None:
                labels = torch.cat([labels, made_labels])
            gate = self.augment.gate
            if gate is None or by_gate is None:
                by_gate = torch.ones(len(made), device=self.device)
            rejected = torch.zeros_like(by_gate, dtype=torch.bool) if gate is None else gate.rejected(by_gate)
            weights, synthetic = torch.cat([weights, by_gate]), torch.cat([synthetic, ~rejected])
        parts = [images]
        parts += [] if labels is None else [labels]
        parts += [synthetic] if self.return_mask else []
        parts += [weights] if self.return_weights else []
        return tuple(parts) if len(parts) > 1 else images

    def _chosen(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which rows get synthetic samples, and their draw indices, as a function of the places in the epoch alone."""
        # The running total ratio * place, rounded down, from a start that differs between epochs: every place gets
        # its share over the epochs, and a batch of B gets exactly ratio * B when that is whole.
        start = fold(self.seed, self.epoch, "start") / 2**63
        before, after = np.floor(places * self.ratio + start), np.floor((places + 1) * self.ratio + start)
        counts = (after - before).astype(np.int64)
        rows = np.repeat(np.arange(len(places)), counts)
        first = np.repeat(np.cumsum(counts) - counts, counts)
        return rows, np.arange(len(rows)) - first


def _samplers(loader: Any) -> list[Any]:
    """The samplers of a loader, those inside other samplers included."""
    inside = [getattr(loader, name, None) for name in ("sampler", "batch_sampler")]
    return [each for sampler in inside if sampler is not None for each in (sampler, *_samplers(sampler))]


def _rank_of(loader: Any) -> tuple[int, int]:
    """Rank and number of ranks of a distributed sampler, torch's or Accelerate's; (0, 1) where there is none."""
    for sampler in _samplers(loader):
        for rank, ranks in (("rank", "num_replicas"), ("process_index", "num_processes")):
            if hasattr(sampler, ranks):
                return getattr(sampler, rank), getattr(sampler, ranks)
    return 0, 1
