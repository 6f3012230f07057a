"""The units on the machines of a Ray cluster: Ray Data hands them to a pool of actors that hold the autoencoder.

An actor or a machine that is lost costs the unit it was working on, which Ray gives to another. It may give a unit to
two; both put the same bytes in place. Only the calling process keeps the record.

Ray Data, https://docs.ray.io/en/latest/data/data.html
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ... import exceptions
from ...autoencoders.augmenter import Augmenter
from ...exceptions import AugmentorError, InputError
from ..manifest import ShardEntry
from ..work import Record, Work


def installed() -> Any:
    """The package, imported; `InputError` where it is not there."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError("executor='ray' needs Ray: pip install 'latent-augmentor[ray]'") from error
    return ray


def run(work: Work, units: Sequence[int], record: Record, gpus_per_worker: float | None = None) -> None:
    """Make the units in any order. Data, weights and folder must be within reach of every machine."""
    ray = installed()
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    device = work.augment.device.type
    gpus = gpus_per_worker if gpus_per_worker is not None else float(device != "cpu")
    cpus, most = _shares(ray.cluster_resources(), gpus)
    with _quiet(ray.data.DataContext.get_current()):
        rows = [{"unit": unit} for unit in units]
        made = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _Worker,
            fn_constructor_args=(ray.put(_portable(work)), device),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(most, len(units))),
            num_cpus=cpus,
            num_gpus=gpus,
        )
        for row in made.iter_rows():
            if row["error"]:
                raise getattr(exceptions, row["error"])(row["text"])
            record(ShardEntry(row["file"], int(row["count"]), row["sha256"], int(row["bytes"])))


class _Worker:
    """An actor: the work, held once, on its own device. Errors of ours come back as rows, so that nobody retries."""

    def __init__(self, work: Any, device: str):
        import ray

        self.work: Work = ray.get(work) if isinstance(work, ray.ObjectRef) else work
        self.work.augment.to(device)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        row: dict[str, Any] = {"file": "", "count": 0, "sha256": "", "bytes": 0, "error": "", "text": ""}
        try:
            row |= self.work(int(batch["unit"][0])).fields()
        except AugmentorError as error:
            row |= {"error": type(error).__name__, "text": str(error)}
        return {name: [value] for name, value in row.items()}


def _shares(resources: dict[str, float], gpus: float) -> tuple[float, int]:
    """CPUs for each worker, and how many workers fit. One CPU stays free: Ray needs one to redo what was lost."""
    cpus = resources.get("CPU", 1)
    each = 1.0 if cpus >= 2 else cpus / 2
    most = max(1, int(cpus - 1))
    if gpus:
        if resources.get("GPU", 0) < gpus:
            raise InputError(
                f"a worker takes {gpus:g} GPUs and the Ray cluster has {resources.get('GPU', 0):g}; "
                "start it with GPUs, or put the LatentAugment on the CPU"
            )
        most = min(most, int(resources["GPU"] / gpus))
    return each, most


@contextlib.contextmanager
def _quiet(context: Any) -> Iterator[None]:
    """Without Ray Data's own progress bars."""
    before, context.enable_progress_bars = context.enable_progress_bars, False
    try:
        yield
    finally:
        context.enable_progress_bars = before


def _portable(work: Work) -> Work:
    """A copy that means the same in other working folders, and that machines without our device can unpickle."""
    work = dataclasses.replace(work, folder=work.folder.absolute(), advance=None)
    if work.augment.device.type == "cpu":
        return work
    return dataclasses.replace(work, augment=_on_the_cpu(work.augment))


def _on_the_cpu(augment: Augmenter) -> Augmenter:
    """A copy, with all that the reference set, the policy and the gate hold."""
    from ray import cloudpickle  # which takes functions of a script as well

    copied = io.BytesIO()
    torch.save(augment, copied, pickle_module=cloudpickle)
    copied.seek(0)
    moved: Augmenter = torch.load(copied, map_location="cpu", weights_only=False)  # our own bytes
    return moved
