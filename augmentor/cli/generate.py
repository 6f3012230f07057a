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

from ._options import FilePath, Seconds, augment_options, command_line, common, data_options, resolve_autoencoder
from ._output import finish, say, tell
from ._verdict import anyway_option, stop_if_poor, verdict_on


class _UnitRange(click.ParamType):
    name = "START:STOP"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        start, _, stop = str(value).partition(":")
        if not (start.isdecimal() and stop.isdecimal()):
            self.fail(f"got {value!r}; expected a range of shards START:STOP, such as 0:40", param, ctx)
        return int(start), int(stop)


class _OneOf(click.Choice):
    """One of the names in `shards.manifest`, which is imported when a value is checked and not for ``--help``."""

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
    help="Quality gate: fraction of real images that it accepts, such as 0.95. Samples that are less similar to real "
    "images, copies of real images, and samples that do not show their class are rejected. Default: no gate.",
)
@click.option("--num-samples", type=click.IntRange(1), help="Number of synthetic images. Default: as many as DATA has.")
@click.option("--shard-size", type=click.IntRange(1), default=4096, help="Number of images per file.")
@click.option(
    "--store", type=click.Choice(["images", "latents"]), default="images",
    help="Content of the files: images, or latents, which are smaller and are decoded when they are read.",
)  # fmt: skip
@click.option(
    "--format", type=_OneOf(lambda manifest: manifest.FORMATS), default="hdf5", metavar="NAME",
    help="File format: hdf5, webdataset (PNG in tar files), or another that augmentor info lists.",
)  # fmt: skip
@click.option(
    "--compression", type=_OneOf(lambda manifest: manifest.compressions()), default="none", metavar="NAME",
    help="Compression of the files: none, or gzip for hdf5.",
)  # fmt: skip
@click.option(
    "--precision", default="fp32",
    help="Number format and memory layout of the autoencoder: fp32, bf16, a combination such as "
    "bf16+channels_last, or auto. auto measures the combinations on this device and selects the fastest with a PSNR of "
    "at least 45 dB against fp32; a less exact combination must be at least 10 % faster.",
)  # fmt: skip
@click.option(
    "--cache",
    type=FilePath(),
    help="File for the latents of DATA, so that the images are encoded only once. Default: no cache.",
)
@click.option("--batch-size", type=click.IntRange(1), default=256, help="Number of real images read at once.")
@click.option(
    "--num-workers",
    type=click.IntRange(0),
    default=0,
    help="Number of processes that read the real images; 0 reads in this process.",
)
@click.option(
    "--executor", type=click.Choice(["local", "torchrun", "ray"]), default="local",
    help="Executor: this process, the ranks of torchrun, or a Ray cluster.",
)  # fmt: skip
@click.option(
    "--gpus-per-worker",
    type=float,
    help="Number of GPUs per Ray worker, such as 0.5. Default: 1 with --device cuda, else 0.",
)
@click.option(
    "--unit-range",
    type=_UnitRange(),
    help="Range of shards (units) to make, counted from 0, for several jobs. Default: all.",
)
@click.option(
    "--budget", type=Seconds(), default="1h",
    help="Time limit for this process, such as 600 (seconds), 90s, 10m or 8h. One batch is measured first; if all "
    "batches would take longer, the command ends without output.",
)  # fmt: skip
@click.option("--resume/--no-resume", default=True, help="Whether to resume an incomplete folder.")
@anyway_option
@common("runs/shards", "Folder for the shards and their manifest.")
def generate(
    data: str, reading: dict[str, Any], autoencoder: str, policy: str, residual: float | str,
    gate: float | None, num_samples: int | None, shard_size: int, store: str, format: str, compression: str,
    precision: str, cache: str | None, batch_size: int, num_workers: int, executor: str, gpus_per_worker: float | None,
    unit_range: tuple[int, int] | None, budget: float, resume: bool, anyway: bool, seed: int, device: str,
    out: str,
) -> None:  # fmt: skip
    """Write synthetic images made from DATA to shards: HDF5 files for `ShardDataset` or h5py, or tar files for
    webdataset.

    The same command resumes a stopped or killed run. The files are byte-identical for any number of interruptions and
    for every executor.
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
    first = executor != "torchrun" or os.environ.get("RANK") == "0"  # only one rank prints
    dataset = load_source(data, **reading)
    if store == "latents" and autoencoder.startswith("diffusers:"):
        raise InputError(
            "got --store latents with an autoencoder of diffusers, whose latent statistics are fitted in this process "
            "and would be missing when the latents are read; omit --store latents, or fit and save the autoencoder: "
            "LatentAugment('diffusers:...').fit(data).autoencoder.save(FILE)"
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
            verdict=str(verdict), policy=str(augment.policy), residual=augment.residual, gate=gate, seed=seed,
            num_samples=count, shard_size=shard_size, store=store, format=format, compression=compression,
            precision=augment.plan, executor=executor, device=device, out=out)  # fmt: skip
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
    """Print what was written, how to read it, and how many samples the gate rejected.

    decoder: the autoencoder of latents, and its name or file.
    """
    from ..shards import ShardDataset, read_partial
    from ..shards.formats import ORIGINAL_KEPT
    from ..shards.manifest import FORMATS

    if (partial := read_partial(folder)) is not None:
        made, wanted = len(partial.shards), partial.num_shards
        tell(f"{out} has {made} of {wanted} shards; the command without --unit-range makes the others")
        finish(shards=made, of=wanted)
        return
    readable, (autoencoder, name) = FORMATS[format].readable, decoder
    reader = f"augmentor.ShardDataset({out!r}{'' if name is None else f', autoencoder={name!r}'})"
    results: dict[str, Any] = {"images": count}
    if gated and readable:
        rejected = int((ShardDataset(folder, autoencoder=autoencoder).draw_indices == ORIGINAL_KEPT).sum())
        tell(f"{rejected} samples are unchanged originals: the gate rejected all draws, or the image has no partner")
        results["rejected"] = rejected
    finish(
        f"{count} images to {out}; read them with {reader if readable else format}",
        command_line("verify", out), **results,
    )  # fmt: skip


@contextlib.contextmanager
def _interrupted_by(number: signal.Signals) -> Iterator[None]:
    """Handle a signal like Ctrl-C: the command ends with one line and the exit code of the signal."""
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
