"""`generate_shards`: write synthetic samples to disk once, for any number of trainings."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .._internal.datasets import collate, fetch_items
from .._internal.files import absolute_path
from .._internal.progress import DELAY, progress_bar
from ..autoencoders.augmenter import Augmenter
from ..exceptions import BudgetError, InputError, OutputError
from ..latents import LatentCache
from .checks import check_choices, check_numbers, check_parts, check_work
from .cost import cost_of, still_to_make
from .engines import Executor, executor_of, rank_of
from .folder import Filling, claim
from .manifest import ShardEntry
from .plan import inference_plan, plan_folder, units_of
from .precision import full_precision
from .work import Work

__all__ = ["generate_shards"]


def generate_shards(
    dataset: Any,
    augment: Augmenter,
    out: str | Path,
    *,
    num_samples: int,
    shard_size: int = 4096,
    seed: int | None = None,
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
    budget: float | None = None,
    progress: bool = True,
) -> Path:
    """Write `num_samples` synthetic samples to the folder `out`, for `ShardDataset`, and return the folder.

    dataset: map-style data set of items `(image, label)` or images (class 0), not yet normalised.
    augment: makes the samples, on its own device. If its policy or gate needs reference samples and is not fitted, it
        is fitted on `dataset`. If the gate rejects all draws, or there is no partner, the original image is stored with
        draw index -1.
    seed, epoch: a sample depends on them, the index of its source and its draw index. Default seed: that of `augment`,
        or 0 if it has none, so that an interrupted run can be resumed.

    What is stored:
    shard_size: samples per file. store: "images", or "latents" for raw latents, which the reader decodes.
    format: "hdf5", or "webdataset" for tar files that `webdataset` reads; `shards.manifest.FORMATS` has all formats.
    compression: for HDF5, "none" (readers map the files) or "gzip". class_names: default `classes` of the data set.
    micro_batch: samples decoded at once.
    cache: latents of `dataset`, which is then not encoded. Images made with and without a cache may differ by one
        level, so all shards of a folder are made with it, or all without.

    How it is made, without effect on the bytes:
    executor: "local" runs in this process; "torchrun" makes a part of the shards in each rank, and rank 0 returns when
        all are finished; "ray" uses the initialised Ray cluster, or this machine.
    batch_size: real images read at once. num_workers: loader processes that read them.
    unit_range: (start, stop), make only these shards, numbered from 0. Parts may be made in any order, or at the same
        time on a shared file system. The folder is complete when the last part is.
    gpus_per_worker: GPUs per worker of "ray", such as 0.5. Default: 1 if `augment` is on a GPU.
    budget: maximum time in seconds. One micro-batch is measured first; if the missing shards would take longer in this
        process, nothing is made and `BudgetError` gives the estimated time. Default: no limit.
    resume: continue an interrupted folder and keep all shards that match their checksum; a complete folder is checked
        and returned. False rejects a folder that is not empty.

    If `augment` has precision="auto", a resumed folder keeps the plan that it was started with. If several processes
    make parts (unit_range, ranks), the precision must be given.

    Raises `OutputError` for a folder that contains other files, was made with other settings, or cannot be written;
    `ShardError` for a damaged manifest in it; `BudgetError` if the estimated time is longer than `budget`;
    `InputError`, `DataError`, `CacheError` or `ReferenceSetError` for invalid arguments and data. Finished shards are
    kept after every interruption, and the same call resumes.

    >>> import tempfile
    >>> from augmentor import LatentAugment
    >>> from augmentor.data import load_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = generate_shards(load_source("digits"), LatentAugment("digits"), folder, num_samples=6, shard_size=4)
    ...     sorted(file.name for file in path.iterdir())
    ['manifest.json', 'shard-00000.h5', 'shard-00001.h5']
    """
    if seed is None:
        seed = augment.seed or 0
    check_numbers(
        num_samples=num_samples, shard_size=shard_size, micro_batch=micro_batch, seed=seed, epoch=epoch,
        batch_size=batch_size, num_workers=num_workers,
    )  # fmt: skip
    if budget is not None and not budget > 0:
        raise InputError(f"budget must be a positive number of seconds, got {budget!r}")
    check_choices(executor, store, format, compression, gpus_per_worker)
    check_work(dataset, augment, num_samples, shard_size, store)
    rank, ranks = rank_of(executor)
    units = units_of(-(-num_samples // shard_size), unit_range)
    in_parts = executor == "torchrun" or unit_range is not None
    check_parts(resume, ranks > 1 or unit_range is not None)
    images, labels = collate(first := fetch_items(dataset, [0]))
    if cache is None:
        augment.choose_for(dataset)
    else:  # a cache determines the autoencoder
        augment.look_at(images)
    augment.check_geometry(first)
    augment.check_labels(first[0])
    if cache is not None:
        cache.check(augment.autoencoder, dataset)

    folder = claim(absolute_path(out), resume)
    precision = inference_plan(augment, folder, in_parts=in_parts)
    if augment.needs_fit:  # on all images: with reference samples from the batch, the bytes would depend on micro_batch
        with full_precision(augment.device.type):
            augment.fit(dataset) if cache is None else augment.fit(cache, images=dataset)
    asked = plan_folder(
        dataset, augment, images, labels, cache, class_names, num_samples=num_samples, shard_size=shard_size, seed=seed,
        epoch=epoch, micro_batch=micro_batch, compression=compression, store=store, files=format, precision=precision,
    )  # fmt: skip

    work = Work(dataset, augment, folder, asked, batch_size, num_workers, cache)
    if budget is not None:
        _check_budget(work, still_to_make(folder, units[rank::ranks]), budget, progress)
    filling = Filling(folder, asked, units[rank::ranks], progress)
    with contextlib.closing(filling):
        _fill(filling, work, executor_of(executor, gpus_per_worker), progress)
        if rank == 0 and ranks > 1:
            filling.wait_for(units)
        filling.finish()
    return folder


def _check_budget(work: Work, units: Sequence[int], budget: float, progress: bool) -> None:
    """Estimate the time for these units; raise `BudgetError` if it is longer than the budget in seconds."""
    if not units:
        return
    cost = cost_of(work, units)
    if progress and cost.seconds >= DELAY:
        tqdm.write(f"generation takes about {cost}", file=sys.stderr)
    if cost.seconds > budget:
        raise BudgetError(
            f"generation would take about {cost}, and the budget is {budget:g} seconds; raise the budget, or give a "
            "smaller num_samples"
        )


def _fill(filling: Filling, work: Work, execute: Executor, progress: bool) -> None:
    """Make the missing shards, and record each when it is finished."""
    total = sum(len(filling.asked.samples(unit)) for unit in filling.own)
    ready = sum(entry.count for entry in filling.finished.values())
    bar = progress_bar(desc="generating", total=total, initial=ready, unit="image", show=progress)

    def record(entry: ShardEntry) -> None:
        filling.record(entry)
        finished = sum(each.count for each in filling.finished.values())
        bar.update(max(0, finished - bar.n))  # local work has already advanced the bar

    try:
        with bar:
            if filling.missing:
                execute(dataclasses.replace(work, advance=bar.update), filling.missing, record)
    except (OutputError, KeyboardInterrupt) as error:
        stand = f"{len(filling.finished)} of {len(filling.own)} shards are finished and kept"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"stopped: {stand}; run again to resume") from None
        raise OutputError(f"{error}; {stand}: fix this problem and run again to resume") from error
