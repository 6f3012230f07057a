"""``augmentor train-autoencoder DATA``"""

from __future__ import annotations

from typing import Any

import click

from ._options import common, data_options, image_shape_of, say


@click.command("train-autoencoder")
@click.argument("data")
@data_options
@click.option(
    "--autoencoder",
    default="vae",
    help="Family and settings, such as 'vae(latent_dim=32, beta=0.5)', 'dense(hidden=[128])', 'conv', 'spatial_kl'.",
)
@click.option("--epochs", type=click.IntRange(1), default=50)
@click.option("--batch-size", type=click.IntRange(1), default=128)
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=2e-3, help="Peak learning rate of AdamW.")
@click.option(
    "--val-fraction",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.1,
    help="Held out to choose the best weights.",
)
@click.option("--patience", type=click.IntRange(1), default=10, help="Rounds without a better loss before stopping.")
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto",
    help="auto is bf16 on a GPU; it also pays on a processor with AMX.",
)  # fmt: skip
@click.option("--geometric", is_flag=True, help="Rotate, shift and scale the training images mildly; few need it.")
@common("runs/autoencoder", "Folder for weights, history and a picture of reconstructions.")
def train_autoencoder(
    data: str, reading: dict[str, Any], autoencoder: str, geometric: bool, out: str, device: str, **settings: Any
) -> None:
    """Train an autoencoder on DATA and write OUT/model.safetensors.

    DATA is digits, a folder of images or of class folders, mnist:ROOT, cifar10:ROOT, h5:FILE, an .npz file or a shard
    folder. A run that was stopped goes on when called again.
    """
    from .._internal.geometry import mild_geometry
    from .._internal.random import seeded
    from .._internal.registry import describe
    from ..autoencoders import autoencoders
    from ..autoencoders.trainer import AutoencoderTrainer
    from ..data import load_source

    dataset = load_source(data, **reading)
    shape = image_shape_of(dataset)
    with seeded(settings["seed"], "init"):
        model = autoencoders.build(autoencoder, image_shape=shape, channels=shape[0])
    transform = mild_geometry() if geometric else None
    trainer = AutoencoderTrainer(model, out=out, device=device, transform=transform, **settings)
    say(data=f"{data}: {len(dataset)} images {shape}", autoencoder=describe(model), geometric=geometric, device=device,
        out=out, **settings)  # fmt: skip
    trainer.fit(dataset)
    click.echo(f"best validation loss {min(row['val_loss'] for row in trainer.history):.4f} nats a pixel")
    click.echo(f"wrote {out}/model.safetensors; look at {out}/reconstructions.png")
