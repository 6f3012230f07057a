"""``augmentor generate DATA``"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from ._options import FilePath, Seconds, augment_options, common, data_options, resolve_autoencoder, say
from ._verdict import anyway_option, stop_if_poor, verdict_on


class _UnitRange(click.ParamType):
    name = "START:STOP"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        start, _, stop = str(value).partition(":")
        if not (start.isdecimal() and stop.isdecimal()):
            self.fail(f"{value!r} is no range of shards; expected START:STOP, such as 0:40", param, ctx)
        return int(start), int(stop)


class _OneOf(click.Choice):
    """One of the names in `shards.manifest`, which is imported when a value is checked, and not for ``--help``."""

    def __init__(self, names: Callable[[Any], Iterable[str]]):
        self._names = names
        self.case_sensitive = True

    @property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        from ..shards import manifest

        return tuple(self._names(manifest))


@click.command()
@click.argument("data")
@data_options
@augment_options
@click.option(
    "--gate",
    type=click.FloatRange(0, 1),
    metavar="KEEP",
    help="Reject what is unlike real images, such as 0.95: the share of real ones that would pass.",
)
@click.option(
    "--num-samples", type=click.IntRange(1), help="How many synthetic images; as many as DATA has by default."
)
@click.option("--shard-size", type=click.IntRange(1), default=4096, help="Images in one file.")
@click.option(
    "--store", type=click.Choice(["images", "latents"]), default="images",
    help="Latents take less room where they are small; the reader decodes them.",
)  # fmt: skip
@click.option(
    "--format", type=_OneOf(lambda manifest: manifest.FORMATS), default="hdf5", metavar="NAME",
    help="Of the files: hdf5, webdataset (tar files of PNG), or another that augmentor info lists.",
)  # fmt: skip
@click.option(
    "--compression", type=_OneOf(lambda manifest: manifest.compressions()), default="none", metavar="NAME",
    help="Of the files: none, or gzip for hdf5.",
)  # fmt: skip
@click.option(
    "--precision", default="fp32",
    help="fp32, bf16, auto (the fastest here that keeps the images), or a plan such as bf16+channels_last.",
)  # fmt: skip
@click.option("--cache", type=FilePath(), help="File to keep the latents of DATA in: they are encoded once.")
@click.option("--batch-size", type=click.IntRange(1), default=256, help="Real images read at once.")
@click.option("--num-workers", type=click.IntRange(0), default=0, help="Processes that read the real images.")
@click.option(
    "--executor", type=click.Choice(["local", "torchrun", "ray"]), default="local",
    help="Who does the work: this process, each rank of torchrun a part, or a Ray cluster.",
)  # fmt: skip
@click.option("--gpus-per-worker", type=float, help="Of a Ray worker, such as 0.5; 1 by default on a GPU.")
@click.option("--unit-range", type=_UnitRange(), help="Only these shards, from 0; for jobs that make a part each.")
@click.option(
    "--budget", type=Seconds(), default="1h",
    help="Time that this process may take, such as 90s, 10m or 8h: one batch is measured first, and if all would take "
    "longer, nothing is made.",
)  # fmt: skip
@click.option("--resume/--no-resume", default=True, help="Go on with a folder that was begun.")
@anyway_option
@common("runs/shards", "Folder for the shards and their manifest.")
def generate(
    data: str, reading: dict[str, Any], autoencoder: str, policy: str, residual: float | str,
    gate: float | None, num_samples: int | None, shard_size: int, store: str, format: str, compression: str,
    precision: str, cache: str | None, batch_size: int, num_workers: int, executor: str, gpus_per_worker: float | None,
    unit_range: tuple[int, int] | None, budget: float, resume: bool, anyway: bool, seed: int, device: str,
    out: str,
) -> None:  # fmt: skip
    """Write synthetic images made from DATA to HDF5 shards, which `ShardDataset` and any h5py reader open.

    Killed at any moment it goes on when called again, and ends with the same bytes, whoever does the work.
    """
    from ..data import load_source
    from ..exceptions import InputError
    from ..latents import LatentCache
    from ..policies import get_policy
    from ..quality import QualityGate
    from ..shards import generate_shards
    from ..transform import LatentAugment

    if executor == "torchrun" and device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    first = executor != "torchrun" or os.environ.get("RANK") == "0"  # only one rank talks
    dataset = load_source(data, **reading)
    if store == "latents" and autoencoder.startswith("diffusers:"):
        raise InputError(
            "readers of latents would not find the statistics that are fitted here; leave --store latents out, or fit "
            "and save the autoencoder first: LatentAugment('diffusers:...').fit(data).autoencoder.save(FILE)"
        )
    model, name = resolve_autoencoder(autoencoder, dataset, device)
    verdict = verdict_on(model, name, dataset, device)
    stop_if_poor(verdict, name, anyway=anyway)
    checked = None if gate is None else QualityGate(gate)
    chosen = policy if policy == "auto" else get_policy(policy, dataset.classes)
    augment = LatentAugment(model, chosen, p=1.0, residual=residual, gate=checked, precision=precision)
    latents = None if cache is None else LatentCache(dataset, model, cache)
    count = len(dataset) if num_samples is None else num_samples
    if first:
        say(data=f"{data}: {len(dataset)} images", autoencoder=f"{name} ({model.name})",
            verdict=verdict, policy=augment.policy, residual=augment.residual, gate=gate, seed=seed, num_samples=count,
            shard_size=shard_size, store=store, format=format, compression=compression, precision=augment.plan,
            executor=executor, device=device, out=out)  # fmt: skip
    with _interrupted_by(signal.SIGTERM):
        folder = generate_shards(
            dataset, augment, out, num_samples=count, shard_size=shard_size, seed=seed, executor=executor,
            resume=resume, store=store, format=format, compression=compression, batch_size=batch_size,
            num_workers=num_workers, cache=latents, unit_range=unit_range, gpus_per_worker=gpus_per_worker,
            class_names=dataset.classes, budget=budget, progress=first,
        )  # fmt: skip
    if first:
        decoder = (model, name) if store == "latents" else (None, None)
        _report(folder, out, format, count, decoder, gated=gate is not None)


def _report(folder: Path, out: str, format: str, count: int, decoder: tuple[Any, str | None], *, gated: bool) -> None:
    """What was written, how it is read, and how often the gate kept the original.

    decoder: the autoencoder of latents, and its name or file.
    """
    from ..shards import ShardDataset, read_partial
    from ..shards.formats import ORIGINAL_KEPT
    from ..shards.manifest import FORMATS

    if (partial := read_partial(folder)) is not None:
        click.echo(f"{out} has {len(partial.shards)} of {partial.num_shards} shards; the others are still to come")
        return
    readable, (autoencoder, name) = FORMATS[format].readable, decoder
    reader = f"augmentor.ShardDataset({out!r}{'' if name is None else f', autoencoder={name!r}'})"
    click.echo(f"wrote {count} images to {out}; read them with {reader if readable else format}")
    if gated and readable:
        rejected = int((ShardDataset(folder, autoencoder=autoencoder).draw_indices == ORIGINAL_KEPT).sum())
        click.echo(f"the gate let no version of {rejected} of them pass: they are the real images themselves")


@contextlib.contextmanager
def _interrupted_by(number: signal.Signals) -> Iterator[None]:
    """Let a signal do what Ctrl-C does. Either ends the command with one line and the usual exit code."""
    received: list[int] = [signal.SIGINT]

    def interrupt(number: int, frame: Any) -> None:
        received[0] = number
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    try:
        yield
    except KeyboardInterrupt as error:
        click.echo(f"error: {str(error) or 'stopped'}", err=True)
        sys.exit(128 + received[0])
    finally:
        signal.signal(number, before)
