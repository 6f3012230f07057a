"""Plan of a folder: the samples of each shard, and the settings that determine its bytes.

Shard u starts with synthetic sample ``u * shard_size``. Sample j is made from the real sample ``j % len(dataset)`` and
has draw index ``j // len(dataset)``. A shard is therefore an independent unit of work, and an executor may run units
anywhere and in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._internal.checks import check_images
from .._internal.datasets import class_names_of, dataset_fingerprint, dataset_labels, num_classes_of
from .._internal.version import __version__
from .._internal.weights import fingerprint
from ..autoencoders import InferencePlan
from ..autoencoders.augmenter import Augmenter
from ..exceptions import InputError
from ..latents import LatentCache
from .folder import begun_as
from .manifest import Manifest, is_unicode


def units_of(count: int, unit_range: tuple[int, int] | None) -> range:
    """Return the shards to make, of `count`; `unit_range` may end after the last shard."""
    if unit_range is None:
        return range(count)
    fits = isinstance(unit_range, (tuple, list)) and len(unit_range) == 2 and all(type(n) is int for n in unit_range)
    if not fits or not 0 <= unit_range[0] < min(unit_range[1], count):
        raise InputError(f"unit_range must be (start, stop), 0 <= start < stop, start < {count}, got {unit_range!r}")
    return range(unit_range[0], min(unit_range[1], count))


def sources_of(samples: range, num_real: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the real samples of some synthetic samples, and their draw indices, int64 (n,) each.

    >>> sources_of(range(3, 6), num_real=4)
    (array([3, 0, 1]), array([0, 1, 1]))
    """
    draws, sources = np.divmod(np.arange(samples.start, samples.stop), num_real)
    return sources, draws


def plan_folder(
    dataset: Any,
    augment: Augmenter,
    images: torch.Tensor,
    labels: torch.Tensor | None,
    cache: LatentCache | None,
    class_names: Sequence[str] | None,
    *,
    store: str,
    precision: InferencePlan,
    **asked: Any,
) -> Manifest:
    """Return the settings of the folder, which determine its bytes.

    images, labels: the first real sample, as a batch. asked: fields of `Manifest` chosen by the caller.
    """
    model = augment.autoencoder
    check_images(images, model.image_shape, f"the {model.name} autoencoder")
    channels, height, width = images.shape[1:]
    soft = augment.soften(labels)
    planned = Manifest(
        **asked,
        store=store,
        policy=str(augment.policy),
        models=tuple(augment.policy.models()),
        autoencoder=model.name,
        autoencoder_sha256=fingerprint(model.state_dict()),
        dataset_fingerprint=dataset_fingerprint(dataset),
        fitted_sha256=_fitted_sha256(augment, cache),
        residual=augment.residual,
        gate=None if augment.gate is None else f"{augment.gate} of {augment.gate.judges}",
        device=augment.device.type,
        precision=str(precision),
        image_shape=(channels, height, width),
        labels="int64" if soft is None or soft.ndim == 1 else "soft",
        class_names=_class_names(class_names, dataset, labels, soft),
        package_version=__version__,
        latent_shape=_latent_shape(augment, images) if store == "latents" else None,
    )
    planned.form.check_planned(planned)
    return planned


def inference_plan(augment: Augmenter, folder: Path, *, in_parts: bool) -> InferencePlan:
    """Return the inference plan of the whole folder. It is not measured again, because the result may differ."""
    if not augment.inference.measured:
        return augment.plan
    if in_parts:
        raise InputError(
            "precision='auto' is measured by each process, and all parts of a folder need the same precision; "
            f"give one, such as precision={str(augment.plan)!r}, the result in this process"
        )
    begun = begun_as(folder)
    return augment.plan if begun is None else InferencePlan.parse(begun.precision)


def _latent_shape(augment: Augmenter, images: torch.Tensor) -> tuple[int, ...]:
    """Return the shape of raw latents, by encoding: it may depend on the size of the images."""
    with torch.no_grad():
        return tuple(augment.autoencoder.encode(images.to(augment.device)).mean.shape[1:])


def _class_names(
    given: Sequence[str] | None, dataset: Any, labels: torch.Tensor | None, soft: torch.Tensor | None
) -> tuple[str, ...]:
    names = [str(name) for name in (class_names_of(dataset) if given is None else given)]
    if not names:
        if soft is not None and soft.ndim == 2:
            count = soft.shape[1]
        else:
            count = 1 if labels is None else num_classes_of(dataset, dataset_labels(dataset)) or 1
        names = [str(number) for number in range(count)]
    for name in names:
        if not is_unicode(name):
            raise InputError(f"class name {name!r} is not Unicode text; rename it, or give class_names")
    return tuple(names)


def _fitted_sha256(augment: Augmenter, cache: LatentCache | None) -> str | None:
    """Return the SHA-256 of the cache, the policy's networks and the reference set that are used, or None."""
    tensors = {} if cache is None else {f"cache.{name}": tensor for name, tensor in cache.tensors().items()}
    tensors |= {f"policy.{name}": tensor for name, tensor in augment.policy.tensors().items()}
    if augment.reference is not None and (augment.policy.needs_reference or augment.gate is not None):
        tensors |= {"z": augment.reference.z, "labels": augment.reference.labels}
    return fingerprint(tensors) if tensors else None
