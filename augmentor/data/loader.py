"""`AugmentedLoader`: any loader's batches, with synthetic samples behind the real ones, on the device."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch

from .._internal.checks import check_range, check_ratio
from .._internal.random import SampleRandom, drawn_seed
from .._internal.samples import image_to_tensor, labels_tensor, split_item, tensor_to_image
from .._internal.transfer import sent
from ..autoencoders.augmenter import Augmenter
from ..exceptions import AugmentorWarning, InputError
from ..latents import LatentCache, Posterior
from .batch import with_parts, with_rows
from .block_sampler import BlockSampler
from .draws import Draws
from .indexed import without_index
from .prefetch import ahead
from .ranks import is_prepared, rank_of, repeats_data, samplers_of


class AugmentedLoader:
    """Moves each batch to the device, encodes, perturbs and decodes there, and appends the synthetic samples.

    loader: any iterable of batches that hold images (B,C,H,W), uint8 or floating in [0, 1], and maybe labels: images,
        `(images, labels)`, or a dict. Batches come in the same structure; of what else they hold (tensors (B, ...),
        lists of B), a synthetic row has that of its source.
    augment: makes the synthetic samples; it is moved to `device`. Every one is perturbed, so `p` is 1 or the default.
    ratio: synthetic samples for each real one. A batch of B gets ``ratio * B`` (when that is whole; else one more or
        less, so that the epoch's total is exact).
    device: where to work; the autoencoder's by default.
    return_mask: give also a bool tensor that is true for the synthetic rows: behind the others, or in a dict as
        "is_synthetic". A row whose image stays the original (rejected, or without a partner) counts as real.
    return_weights: give also float weights in [0, 1] for the loss, in a dict as "weights": 1 for real rows, the gate's
        for the others.
    cache: latents of the data set, so that samples are only decoded. Batches then have to say which samples they hold:
        wrap the data set in `Indexed`, ``DataLoader(Indexed(dataset), ...)``; the numbers do not come out again. Images
        have to be those that were encoded, so no random transform may stand before.
    seed: what a sample becomes depends on (seed, epoch, its place in the epoch, draw index), not on the batch size.
        None takes the seed of `augment`; where that is None too, each `iter` draws one from torch's default generator.
        A policy that needs a reference set has to be fitted for that.

    Each `iter` starts the next epoch, unless `set_epoch` says which. Nothing here makes the host wait for the device.
    On CUDA batches come through pinned memory, and the next one is made in a stream of its own while the training step
    on the last one runs.

    Other attributes (`dataset`, `sampler`, `num_workers`, ...) are those of `loader`; so `batch_size` is the number of
    real images, and ``len`` the number of batches. An engine that builds a new loader from them leaves the synthetic
    samples out: so do Accelerate's `skip_first_batches` and, on resuming in the middle of an epoch, the Trainer of
    Hugging Face (use its ``ignore_data_skip=True``).

    With several processes no two make the same samples: places count over all of them. Each should have its own part of
    the data, which an engine can only give to the loader inside: wrap what Accelerate or Fabric has prepared, and for
    Lightning give that loader a `DistributedSampler`. `AugmentorWarning` where it has none.

    Raises `InputError` where Accelerate would take the loader apart, and for batches whose other parts synthetic rows
    cannot have, such as masks (unless the policy keeps the geometry).

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
        seed: int | None = None,
        cache: LatentCache | None = None,
    ):
        check_ratio(ratio)
        augment.check_synthesis("AugmentedLoader")
        if ratio == 0:
            warnings.warn("AugmentedLoader with ratio=0 adds no synthetic samples", AugmentorWarning, stacklevel=2)
        self.loader, self.ratio = loader, ratio
        self.seed = augment.seed if seed is None else seed
        self.return_mask, self.return_weights = return_mask, return_weights
        self.device = torch.device(device) if device is not None else augment.device
        self.cache = None if cache is None else cache.check(augment.autoencoder)
        self.augment = augment.to(self.device)
        _ = augment.plan  # measured here, if it has to be, and not in the loop
        self.epoch = -1
        self._next_epoch = 0
        self._warned = False

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        """What is no attribute of an `AugmentedLoader` is one of its loader."""
        if name == "loader" or name.startswith("__"):  # a copy in the making has no loader yet
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        if name == "_is_accelerate_prepared" and not is_prepared(self.loader):
            # Accelerate asks for this, and would go on to build a loader of the parts of ours.
            raise InputError(
                "Accelerate got an AugmentedLoader to prepare, and would leave its synthetic samples out; "
                "expected the loader inside: AugmentedLoader(accelerator.prepare(loader), augment)"
            )
        return getattr(self.loader, name)

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next `iter`; handed on to the loader's sampler where that has a `set_epoch`."""
        self._next_epoch = epoch
        for part in (self.loader, *samplers_of(self.loader)):
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        # Accelerate's loader says which batch is the last when it gives it out, so none may be fetched early.
        return self._batches() if is_prepared(self.loader) else ahead(self._batches(), self.device)

    def _batches(self) -> Iterator[Any]:
        self.epoch, self._next_epoch = self._next_epoch, self._next_epoch + 1
        draws = self._draws()
        for batch in self.loader:
            batch, raw = (batch, None) if self.cache is None else self._looked_up(batch, self.cache)
            yield self._mixed(batch, draws, raw)

    def _draws(self) -> Draws:
        rank, ranks = rank_of(self.loader)
        if rank == 0 and not self._warned and repeats_data(self.loader):
            self._warned = True
            warnings.warn(
                f"AugmentedLoader runs in {ranks} processes, and the loader inside has no distributed sampler, so each "
                "may train on all data; give that loader sampler=DistributedSampler(dataset), or wrap the one that "
                "Accelerate or Fabric has prepared",
                AugmentorWarning,
                stacklevel=4,
            )
        seed = drawn_seed() if self.seed is None else self.seed
        # A sampler that resumes goes on in the middle of the epoch, and so do the places.
        blocks = (part for part in samplers_of(self.loader) if isinstance(part, BlockSampler))
        seen = next((part.start * part.num_replicas // ranks for part in blocks), 0)
        return Draws(self.ratio, seed, self.epoch, rank, ranks, seen)

    def _looked_up(self, batch: Any, cache: LatentCache) -> tuple[Any, Posterior]:
        """The batch without its samples' numbers, and their latents on the device."""
        batch, indices = without_index(batch)
        return batch, cache[indices].sent(self.device)

    def _mixed(self, batch: Any, draws: Draws, raw: Posterior | None) -> Any:
        """Real rows, then the synthetic ones."""
        self.augment.check_geometry(batch)
        self.augment.check_labels(batch)
        images, labels = split_item(batch)
        images = image_to_tensor(images)
        check_range(images, "AugmentedLoader")
        rows, keys = draws.following(len(images))
        images = sent(images, self.device)
        labels = None if labels is None else self.augment.soften(sent(labels_tensor(labels), self.device))
        weights = torch.ones(len(images), device=self.device)
        synthetic = torch.zeros(len(images), dtype=torch.bool, device=self.device)
        if len(rows):
            random, picked = SampleRandom(keys, self.device), sent(torch.from_numpy(rows), self.device)
            made = self.augment.perturb(images, labels, random, picked, raw)
            images = torch.cat([images, tensor_to_image(made.images, like=images)])
            if labels is not None and made.labels is not None:
                labels = torch.cat([labels, made.labels])
            ones = weights.new_ones(len(rows))
            weights = torch.cat([weights, ones if made.weights is None else made.weights])
            synthetic = torch.cat([synthetic, ones.bool() if made.kept is None else ~made.kept])
        more = {"is_synthetic": synthetic} if self.return_mask else {}
        more |= {"weights": weights} if self.return_weights else {}
        batch = with_rows(batch, images, labels, rows, masks=self.augment.keeps_geometry)
        return with_parts(batch, **more)
