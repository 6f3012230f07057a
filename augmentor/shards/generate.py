"""`generate_shards`: synthetic samples to disk, once, for any number of trainings."""

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
    """Fill the folder `out` with `num_samples` synthetic samples; read it with `ShardDataset`. Returns the folder.

    dataset: map-style, items `(image, label)` or images (which become class 0), not yet normalised.
    augment: makes the samples, on its own device. Where its policy or gate needs a reference set and has none, it is
        fitted on `dataset`. Where the gate rejects every draw, or the policy finds
        no partner, the original is stored, with draw index -1.
    seed, epoch: with the index of the source and the draw index they decide what a sample becomes. By default the seed
        is the transform's own, or 0 where it has none, so that a folder that was cut short goes on as it was begun.

    What is stored:
    shard_size: samples a file. store: "images", or "latents" for raw latents, which the reader decodes.
    format: "hdf5", or "webdataset" for tar files that `webdataset` reads; others are in `shards.manifest.FORMATS`.
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
    budget: seconds. One micro-batch is made and measured first, and if what is missing would take longer in this
        process, nothing is made and `BudgetError` says how long it would take. None measures nothing.
    resume: go on with a folder that was cut short, keeping every shard that fits its checksum; a complete folder is
        checked and returned. False refuses a folder that has anything in it.

    Where `augment` has precision="auto", a folder that was begun keeps to the plan it was begun with; several processes
    at once (parts, ranks) have to be told one.

    Raises `OutputError` for a folder that holds other things, was made with other settings, or cannot be written;
    `InputError`, `DataError`, `CacheError` or `ReferenceSetError` for arguments and data that do not fit. Finished
    shards stay whatever stops it, and the same call goes on from there.

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
        raise InputError(f"budget is a positive number of seconds, got {budget!r}")
    check_choices(executor, store, format, compression, gpus_per_worker)
    check_work(dataset, augment, num_samples, shard_size, store)
    rank, ranks = rank_of(executor)
    units = units_of(-(-num_samples // shard_size), unit_range)
    in_parts = executor == "torchrun" or unit_range is not None
    check_parts(resume, ranks > 1 or unit_range is not None)
    images, labels = collate(first := fetch_items(dataset, [0]))
    if cache is None:
        augment.choose_for(dataset)
    else:  # a cache has decided
        augment.look_at(images)
    augment.check_geometry(first)
    augment.check_labels(first[0])
    if cache is not None:
        cache.check(augment.autoencoder, dataset)

    folder = claim(absolute_path(out), resume)
    precision = inference_plan(augment, folder, in_parts=in_parts)
    if augment.needs_fit:  # on all images: a batch as its own reference set would make the bytes depend on micro_batch
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
    """Measure what these units take; `BudgetError` if that is more than so many seconds."""
    if not units:
        return
    cost = cost_of(work, units)
    if progress and cost.seconds >= DELAY:
        tqdm.write(f"generation takes about {cost}", file=sys.stderr)
    if cost.seconds > budget:
        raise BudgetError(
            f"generation would take about {cost}, and the budget is {budget:g} seconds; raise the budget, or ask for "
            "fewer samples (num_samples)"
        )


def _fill(filling: Filling, work: Work, execute: Executor, progress: bool) -> None:
    """Make what is missing, recording each shard as it is finished."""
    total = sum(len(filling.asked.samples(unit)) for unit in filling.own)
    ready = sum(entry.count for entry in filling.finished.values())
    bar = progress_bar(desc="generating", total=total, initial=ready, unit="image", show=progress)

    def record(entry: ShardEntry) -> None:
        filling.record(entry)
        finished = sum(each.count for each in filling.finished.values())
        bar.update(max(0, finished - bar.n))  # more than that where the work is done here, and tells by itself

    try:
        with bar:
            if filling.missing:
                execute(dataclasses.replace(work, advance=bar.update), filling.missing, record)
    except (OutputError, KeyboardInterrupt) as error:
        stand = f"{len(filling.finished)} of {len(filling.own)} shards are finished and stay"
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"stopped: {stand}; the same call goes on from there") from None
        raise OutputError(f"{error}; {stand}: once that is mended, the same call goes on from there") from error
