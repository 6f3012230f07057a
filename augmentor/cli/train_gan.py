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

# Options that are the training method's; the rest are the trainer's.
_OF_SYSTEM = ("network", "loss", "lr", "r1_gamma", "discriminator_steps")


@click.command("train-gan")
@click.argument("data")
@data_options
@click.option(
    "--method", default="gan", show_default=True, help="What is trained and how, such as gan; see augmentor info."
)
@click.option("--network", default="dcgan", show_default=True, help="dcgan or resnet, such as 'resnet(width=48)'.")
@click.option("--loss", default="nonsaturating", show_default=True, help="nonsaturating, hinge, lsgan or wgan_gp.")
@click.option("--conditional/--unconditional", default=True, show_default=True, help="Whether classes are given.")
@click.option(
    "--augment",
    default="none",
    show_default=True,
    help="none, real (decoded samples join the real ones), both (real and generated images alike), "
    "diffaugment, ada, or several: both+diffaugment.",
)
@augment_options
@click.option("--p", help="Chance of an image, adaptive or annealed; by default 0.5 for both, adaptive for ada.")
@click.option("--ratio", type=float, help="Decoded for each real, with --augment real; 1 if left out.")
@click.option("--steps", type=int, default=5000, show_default=True, help="Steps of the generator.")
@click.option("--epochs", type=click.IntRange(1), help="Instead of --steps: how often each image is seen.")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option("--lr", type=float, default=5e-4, show_default=True, help="Learning rate of both networks.")
@click.option("--r1-gamma", type=float, help="Weight of the R1 penalty; by default what suits the loss.")
@click.option("--discriminator-steps", type=int, default=1, show_default=True, help="For each step of the generator.")
@click.option("--round-steps", type=int, default=500, show_default=True, help="Steps between grids and measurements.")
@click.option("--best-by", type=click.Choice(["fid", "kid"]), default="fid", show_default=True, help="Best snapshot.")
@click.option(
    "--stop-on", multiple=True, type=click.Choice(["collapse", "saturation"]), help="Ends the run; may be repeated."
)
@click.option("--devices", type=click.IntRange(1), default=1, show_default=True, help="Processes on this machine.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@common("runs/gan", "Folder for the generator, sample grids, history and checkpoint.")
def train_gan(
    data: str, split: str, size: int | None, skip_bad: bool, method: str, conditional: bool, autoencoder: str,
    policy: str, residual: float, p: str | None, ratio: float | None, epochs: int | None, augment: str, device: str,
    out: str, seed: int, **settings: Any,
) -> None:  # fmt: skip
    """Train a GAN on DATA; write OUT/generator.safetensors, OUT/best.safetensors and sample grids.

    The autoencoder augments (--augment), is what some training methods build on, and its latents are the features that FID is
    measured on. Without one that fits, nothing is measured.
    """
    from ..autoencoders.pretrained import GENERAL, fitting_autoencoder
    from ..data import load_source
    from ..gan import cannot_do_without, get_augmentation, get_method, needs_autoencoder
    from ..gan.trainer import GANTrainer
    from ..policies import get_policy
    from ..quality import AutoencoderFeatures
    from ..transform import LatentAugment

    device = resolve_device(device)
    if policy != "auto":
        get_policy(policy)  # a wrong one is an error even where --augment none leaves it unused
    in_latents = needs_autoencoder(augment)
    needed = in_latents or autoencoder != "auto" or cannot_do_without(method, "autoencoder")
    dataset = load_source(data, split=split, size=size, skip_bad=skip_bad)
    shape = image_shape_of(dataset)
    known = needed or fitting_autoencoder(shape) != GENERAL
    model = resolve_autoencoder(autoencoder, dataset) if known else None
    if epochs is not None:
        settings["steps"] = max(1, round(epochs * len(dataset) / settings["batch_size"]))
    latent_augment = LatentAugment(model, policy, residual=residual) if in_latents and model is not None else None
    made = get_augmentation(augment, latent_augment, p=p, ratio=ratio)
    parts = {name: settings.pop(name) for name in _OF_SYSTEM}
    trainer = GANTrainer(
        get_method(
            method,
            image_shape=shape,
            num_classes=len(dataset.classes) if conditional else 0,
            augmentation=None if augment == "none" else made,
            autoencoder=model,
            seed=seed,
            **parts,
        ),
        features=None if model is None else AutoencoderFeatures(model),
        out=out,
        device=device,
        seed=seed,
        **settings,
    )
    how = ({} if made.p is None else {"p": made.p}) | (
        {} if latent_augment is None else {"policy": latent_augment.policy, "residual": residual}
    )
    say(data=f"{data}: {len(dataset)} images {shape}", method=method, conditional=conditional, augment=augment, **how,
        autoencoder="none, so nothing is measured" if model is None else model.name, device=device, out=out,
        seed=seed, **parts, **settings)  # fmt: skip
    trainer.fit(dataset)
    click.echo(f"last: {scores_text(trainer.history[-1])}")
    click.echo(f"wrote {out}/generator.safetensors; look at {out}/samples")
