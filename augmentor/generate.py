"""`generate_shards`: synthetic samples to disk, once, for any number of trainings.

The plan is pure arithmetic. Shard u holds the synthetic samples from ``u * shard_size`` on; sample j comes from the
real sample ``j % len(dataset)`` and is its copy number ``j // len(dataset)``. A shard is therefore a unit of work that
needs no other, and an executor may run units anywhere and in any order.

Within a unit, samples are decoded in micro-batches of one fixed shape, the last one padded, because networks are not
bitwise independent of the shape of a batch. Equal settings make equal bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from . import __version__
from ._checks import check_images, to_uint8
from ._files import claim_folder, write_bytes
from ._random import SampleRandom, sample_keys
from ._registry import did_you_mean
from ._weights import fingerprint
from .exceptions import DataError, InputError, OutputError, ShardError, UnknownNameError
from .items import dataset_fingerprint, dataset_labels, fetch, num_classes_of
from .shards._manifest import (
    MANIFEST,
    MAX_SHARDS,
    PARTIAL,
    Manifest,
    ShardEntry,
    differences,
    file_name,
    is_unicode,
    read_manifest,
)
from .shards.hdf5 import encode_shard, verify_shard
from .transform import LatentAugment

Executor = Callable[[Callable[[int], ShardEntry], Sequence[int]], Iterable[ShardEntry]]


def generate_shards(
    dataset: Any,
    augment: LatentAugment,
    out: str | Path,
    *,
    num_samples: int,
    shard_size: int = 4096,
    seed: int = 0,
    epoch: int = 0,
    executor: str = "local",
    resume: bool = True,
    compression: str = "none",
    micro_batch: int = 64,
    class_names: Sequence[str] | None = None,
    progress: bool = False,
) -> Path:
    """Fill the folder `out` with `num_samples` synthetic samples; read it with `ShardDataset`. Returns the folder.

    dataset: map-style, items `(image, label)` or images (which become class 0), not yet normalised.
    augment: makes the samples, on its own device. Where its policy needs partners and it has not been fitted, it is
        fitted on `dataset`.
    shard_size: samples a file. micro_batch: samples decoded at once.
    seed, epoch: with the index of the source and the copy number they decide what a sample becomes.
    executor: "local" runs here. resume: go on with a folder that was cut short, keeping every shard that fits its
        checksum; a complete folder is checked and returned. False refuses a folder that has anything in it.
    compression: "none" (readers map the files) or "gzip". class_names: the data set's `classes` by default.

    Raises `OutputError` for a folder that holds other things, was made with other settings, or cannot be written;
    `InputError`, `DataError` or `PartnerError` for arguments and data that do not fit. Whatever stops it, finished
    shards stay, and the same call goes on from there.

    >>> import tempfile
    >>> from augmentor.data.sources import load_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = generate_shards(load_source("digits"), LatentAugment("digits"), folder, num_samples=6, shard_size=4)
    ...     sorted(file.name for file in path.iterdir())
    ['manifest.json', 'shard-00000.h5', 'shard-00001.h5']
    """
    _check_arguments(dataset, augment, num_samples, shard_size, seed, epoch, micro_batch)
    if executor not in _EXECUTORS:
        raise UnknownNameError(f"unknown executor {executor!r}{did_you_mean(executor, _EXECUTORS)}")
    if compression not in ("none", "gzip"):
        raise InputError(f"compression is 'none' or 'gzip', got {compression!r}")
    folder = _claim(Path(out), resume)
    if augment.needs_fit:
        with _full_precision(augment.device.type):
            augment.fit(dataset)  # a batch as its own pool would make the bytes depend on the micro-batch
    images, labels = fetch(dataset, [0])
    check_images(images, augment.autoencoder.image_shape, f"the {augment.autoencoder.name} autoencoder")
    channels, height, width = images.shape[1:]
    soft = augment.soften(labels)
    asked = Manifest(
        num_samples=num_samples,
        shard_size=shard_size,
        seed=seed,
        epoch=epoch,
        policy=str(augment.policy),
        autoencoder=augment.autoencoder.name,
        autoencoder_sha256=fingerprint(augment.autoencoder.state_dict()),
        dataset_fingerprint=dataset_fingerprint(dataset),
        fitted_sha256=_fitted_sha256(augment),
        micro_batch=micro_batch,
        device=augment.device.type,
        precision="fp32",
        image_shape=(channels, height, width),
        labels="int64" if soft is None or soft.ndim == 1 else "soft",
        class_names=_class_names(class_names, dataset, labels, soft),
        compression=compression,
        package_version=__version__,
    )
    done = _finished(folder, asked)
    if not done.complete or not (folder / MANIFEST).exists():
        _run(done, _Work(dataset, augment, folder, asked), _EXECUTORS[executor], progress)
    (folder / PARTIAL).unlink(missing_ok=True)
    return folder


def _run(done: Manifest, work: _Work, execute: Executor, progress: bool) -> None:
    """Make what is missing, noting each shard as it is finished; the manifest is written last."""
    folder = work.folder
    done.write(folder / PARTIAL)
    (folder / MANIFEST).unlink(missing_ok=True)  # it promised shards that are missing or damaged
    ready = sum(entry.count for entry in done.shards)
    with tqdm(
        desc="generating", total=done.num_samples, initial=ready, unit="image", delay=2, disable=not progress
    ) as bar:
        for entry in execute(work, done.missing()):
            done = done.with_shards(*done.shards, entry)
            done.write(folder / PARTIAL)
            bar.update(entry.count)
    done.write(folder / MANIFEST)


@dataclass(frozen=True)
class _Work:
    """Makes one shard. It pickles, so an executor may send it to other processes."""

    dataset: Any
    augment: LatentAugment
    folder: Path
    settings: Manifest

    def __call__(self, unit: int) -> ShardEntry:
        numbers = np.asarray(self.settings.samples(unit))
        sources, copies = numbers % len(self.dataset), numbers // len(self.dataset)
        step = self.settings.micro_batch
        with torch.no_grad(), _full_precision(self.augment.device.type):
            parts = [
                self._decode(sources[start : start + step], copies[start : start + step])
                for start in range(0, len(numbers), step)
            ]
        data = encode_shard(
            np.concatenate([images for images, _ in parts]),
            np.concatenate([labels for _, labels in parts]),
            sources[:, None],
            copies.astype(np.int32),
            {**self.settings.settings(), "count": len(numbers), "shard": unit},
            self.settings.compression,
        )
        name = file_name(unit)
        write_bytes(self.folder / name, data)
        return ShardEntry(name, len(numbers), hashlib.sha256(data).hexdigest(), len(data))

    def _decode(self, sources: np.ndarray, copies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One micro-batch: uint8 images and labels of these copies of these samples."""
        count, settings = len(sources), self.settings
        padded = np.minimum(np.arange(settings.micro_batch), count - 1)  # the last row, over and over
        images, labels = fetch(self.dataset, sources.tolist())
        if tuple(images.shape[1:]) != settings.image_shape:
            raise DataError(
                f"got images of shape {tuple(images.shape[1:])} after {settings.image_shape}; "
                "resize them to one with v2.Resize"
            )
        keys = sample_keys(settings.seed, settings.epoch, sources[padded], copies[padded])
        made, new_labels, _ = self.augment.perturb(
            images[padded], None if labels is None else labels[padded], SampleRandom(keys, self.augment.device)
        )
        if new_labels is None:
            return to_uint8(made[:count]).cpu().numpy(), np.zeros(count, np.int64)
        return to_uint8(made[:count]).cpu().numpy(), self._checked_labels(new_labels[:count].cpu().numpy())

    def _checked_labels(self, labels: np.ndarray) -> np.ndarray:
        classes = len(self.settings.class_names)
        if labels.ndim == 2 and labels.shape[1] != classes:
            raise DataError(f"got soft labels {labels.shape} for {classes} class names; expected as many columns")
        if labels.ndim == 1 and not 0 <= labels.min() <= labels.max() < classes:
            raise DataError(
                f"got labels from {labels.min()} to {labels.max()} for {classes} class names; "
                f"expected 0 to {classes - 1}"
            )
        return labels.astype(np.float32 if labels.ndim == 2 else np.int64, copy=False)


