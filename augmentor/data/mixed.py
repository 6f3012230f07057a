"""`MixedDataset`: a data set followed by synthetic samples made from it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._internal.batched import BatchedDataset
from .._internal.checks import check_ratio
from .._internal.datasets import collate, dataset_labels, fetch_items, is_map_style
from .._internal.epoch import SharedEpoch
from .._internal.random import fold
from .._internal.samples import (
    holds_other_image,
    label_key,
    labels_tensor,
    split_item,
    tensor_to_image,
)
from ..autoencoders.augmenter import Augmenter
from ..exceptions import AugmentorWarning, DataError, InputError
from ..latents import LatentCache, label_keys, soft_labels
from .mixing import SamplingStrategy, added_counts

# The draw index of an oversampled real sample, which is not perturbed.
OVERSAMPLED = -1


class MixedDataset(BatchedDataset[Any]):
    """Data set of real samples followed by added samples, which a loader fetches and decodes in batches.

    dataset: map-style data set of items `(image, label)` or images, not yet normalised.
    augment: makes the synthetic samples. All are perturbed, so `p` must be 1 or 0.5. Images have the type of
        the real ones; labels too, unless the policy mixes classes: then all labels are float (K,).
    ratio: number of synthetic samples per real sample; `len` is real + round(ratio * real).
    sampling_strategy: replaces `ratio`. A strategy of imbalanced-learn ("auto", dict, callable), a `Mixing`, or "tuned"
        for the `Mixing` found by `augmentor tune` (``LatentAugment.from_config``); see
        `augmentor.data.mixing.added_counts`. Strategies of imbalanced-learn add only synthetic samples, so a classifier
        may learn that decoded images belong to small classes. A `Mixing` gives all classes the same synthetic fraction.
    seed: with a number, a synthetic sample is the same at each access and in each worker, until `set_epoch` changes the
        epoch. Default: the seed of `augment`. If that is None too, a new sample is drawn at each access, from torch's
        default generator, which `torch.manual_seed` makes reproducible.
    cache: latents of the data set, so that samples are only decoded. `CacheError` if it is of another data set or
        autoencoder.

    If the policy needs reference samples, or there is a gate, and `augment` is not fitted, it is fitted on this data
    set. A synthetic sample that the gate rejects, or that has no partner, is replaced by its original image. Raises
    `InputError` for a data set that is not map-style, and for items with boxes, masks, keypoints or a second image,
    unless the policy keeps the geometry.

    >>> from augmentor import LatentAugment
    >>> from augmentor.data import load_source
    >>> mixed = MixedDataset(load_source("digits"), LatentAugment("digits"), ratio=0.5)
    >>> len(mixed)
    2695
    """

    def __init__(
        self,
        dataset: Any,
        augment: Augmenter,
        *,
        ratio: float = 1.0,
        sampling_strategy: SamplingStrategy | None = None,
        seed: int | None = None,
        cache: LatentCache | None = None,
    ):
        if not is_map_style(dataset):
            raise InputError(
                f"MixedDataset takes a map-style data set, got {type(dataset).__name__}, which has no length or no "
                "indices; use AugmentedLoader with a loader of it"
            )
        if len(dataset) == 0:
            raise DataError("MixedDataset got an empty data set; expected at least one sample")
        check_ratio(ratio)
        if sampling_strategy is not None and ratio != 1.0:
            raise InputError("sampling_strategy replaces ratio, got both; leave ratio out, or use it alone")
        if augment.gate is not None and augment.gate.action == "weigh":
            raise InputError(
                "got a gate with action='weigh', but MixedDataset cannot return weights; use "
                "QualityGate(action='redraw'), or AugmentedLoader(return_weights=True)"
            )
        augment.check_synthesis("MixedDataset")
        self.dataset, self.augment = dataset, augment
        self.seed = augment.seed if seed is None else seed
        self.ratio, self.sampling_strategy = ratio, sampling_strategy
        self._epoch = SharedEpoch()
        self.sources, self.draw_indices = self._plan()
        has_synthetic = bool((self.draw_indices != OVERSAMPLED).any())
        if len(self.sources) == 0:
            what = f"ratio={ratio}" if sampling_strategy is None else f"sampling_strategy={sampling_strategy!r}"
            warnings.warn(f"MixedDataset with {what} adds no synthetic samples", AugmentorWarning, stacklevel=2)
        self.cache = None if cache is None else cache.check(augment.autoencoder, dataset)
        if cache is None:  # a cache determines the autoencoder
            augment.choose_for(dataset)
        if has_synthetic and augment.needs_fit:
            augment.fit(dataset) if self.cache is None else augment.fit(self.cache, images=dataset)
        first = fetch_items(dataset, [0])[0]
        augment.check_geometry(first)
        augment.check_labels(first)
        if not augment.keeps_geometry and holds_other_image(first):
            raise InputError(
                "MixedDataset got items with a mask or another image, which would not match the synthetic image; "
                "expected one image per item, or a policy that keeps geometry, 'smooth'"
            )
        _, labels = collate([first])
        self._soft_classes = None
        if has_synthetic and labels is not None:
            self._soft_classes = augment.policy.soft_classes(labels, augment.reference)

    def __len__(self) -> int:
        return len(self.dataset) + len(self.sources)

    def _items(self, indices: Sequence[int]) -> list[Any]:
        """Return the items at these indices; all synthetic ones are decoded in one call."""
        wanted = [self._checked(index) for index in indices]
        real = len(self.dataset)
        items = fetch_items(self.dataset, [i if i < real else int(self.sources[i - real]) for i in wanted])
        synthetic = [place for place, i in enumerate(wanted) if self.is_synthetic(i)]
        if synthetic:
            numbers = np.asarray([wanted[place] - real for place in synthetic])
            made = self._synthesise([items[place] for place in synthetic], numbers)
            for place, item in zip(synthetic, made, strict=True):
                items[place] = item
        return [self._softened(item) for item in items] if self._soft_classes else items

    def is_synthetic(self, index: int) -> bool:
        """Return whether the sample at this index is synthetic."""
        place = self._checked(index) - len(self.dataset)
        return place >= 0 and bool(self.draw_indices[place] != OVERSAMPLED)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which changes the synthetic samples, also in loader workers that already run."""
        self._epoch.set(epoch)

    def _plan(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the source index and the draw index of each added sample."""
        if self.sampling_strategy is None:
            return self._spread(np.arange(len(self.dataset)), round(self.ratio * len(self.dataset)))
        labels, strategy = self.augment.known(dataset_labels(self.dataset)), self._strategy()
        classes = label_keys(labels).numpy()
        sources, draw_indices = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for label, added in added_counts(labels, strategy).items():
            members = np.flatnonzero(classes == label)
            oversampled, _ = self._spread(members, added.oversampled)
            perturbed, numbers = self._spread(members, added.synthetic)
            sources += [oversampled, perturbed]
            draw_indices += [np.full(len(oversampled), OVERSAMPLED), numbers]
        return np.concatenate(sources), np.concatenate(draw_indices)

    def _strategy(self) -> SamplingStrategy:
        if self.sampling_strategy != "tuned":
            assert self.sampling_strategy is not None
            return self.sampling_strategy
        if self.augment.mixing is None:
            raise InputError(
                "sampling_strategy='tuned' uses the result of `augmentor tune`, and this LatentAugment has none; "
                "create it with LatentAugment.from_config('policy.json')"
            )
        return self.augment.mixing

    def _spread(self, members: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return sources and draw indices of `count` samples, spread evenly over `members` in a seeded order."""
        # Fixed also without a seed: all ranks of a distributed run need the same sample at an index.
        order = np.random.Generator(np.random.Philox(fold(self.seed or 0, "sources"))).permutation(members)
        number = np.arange(count)
        return order[number % len(members)], number // len(members)

    def _synthesise(self, items: list[Any], numbers: np.ndarray) -> list[Any]:
        self.augment.check_geometry(items)
        images, labels = collate(items)
        sources = self.sources[numbers]
        made = self.augment.synthesize(
            images,
            labels,
            indices=sources,
            draw_index=self.draw_indices[numbers],
            seed=self.seed,
            epoch=self._epoch.get(),
            raw=None if self.cache is None else self.cache[sources],
        )
        new_images, new_labels = made if isinstance(made, tuple) else (made, None)
        results = []
        for row, item in enumerate(items):
            image, label = split_item(item)
            image = tensor_to_image(new_images[row], like=image)
            if new_labels is not None and self._soft_classes:
                label = new_labels[row]
            results.append(_rebuilt(item, image, label))
        return results

    def _softened(self, item: Any) -> Any:
        image, label = split_item(item)
        assert self._soft_classes is not None
        return _rebuilt(item, image, soft_labels(self.augment.known(labels_tensor([label])), self._soft_classes)[0])

    def _checked(self, index: int) -> int:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} is outside a MixedDataset of {len(self)} samples")
        return int(position)


def _rebuilt(item: Any, image: Any, label: Any) -> Any:
    """Return the item with another image and label, in the same structure."""
    old_image, old_label = split_item(item)
    if item is old_image:
        return image
    if isinstance(item, dict):
        place = label_key(item)
        return {k: image if v is old_image else label if k == place else v for k, v in item.items()}
    rest = [image if part is old_image else part for part in item]
    if old_label is not None:
        rest[1] = label
    return type(item)(rest) if type(item) in (list, tuple) else tuple(rest)
