"""``augmentor generate DATA``"""

from __future__ import annotations

import click

from ._options import augment_options, common, data_options, image_shape_of, resolve_autoencoder, resolve_device, say


@click.command()
@click.argument("data")
@data_options
@augment_options
@click.option("--num-samples", type=int, help="How many synthetic images; as many as DATA has by default.")
@click.option("--shard-size", type=int, default=4096, show_default=True, help="Images in one file.")
@click.option("--compression", type=click.Choice(["none", "gzip"]), default="none", show_default=True)
@click.option("--resume/--no-resume", default=True, show_default=True, help="Go on with a folder that was begun.")
@common("runs/shards", "Folder for the shards and their manifest.")
def generate(
    data: str, split: str, size: int | None, skip_bad: bool, autoencoder: str, policy: str, num_samples: int | None,
    shard_size: int, compression: str, resume: bool, seed: int, device: str, out: str,
) -> None:  # fmt: skip
    """Write synthetic images made from DATA to HDF5 shards, which `ShardDataset` and any h5py reader open.

    Killed at any moment it goes on when called again, and ends with the same bytes.
    """
    from ..data import load_source
    from ..generate import generate_shards
    from ..transform import LatentAugment

    device = resolve_device(device)
    dataset = load_source(data, split=split, size=size, skip_bad=skip_bad)
    augment = LatentAugment(resolve_autoencoder(autoencoder, image_shape_of(dataset)), policy, p=1.0).to(device)
    count = len(dataset) if num_samples is None else num_samples
    say(data=f"{data}: {len(dataset)} images", autoencoder=augment.autoencoder.name, policy=augment.policy, seed=seed,
        num_samples=count, shard_size=shard_size, compression=compression, device=device, out=out)  # fmt: skip
    generate_shards(
        dataset, augment, out, num_samples=count, shard_size=shard_size, seed=seed, resume=resume,
        compression=compression, class_names=dataset.classes, progress=True,
    )  # fmt: skip
    click.echo(f"wrote {count} images to {out}; read them with augmentor.ShardDataset({out!r})")
