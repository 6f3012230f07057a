"""``augmentor train-autoencoder DATA``"""

from __future__ import annotations

from typing import Any

import click

from ._options import check_takes, command_line, common, data_options, image_shape_of
from ._output import finish, say, tell

_ENDED = {
    "done": "the run was already complete; a larger --steps continues it",
    "steps": "all steps of --steps are done",
    "plateau": "PSNR has stopped increasing",
    "minutes": "the time limit --minutes is reached; the same command continues",
}


@click.command("train-autoencoder")
@click.argument("data")
@data_options
@click.option(
    "--autoencoder",
    default="auto",
    help="Architecture to train from random weights, such as 'vae(latent_dim=32, beta=0.5)', 'dense(hidden=[128])', "
    "'conv' or 'spatial_kl'; auto is vae for grey drawings such as digits, and --from natural for photographs "
    "and other RGB images.",
)
@click.option(
    "--from", "start", metavar="NAME_OR_PATH",
    help="Autoencoder to fine-tune, in place of --autoencoder: a pretrained name, a .safetensors file or the "
    "folder of a run.",
)  # fmt: skip
@click.option(
    "--steps",
    type=click.IntRange(1),
    help="Number of training steps. Default: until the PSNR of held-out images stops increasing.",
)
@click.option(
    "--minutes", type=click.FloatRange(0, min_open=True), help="Longest training time in minutes. Default: no limit."
)
@click.option("--batch-size", type=click.IntRange(1), default=32, help="Number of images per step.")
@click.option(
    "--lr", type=click.FloatRange(0, min_open=True),
    help="Peak learning rate of AdamW. Default: 0.002, and 0.0005 with --from.",
)  # fmt: skip
@click.option(
    "--val-fraction",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.1,
    help="Fraction of the images, at most 500 images, that are held out to choose the best weights and to stop.",
)
@click.option(
    "--patience", type=click.IntRange(1), default=3,
    help="Number of measurements (one per 100 steps) without an increase of 0.05 dB, after which the learning rate "
    "decreases or training ends.",
)  # fmt: skip
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto",
    help="Number format of the forward pass; auto is bf16 on a GPU, else fp32. bf16 is also faster on a CPU with AMX.",
)  # fmt: skip
@click.option(
    "--geometric/--no-geometric", default=None,
    help="Whether training images are rotated, translated and scaled slightly. Default: yes for fewer than 5,000 "
    "images, else no.",
)  # fmt: skip
@common("runs/autoencoder", "Folder for weights, history and a picture of reconstructions.")
def train_autoencoder(
    data: str, reading: dict[str, Any], autoencoder: str, start: str | None, lr: float | None, geometric: bool | None,
    out: str, device: str, **settings: Any,
) -> None:  # fmt: skip
    """Train an autoencoder on DATA and write OUT/model.safetensors.

    DATA is a folder of images or of class folders, the word digits (the data set of scikit-learn), mnist:ROOT,
    cifar10:ROOT, h5:FILE, an .npz file or a shard folder. Training ends when the PSNR of held-out images stops
    increasing. The same command resumes a stopped run; a larger --steps continues a complete one.
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
    tell(f"{trainer.steps_taken} steps: {_ENDED[trainer.ended]}")
    verdict = trainer.autoencoder.verdict
    _say_verdict(verdict, start)
    finish(
        f"{out}/model.safetensors and the picture {out}/reconstructions.png",
        command_line("preview", data, reading=reading, autoencoder=out),
        steps=trainer.steps_taken, ended=trainer.ended, psnr_db=trainer.psnr_db,
        verdict=None if verdict is None else verdict.word,
    )  # fmt: skip


def _say_verdict(verdict: Any, start: str | None) -> None:
    """Print how well held-out images are reconstructed, and what to do if the verdict is poor."""
    if verdict is None:
        return
    tell(f"verdict on held-out images: {verdict}")
    if verdict.word == "poor":
        other = "fine-tune a pretrained one, --from natural" if start is None else "do not use latent augmentation"
        tell(f"augmentation with a poor autoencoder is likely to reduce accuracy; {other}, or train on more images")


def _starting_point(dataset: Any, autoencoder: str, start: str | None, seed: int) -> tuple[Any, str | None]:
    """Return the autoencoder to train, and the name and fingerprint of the one that is fine-tuned, or None."""
    from .._internal.random import seeded
    from .._internal.weights import fingerprint
    from ..autoencoders import autoencoders, list_autoencoders, load_autoencoder
    from ..autoencoders.default import default_autoencoder
    from ..autoencoders.pretrained import full_name

    if start is not None and autoencoder != "auto":
        raise click.UsageError(f"got --from {start} and --autoencoder {autoencoder}; give one of them")
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
