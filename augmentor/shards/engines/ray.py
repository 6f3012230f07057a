"""Executor on a Ray cluster: Ray Data distributes the units to a pool of actors that hold the autoencoder.

If an actor or a machine fails, Ray gives its unit to another actor. Two actors may make the same unit; they write the
same bytes. Only the calling process writes the journal.

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
    """Import and return Ray. Raises `InputError` if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError("executor='ray' needs Ray: pip install 'latent-augmentor[ray]'") from error
    return ray


def run(work: Work, units: Sequence[int], record: Record, gpus_per_worker: float | None = None) -> None:
    """Make the units in any order. Every machine must have access to the data, the weights and the folder."""
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
    """Actor with the work on its own device. It returns an `AugmentorError` as a row, so that Ray does not retry."""

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
    """Return CPUs per worker and the number of workers. One CPU stays free, because Ray needs one for recovery."""
    cpus = resources.get("CPU", 1)
    each = 1.0 if cpus >= 2 else cpus / 2
    most = max(1, int(cpus - 1))
    if gpus:
        if resources.get("GPU", 0) < gpus:
            raise InputError(
                f"a worker needs {gpus:g} GPUs and the Ray cluster has {resources.get('GPU', 0):g}; "
                "start it with GPUs, or move the LatentAugment to the CPU"
            )
        most = min(most, int(resources["GPU"] / gpus))
    return each, most


@contextlib.contextmanager
def _quiet(context: Any) -> Iterator[None]:
    """Disable the progress bars of Ray Data."""
    before, context.enable_progress_bars = context.enable_progress_bars, False
    try:
        yield
    finally:
        context.enable_progress_bars = before


def _portable(work: Work) -> Work:
    """Return a copy that is valid in other working folders and that machines without this device can unpickle."""
    work = dataclasses.replace(work, folder=work.folder.absolute(), advance=None)
    if work.augment.device.type == "cpu":
        return work
    return dataclasses.replace(work, augment=_on_the_cpu(work.augment))


def _on_the_cpu(augment: Augmenter) -> Augmenter:
    """Return a copy on the CPU, with the reference set, the policy and the gate."""
    from ray import cloudpickle  # also pickles functions of a script

    copied = io.BytesIO()
    torch.save(augment, copied, pickle_module=cloudpickle)
    copied.seek(0)
    moved: Augmenter = torch.load(copied, map_location="cpu", weights_only=False)  # written above, so trusted
    return moved