def _run_here(work: Callable[[int], ShardEntry], units: Sequence[int]) -> Iterator[ShardEntry]:
    for unit in units:
        yield work(unit)


_EXECUTORS: dict[str, Executor] = {"local": _run_here}


def _finished(folder: Path, asked: Manifest) -> Manifest:
    """The settings asked for, with the shards of the folder that fit their checksums.

    `OutputError` where the folder was made with other settings.
    """
    paths = [path for path in (folder / MANIFEST, folder / PARTIAL) if path.exists()]
    if not paths:
        return asked
    there = read_manifest(paths[0])
    if changed := differences(there, asked):
        raise OutputError(
            f"{folder} holds shards made with other settings ({changed}); name another folder, or ask for the same"
        )
    return asked.with_shards(*(entry for entry in there.shards if _fits(folder, entry)))


def _fits(folder: Path, entry: ShardEntry) -> bool:
    try:
        verify_shard(folder / entry.file, entry)
    except ShardError:
        return False
    return True


def _claim(folder: Path, resume: bool) -> Path:
    """`folder` as a place for shards: absent, empty, or begun by an earlier call; `OutputError` otherwise."""
    begun = (folder / MANIFEST).exists() or (folder / PARTIAL).exists()
    if begun and not resume:
        raise OutputError(f"{folder} holds shards already; name another folder, or go on with resume=True")
    return folder if begun else claim_folder(folder, PARTIAL)


