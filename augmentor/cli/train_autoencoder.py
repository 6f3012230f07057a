"""``augmentor train-autoencoder DATA``"""

from __future__ import annotations

from typing import Any

import click

from ._options import check_takes, common, data_options, image_shape_of, say

_ENDED = {
    "done": "done before; a larger --steps, or --minutes, goes on",
    "steps": "as many as asked",
    "plateau": "PSNR has stopped rising",
    "minutes": "the time is over; the same command goes on",
}


@click.command("train-autoencoder")
@click.argument("data")
@data_options
@click.option(
    "--autoencoder",
    default="auto",
    help="Family and settings to train from nothing, such as 'vae(latent_dim=32, beta=0.5)', 'dense(hidden=[128])', "
    "'conv', 'spatial_kl'; auto is --from natural for photographs, else vae.",
)
@click.option(
    "--from", "start", metavar="NAME_OR_PATH",
    help="Instead of --autoencoder: fine-tune a pretrained autoencoder, a .safetensors file or that of a run.",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(1), help="How many; by default until PSNR has stopped rising.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="End after this time at the latest.")
@click.option("--batch-size", type=click.IntRange(1), default=32)
@click.option(
    "--lr", type=click.FloatRange(0, min_open=True),
    help="Peak learning rate of AdamW; by default 0.002, with --from 0.0005.",
)  # fmt: skip
@click.option(
    "--val-fraction",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.1,
    help="Held out, at most 500 images, to choose the best weights and to end.",
)
@click.option(
    "--patience", type=click.IntRange(1), default=3,
    help="Measurements, one each 100 steps, without 0.05 dB more before the rate falls, or training ends.",
)  # fmt: skip
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto",
    help="auto is bf16 on a GPU; it also pays on a processor with AMX.",
)  # fmt: skip
@click.option(
    "--geometric/--no-geometric", default=None,
    help="Rotate, shift and scale the training images mildly; by default where there are fewer than 5000.",
)  # fmt: skip
@common("runs/autoencoder", "Folder for weights, history and a picture of reconstructions.")
def train_autoencoder(
    data: str, reading: dict[str, Any], autoencoder: str, start: str | None, lr: float | None, geometric: bool | None,
    out: str, device: str, **settings: Any,
) -> None:  # fmt: skip
    """Train an autoencoder on DATA and write OUT/model.safetensors.

    DATA is digits, a folder of images or of class folders, mnist:ROOT, cifar10:ROOT, h5:FILE, an .npz file or a shard
    folder. Training ends when the PSNR of held-out images has stopped rising. A run that was stopped, by Ctrl-C too,
    goes on when called again, and a finished one when more --steps are asked for.
    """
    from .._internal.geometry import mild_geometry
    from .._internal.registry import describe
    from ..autoencoders.trainer import FINE_TUNING_LR, LR, SMALL_SET, AutoencoderTrainer
    from ..data import load_source

    dataset = load_source(data, **reading)
    model, start = _starting_point(dataset, autoencoder, start, settings["seed"])
    lr = lr or (LR if start is None else FINE_TUNING_LR)
    geometric = len(dataset) < SMALL_SET if geometric is None else geometric
    transform = mild_geometry("edge") if geometric else None
    trainer = AutoencoderTrainer(model, out=out, lr=lr, transform=transform, start=start, device=device, **settings)
    shown = {name: value for name, value in settings.items() if value is not None}
    say(data=f"{data}: {len(dataset)} images {image_shape_of(dataset)}", start=start or "random weights",
        autoencoder=describe(model), lr=lr, geometric=geometric, device=device, out=out, **shown)  # fmt: skip
    try:
        trainer.fit(dataset)
    except KeyboardInterrupt as stopped:
        click.echo(f"\n{stopped}", err=True)
        raise
    click.echo(f"{trainer.steps_taken} steps: {_ENDED[trainer.ended]}")
    _say_verdict(trainer.autoencoder.verdict, start)
    click.echo(f"wrote {out}/model.safetensors; look at {out}/reconstructions.png")


def _say_verdict(verdict: Any, start: str | None) -> None:
    """How well the images held out are reconstructed, and what to do if that is poor."""
    if verdict is None:
        return
    click.echo(f"verdict on held-out images: {verdict}")
    if verdict.word == "poor":
        other = "fine-tune a pretrained one, --from natural" if start is None else "leave latent augmentation out"
        click.echo(f"such an autoencoder is likely to do harm; {other}, or train on more images")


def _starting_point(dataset: Any, autoencoder: str, start: str | None, seed: int) -> tuple[Any, str | None]:
    """The autoencoder to train, and, of one that is fine-tuned, what it was before: its name and fingerprint."""
    from .._internal.random import seeded
    from .._internal.weights import fingerprint
    from ..autoencoders import autoencoders, list_autoencoders, load_autoencoder
    from ..autoencoders.default import default_autoencoder
    from ..autoencoders.pretrained import full_name

    if start is not None and autoencoder != "auto":
        raise click.UsageError(f"--from {start} brings its own network, and --autoencoder is {autoencoder}; give one")
    if start is None and autoencoder == "auto":
        autoencoder = default_autoencoder(dataset)
        start = autoencoder if autoencoder in list_autoencoders() else None
    if start is None:
        shape = image_shape_of(dataset)
        with seeded(seed, "init"):
            return autoencoders.build(autoencoder, image_shape=shape, channels=shape[0]), None
    name = full_name(start)
    model = load_autoencoder(name)
    check_takes(model, name, dataset)
    return model, f"{name} ({fingerprint(model.state_dict())[:12]})"
