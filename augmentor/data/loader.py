"""`AugmentedLoader`: batches of any loader, with synthetic samples appended on the device."""

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
    """Loader that moves each batch to the device and appends synthetic samples, which are made there.

    loader: any iterable of batches with images (B,C,H,W), uint8 or floating in [0, 1], and optional labels: images,
        `(images, labels)`, or a dict. The structure of the batches is kept. In other fields (tensors (B, ...), lists
        of B), a synthetic row copies its source row.
    augment: makes the synthetic samples; it is moved to `device`. All are perturbed, so `p` must be 1 or 0.5.
    ratio: number of synthetic samples per real sample. A batch of B gets ``ratio * B``. If this is not an integer, it
        is rounded up or down so that the total of the epoch is exact.
    device: device of the computation. Default: that of the autoencoder.
    return_mask: also return a bool tensor that is true for synthetic rows: at the end of the batch, or in a dict as
        "is_synthetic". Rows that keep the original image (rejected, or without a partner) count as real.
    return_weights: also return float weights in [0, 1] for the loss, in a dict as "weights": 1 for real rows, the
        weight from the gate for synthetic rows.
    cache: latents of the data set, so that samples are only decoded. Batches must then contain the sample indices:
        ``DataLoader(Indexed(dataset), ...)``; this loader removes the indices. Images must be those that were encoded,
        so the data set must not apply a random transform.
    seed: with a seed, a synthetic sample depends only on (seed, epoch, position in the epoch, draw index). Exception: a
        policy that needs reference samples and is not fitted takes them from the batch. Default: the seed of `augment`;
        if that is None too, each `iter` draws one from torch's default generator.

    Each `iter` starts the next epoch, unless `set_epoch` sets it. The host never waits for the device. On CUDA, batches
    are copied through pinned memory, and the next batch is made on a separate stream during the training step.

    Other attributes (`dataset`, `sampler`, `num_workers`, ...) are those of `loader`: `batch_size` is the number of
    real images, and ``len`` the number of batches. Some engines build a new loader from these attributes and so lose
    the synthetic samples: Accelerate's `skip_first_batches`, and the Hugging Face Trainer when it resumes within an
    epoch (set ``ignore_data_skip=True``).

    In a distributed run, positions are counted over all processes, so no two processes make the same samples. Each
    process should read its own part of the data, which only the inner loader can provide: wrap the loader that
    Accelerate or Fabric has prepared; for Lightning, give the inner loader a `DistributedSampler`. Otherwise
    `AugmentorWarning` is issued.

    Raises `InputError` if Accelerate prepares this loader instead of the inner one, and for batches with fields that
    synthetic rows cannot copy, such as masks (unless the policy keeps the geometry).

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
        _ = augment.plan  # measured here and not in the loop
        self.epoch = -1
        self._next_epoch = 0
        self._warned = False

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the inner loader, for names that this class does not have."""
        if name == "loader" or name.startswith("__"):  # an incomplete copy has no loader yet
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        if name == "_is_accelerate_prepared" and not is_prepared(self.loader):
            # Accelerate reads this attribute, and would then build a new loader from the attributes of this one.
            raise InputError(
                "Accelerate got an AugmentedLoader to prepare, and would drop its synthetic samples; expected the "
                "inner loader: AugmentedLoader(accelerator.prepare(loader), augment)"
            )
        return getattr(self.loader, name)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next `iter`, also of the inner loader and its samplers if they have `set_epoch`."""
        self._next_epoch = epoch
        for part in (self.loader, *samplers_of(self.loader)):
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        # Accelerate's loader marks the last batch when it yields it, so no batch may be fetched in advance.
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
                f"AugmentedLoader runs in {ranks} processes, and the inner loader has no distributed sampler, so each "
                "process may train on all data; give the inner loader sampler=DistributedSampler(dataset), or wrap the "
                "loader that Accelerate or Fabric has prepared",
                AugmentorWarning,
                stacklevel=4,
            )
        seed = drawn_seed() if self.seed is None else self.seed
        # A resumed sampler starts within the epoch, so the positions start there too.
        blocks = (part for part in samplers_of(self.loader) if isinstance(part, BlockSampler))
        seen = next((part.start * part.num_replicas // ranks for part in blocks), 0)
        return Draws(self.ratio, seed, self.epoch, rank, ranks, seen)

    def _looked_up(self, batch: Any, cache: LatentCache) -> tuple[Any, Posterior]:
        """Return the batch without its sample indices, and their latents on the device."""
        batch, indices = without_index(batch)
        return batch, cache[indices].sent(self.device)

    def _mixed(self, batch: Any, draws: Draws, raw: Posterior | None) -> Any:
        """Return the real rows, followed by the synthetic ones."""
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