def _check_arguments(
    dataset: Any, augment: Any, num_samples: int, shard_size: int, seed: int, epoch: int, micro_batch: int
) -> None:
    if not isinstance(augment, LatentAugment):
        raise InputError(f"generate_shards takes a LatentAugment, got {type(augment).__name__}")
    least = {"num_samples": 1, "shard_size": 1, "micro_batch": 1, "seed": 0, "epoch": 0}
    given = {
        "num_samples": num_samples,
        "shard_size": shard_size,
        "micro_batch": micro_batch,
        "seed": seed,
        "epoch": epoch,
    }
    for name, value in given.items():
        if type(value) is not int or not least[name] <= value < 2**63:
            raise InputError(f"{name} is an integer of at least {least[name]}, got {value!r}")
    if num_samples > shard_size * MAX_SHARDS:
        raise InputError(
            f"{num_samples} samples in shards of {shard_size} make more than {MAX_SHARDS} files; raise shard_size"
        )
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise DataError(f"generate_shards takes a map-style data set, got {type(dataset).__name__}")
    if len(dataset) == 0:
        raise DataError("generate_shards got an empty data set; expected at least one sample")
    if num_samples > len(dataset) * 2**31:
        raise InputError(f"{num_samples} samples of {len(dataset)} images are more than 2**31 copies of each")


def _class_names(
    given: Sequence[str] | None, dataset: Any, labels: torch.Tensor | None, soft: torch.Tensor | None
) -> tuple[str, ...]:
    known = given if given is not None else getattr(dataset, "classes", None)
    names = [] if known is None else [str(name) for name in known]
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


def _fitted_sha256(augment: LatentAugment) -> str | None:
    """The pool that a policy with partners was fitted to is a setting like any other: it decides the bytes."""
    if not augment.policy.needs_partners or augment.pool is None:
        return None
    return fingerprint({"z": augment.pool.z, "labels": augment.pool.labels})


@contextlib.contextmanager
def _full_precision(device: str) -> Iterator[None]:
    """Float32 and the same kernels throughout, whatever the caller has switched on for a training loop."""
    with contextlib.ExitStack() as restore:
        cudnn: Any = torch.backends.cudnn
        mkldnn: Any = torch.backends.mkldnn
        for backend in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn):
            before = backend.fp32_precision
            if before not in ("none", "ieee"):
                backend.fp32_precision = "ieee"
                restore.callback(setattr, backend, "fp32_precision", before)
        for flag, value in (("benchmark", False), ("deterministic", True)):
            restore.callback(setattr, cudnn, flag, getattr(cudnn, flag))
            setattr(cudnn, flag, value)
        restore.enter_context(torch.autocast(device, enabled=False))
        yield
