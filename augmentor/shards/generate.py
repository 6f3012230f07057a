"""`generate_shards`: synthetic samples to disk, once, for any number of trainings.

The plan is pure arithmetic. Shard u holds the synthetic samples from ``u * shard_size`` on; sample j comes from the
real sample ``j % len(dataset)`` and is its copy number ``j // len(dataset)``. A shard is therefore a unit of work that
needs no other, and an executor may run units anywhere and in any order.

    _work.py      one unit => its bytes          _sources.py   the real images it is made from
    _folder.py    what is there, what is missing, and when the folder is complete
    _local.py, _ray.py      executors: make these units, and record each that is in place
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from .._internal.checks import check_images
from .._internal.items import dataset_fingerprint, dataset_labels, fetch, num_classes_of
from .._internal.registry import did_you_mean
from .._internal.version import __version__
from .._internal.weights import fingerprint
from ..autoencoders import InferencePlan
from ..autoencoders.augmenter import Augmenter
from ..exceptions import DataError, InputError, OutputError, UnknownNameError
from ..latents import LatentCache
from ..policies import LatentPolicy, get_policy
from .engines import local as _local
from .engines import ray as _ray
from .folder import Filling, begun_as, claim
from .manifest import MAX_SHARDS, Manifest, ShardEntry, is_unicode
from .precision import full_precision
from .work import Record, Work

__all__ = ["generate_shards"]

Executor = Callable[[Work, Sequence[int], Record], None]

# Ranks of torchrun work like the local executor, each on its own part of the units.
_EXECUTORS: dict[str, Executor] = {"local": _local.run, "torchrun": _local.run, "ray": _ray.run}


def generate_shards(
    dataset: Any,
    augment: Augmenter,
    out: str | Path,
    *,
    num_samples: int,
    shard_size: int = 4096,
    seed: int = 0,
    epoch: int = 0,
    executor: str = "local",
    resume: bool = True,
    store: str = "images",
    format: str = "hdf5",
    compression: str = "none",
    micro_batch: int = 64,
    batch_size: int = 256,
    num_workers: int = 0,
    cache: LatentCache | None = None,
    unit_range: tuple[int, int] | None = None,
    gpus_per_worker: float | None = None,
    class_names: Sequence[str] | None = None,
    progress: bool = False,
) -> Path:
    """Fill the folder `out` with `num_samples` synthetic samples; read it with `ShardDataset`. Returns the folder.

    dataset: map-style, items `(image, label)` or images (which become class 0), not yet normalised.
    augment: makes the samples, on its own device. Where its policy needs a reference set, or it has a gate, and it has not
        been fitted, it is fitted on `dataset`. What the gate leaves alone is stored as it is, with copy number -1.
    seed, epoch: with the index of the source and the copy number they decide what a sample becomes.

    What is stored:
    shard_size: samples a file. store: "images", or "latents" for raw latents, which the reader decodes.
    format: "hdf5", or "webdataset" for tar files that `webdataset` reads.
    compression: of HDF5, "none" (readers map the files) or "gzip". class_names: the data set's `classes` by default.
    micro_batch: samples decoded at once.
    cache: the latents of `dataset`, which then is not encoded. Bytes made with and without one may differ in a level,
        so a folder is made with it or without it.

    Who makes it; the bytes are the same:
    executor: "local" runs here; "torchrun" makes a part of the shards in each rank, and rank 0 returns when all are
        there; "ray" uses the Ray cluster that is initialised, or this machine.
    batch_size: real images read at once. num_workers: loader processes that read them.
    unit_range: (start, stop), only these shards, numbered from 0. Parts may be made in any order, or at once on a
        shared file system; the folder is complete when the last one is.
    gpus_per_worker: with "ray", such as 0.5; 1 by default where `augment` is on a GPU.
    resume: go on with a folder that was cut short, keeping every shard that fits its checksum; a complete folder is
        checked and returned. False refuses a folder that has anything in it.

    Where `augment` has precision="auto", a folder that was begun keeps to the plan it was begun with; several processes
    at once (parts, ranks) have to be told one.

    Raises `OutputError` for a folder that holds other things, was made with other settings, or cannot be written;
    `InputError`, `DataError`, `CacheError` or `ReferenceSetError` for arguments and data that do not fit. Whatever stops it,
    finished shards stay, and the same call goes on from there.

    >>> import tempfile
    >>> from augmentor.data import load_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = generate_shards(load_source("digits"), LatentAugment("digits"), folder, num_samples=6, shard_size=4)
    ...     sorted(file.name for file in path.iterdir())
    ['manifest.json', 'shard-00000.h5', 'shard-00001.h5']
    """
    _check_numbers(
        num_samples=num_samples, shard_size=shard_size, micro_batch=micro_batch, seed=seed, epoch=epoch,
        batch_size=batch_size, num_workers=num_workers,
    )  # fmt: skip
    _check_choices(executor, store, format, compression, gpus_per_worker)
    _check_work(dataset, augment, num_samples, shard_size, store)
    rank, ranks = _rank() if executor == "torchrun" else (0, 1)
    units = _units(-(-num_samples // shard_size), unit_range)
    own = units[rank::ranks]
    if not resume and (ranks > 1 or unit_range is not None):
        raise InputError("resume=False is for a folder that one process makes; leave it out where several do")
    images, labels = fetch(dataset, [0])
    augment.choose_for(images)
    if cache is not None:
        cache.check(augment.autoencoder, dataset)
    folder = claim(Path(out), resume)
    plan = _plan(augment, folder, in_parts=executor == "torchrun" or unit_range is not None)
    if augment.needs_fit:
        with full_precision(augment.device.type):
            augment.fit(
                dataset if cache is None else cache
            )  # a batch as its own reference set would make the bytes depend on the micro-batch
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
        fitted_sha256=_fitted_sha256(augment, cache),
        residual=augment.residual,
        gate=None if augment.gate is None else str(augment.gate),
        micro_batch=micro_batch,
        device=augment.device.type,
        precision=str(plan),
        image_shape=(channels, height, width),
        labels="int64" if soft is None or soft.ndim == 1 else "soft",
        class_names=_class_names(class_names, dataset, labels, soft),
        compression=compression,
        package_version=__version__,
        store=store,
        latent_shape=_latent_shape(augment, images) if store == "latents" else None,
        files=format,
    )
    execute = _EXECUTORS[executor]
    if gpus_per_worker is not None:
        execute = functools.partial(_ray.run, gpus_per_worker=gpus_per_worker)
    filling = Filling(folder, asked, own, progress)
    with contextlib.closing(filling):
        _fill(filling, Work(dataset, augment, folder, asked, batch_size, num_workers, cache), execute, progress)
        if rank == 0 and ranks > 1:
            filling.wait_for(units)
        filling.finish()
    return folder


def _fill(filling: Filling, work: Work, execute: Executor, progress: bool) -> None:
    """Make what is missing, recording each shard as it is finished."""
    total = sum(len(filling.asked.samples(unit)) for unit in filling.own)
    ready = sum(entry.count for entry in filling.finished.values())
    bar = tqdm(desc="generating", total=total, initial=ready, unit="image", delay=2, disable=not progress)

    def record(entry: ShardEntry) -> None:
        filling.record(entry)
        bar.update(entry.count)

    try:
        with bar:
            if filling.missing:
                execute(work, filling.missing, record)
    except (OutputError, KeyboardInterrupt) as error:
        stand = f"{len(filling.finished)} of {len(filling.own)} shards are finished and stay"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"stopped: {stand}; the same call goes on from there") from None
        raise OutputError(f"{error}; {stand}: once that is mended, the same call goes on from there") from error


def _units(count: int, unit_range: tuple[int, int] | None) -> range:
    """The shards to make, of `count`; a last part may ask for more than there are."""
    if unit_range is None:
        return range(count)
    fits = isinstance(unit_range, (tuple, list)) and len(unit_range) == 2 and all(type(n) is int for n in unit_range)
    if not fits or not 0 <= unit_range[0] < min(unit_range[1], count):
        raise InputError(f"unit_range is (start, stop) with 0 <= start < stop and start < {count}, got {unit_range!r}")
    return range(unit_range[0], min(unit_range[1], count))


def _rank() -> tuple[int, int]:
    """Our number among the ranks, and how many there are."""
    rank, ranks = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    if not (rank.isdecimal() and ranks.isdecimal() and int(rank) < int(ranks)):
        raise InputError(
            f"executor='torchrun' takes RANK and WORLD_SIZE from the environment, got {rank!r} and {ranks!r}; "
            "start the program with torchrun --nproc-per-node N"
        )
    return int(rank), int(ranks)


def _check_numbers(**given: int) -> None:
    for name, value in given.items():
        least = 0 if name in ("seed", "epoch", "num_workers") else 1
        if type(value) is not int or not least <= value < 2**63:
            raise InputError(f"{name} is an integer of at least {least}, got {value!r}")


def _check_choices(executor: str, store: str, format: str, compression: str, gpus_per_worker: float | None) -> None:
    if executor not in _EXECUTORS:
        raise UnknownNameError(f"unknown executor {executor!r}{did_you_mean(executor, _EXECUTORS)}")
    for name, value, known in (
        ("store", store, ("images", "latents")),
        ("format", format, ("hdf5", "webdataset")),
        ("compression", compression, ("none", "gzip")),
    ):
        if value not in known:
            raise InputError(f"{name} is {known[0]!r} or {known[1]!r}, got {value!r}")
    if format == "webdataset" and (store, compression) != ("images", "none"):
        raise InputError(
            f"format='webdataset' stores images as PNG, got store={store!r} and compression={compression!r}; "
            "leave them out, or use format='hdf5'"
        )
    if executor == "ray":
        _ray.installed()
    if gpus_per_worker is not None and (executor != "ray" or not gpus_per_worker > 0):
        raise InputError(f"gpus_per_worker is a number above 0 for executor='ray', got {gpus_per_worker!r}")


def _check_work(dataset: Any, augment: Any, num_samples: int, shard_size: int, store: str) -> None:
    if not hasattr(augment, "perturb_latents"):
        raise InputError(f"generate_shards takes a LatentAugment, got {type(augment).__name__}")
    if augment.residual and store == "latents":
        raise InputError(
            f"store='latents' keeps nothing of the images that residual={augment.residual} adds to what is decoded; "
            "store images, or leave residual out"
        )
    if augment.gate is not None and augment.gate.action == "weigh":
        raise InputError("shards have no place for weights; use a gate that re-draws")
    if not _has_text_form(augment.policy):
        raise InputError(
            f"policy {augment.policy} cannot be written down, so nobody could say what made the shards; "
            "use one of augmentor.list_policies(), or AugmentedLoader"
        )
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


def _has_text_form(policy: LatentPolicy) -> bool:
    try:
        return str(get_policy(str(policy))) == str(policy)
    except InputError:
        return False


def _latent_shape(augment: Augmenter, images: torch.Tensor) -> tuple[int, ...]:
    """Of raw latents; families that take any size say it only when they encode."""
    with torch.no_grad():
        return tuple(augment.autoencoder.encode(images.to(augment.device)).mean.shape[1:])


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


def _plan(augment: Augmenter, folder: Path, *, in_parts: bool) -> InferencePlan:
    """One for the whole folder: measured again, now or elsewhere, it could come out otherwise."""
    if not augment.inference.measured:
        return augment.plan
    if in_parts:
        raise InputError(
            "precision='auto' is measured by each process, and all parts of a folder have to be made alike; "
            f"say which, such as precision={str(augment.plan)!r}, which is what it finds here"
        )
    begun = begun_as(folder)
    return augment.plan if begun is None else InferencePlan.parse(begun.precision)


def _fitted_sha256(augment: Augmenter, cache: LatentCache | None) -> str | None:
    """What was encoded beforehand is a setting like any other: the reference set that is looked at, and a cache."""
    tensors = {} if cache is None else {f"cache.{name}": tensor for name, tensor in cache.tensors().items()}
    if augment.reference is not None and (augment.policy.needs_reference or augment.gate is not None):
        tensors |= {"z": augment.reference.z, "labels": augment.reference.labels}
    return fingerprint(tensors) if tensors else None
