"""``augmentor train-gan DATA``"""

from __future__ import annotations

from typing import Any

import click

from ._options import (
    augment_options,
    common,
    data_options,
    image_shape_of,
    resolve_autoencoder,
    resolve_device,
    say,
    scores_text,
)


@click.command("train-gan")
@click.argument("data")
@data_options
@click.option("--network", default="dcgan", show_default=True, help="dcgan or resnet, such as 'resnet(width=48)'.")
@click.option("--loss", default="nonsaturating", show_default=True, help="nonsaturating, hinge, lsgan or wgan_gp.")
@click.option("--conditional/--unconditional", default=True, show_default=True, help="Whether classes are given.")
@click.option(
    "--augment",
    default="none",
    show_default=True,
    help="none, real (decoded samples join the real ones) or both (real and generated images alike; does not leak).",
)
@augment_options
@click.option(
    "--p", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Chance of an image, with --augment both."
)
@click.option("--ratio", type=float, default=1.0, show_default=True, help="Decoded for each real, with --augment real.")
@click.option("--steps", type=int, default=5000, show_default=True, help="Steps of the generator.")
@click.option("--epochs", type=click.IntRange(1), help="Instead of --steps: how often each image is seen.")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option("--lr", type=float, default=5e-4, show_default=True, help="Learning rate of both networks.")
@click.option("--r1-gamma", type=float, help="Weight of the R1 penalty; by default what suits the loss.")
@click.option("--discriminator-steps", type=int, default=1, show_default=True, help="For each step of the generator.")
@click.option("--round-steps", type=int, default=500, show_default=True, help="Steps between grids and measurements.")
@common("runs/gan", "Folder for the generator, sample grids, history and checkpoint.")
def train_gan(
    data: str, split: str, size: int | None, skip_bad: bool, network: str, conditional: bool, autoencoder: str,
    policy: str, p: float, epochs: int | None, augment: str, device: str, out: str, **settings: Any,
) -> None:  # fmt: skip
    """Train a GAN on DATA; write OUT/generator.safetensors, OUT/best.safetensors and sample grids.

    The autoencoder augments (--augment) and its latents are the features that FID is measured on. Without one that
    fits, nothing is measured.
    """
    from .._random import seeded
    from ..data import load_source
    from ..exceptions import InputError
    from ..gan import discriminators, generators
    from ..metrics import AutoencoderFeatures
    from ..policies import get_policy
    from ..training import GANTrainer
    from ..transform import LatentAugment

    device = resolve_device(device)
    get_policy(policy)  # a wrong one is an error even where --augment none leaves it unused
    dataset = load_source(data, split=split, size=size, skip_bad=skip_bad)
    shape = image_shape_of(dataset)
    try:
        model = resolve_autoencoder(autoencoder, shape)
    except InputError:
        if autoencoder != "auto" or augment != "none":
            raise
        model = None
    if epochs is not None:
        settings["steps"] = max(1, round(epochs * len(dataset) / settings["batch_size"]))
    with seeded(settings["seed"], "init"):
        classes = len(dataset.classes) if conditional else 0
        generator = generators.build(network, image_shape=shape, num_classes=classes)
        discriminator = discriminators.build(network, image_shape=shape, num_classes=classes)
    trainer = GANTrainer(
        generator,
        discriminator,
        augment=augment,
        latent_augment=None if augment == "none" or model is None else LatentAugment(model, policy, p=p),
        features=None if model is None else AutoencoderFeatures(model),
        out=out,
        device=device,
        **settings,
    )
    how = {} if augment == "none" else {"policy": policy, "p": p}
    say(data=f"{data}: {len(dataset)} images {shape}", network=network, conditional=conditional, augment=augment, **how,
        autoencoder="none, so nothing is measured" if model is None else model.name, device=device, out=out,
        **settings)  # fmt: skip
    trainer.fit(dataset)
    click.echo(f"last: {scores_text(trainer.history[-1])}")
    click.echo(f"wrote {out}/generator.safetensors; look at {out}/samples")
