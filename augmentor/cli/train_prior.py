"""``augmentor train-prior DATA``"""

from __future__ import annotations

from typing import Any

import click

from ._options import common, data_options, image_shape_of, resolve_autoencoder, say, scores_text
from ._verdict import anyway_option, stop_if_poor, verdict_on


@click.command("train-prior")
@click.argument("data")
@data_options
@click.option(
    "--autoencoder", default="auto",
    help="Whose latents: a pretrained name, a .safetensors file, the folder of the run that trained it, or auto: the "
    "pretrained one that fits the images.",
)  # fmt: skip
@click.option("--width", type=click.IntRange(1), help="Of the hidden layers; 256 for vectors, 32 for feature maps.")
@click.option("--steps", type=click.IntRange(1), default=20000, help="Training steps at most.")
@click.option(
    "--patience", type=click.IntRange(1), default=3,
    help="Rounds without a lower loss on the held-out latents after which training ends.",
)  # fmt: skip
@click.option("--held-out", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.1,
              help="Share of the images that are held out, at most 1,000 images.")  # fmt: skip
@click.option(
    "--conditional/--unconditional", default=None,
    help="Whether the classes are given; by default where there are several.",
)  # fmt: skip
@click.option("--batch-size", type=click.IntRange(1), default=128)
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=1e-3, help="Learning rate of AdamW.")
@click.option("--round-steps", type=click.IntRange(1), default=500, help="Steps between grids and measurements.")
@anyway_option
@common("runs/prior", "Folder for the prior, the generator, sample grids, history and checkpoint.")
def train_prior(
    data: str, reading: dict[str, Any], autoencoder: str, width: int | None, held_out: float,
    conditional: bool | None, lr: float, anyway: bool, seed: int, device: str, out: str, **settings: Any,
) -> None:  # fmt: skip
    """Train a latent flow on the latents of DATA by flow matching; write OUT/prior.safetensors.

    The policy denoise('OUT') uses it. OUT/generator.safetensors is the same flow with the decoder, a generator as
    train-gan writes it. Training ends when the loss on held-out latents has stopped falling, before the flow memorises
    the others. A run that was stopped continues when called again.
    """
    from .._internal.registry import describe
    from ..data import load_source
    from ..exceptions import InputError
    from ..gan import GANTrainer, get_method
    from ..quality import independent_features, named_scores

    dataset = load_source(data, **reading)
    if conditional and len(dataset.classes) < 2:
        raise InputError(f"{data} has no labels, or one class; leave --conditional out")
    conditional = len(dataset.classes) > 1 if conditional is None else conditional
    model, name = resolve_autoencoder(autoencoder, dataset)
    verdict = verdict_on(model, name, dataset)
    stop_if_poor(verdict, name, anyway=anyway)
    shape = image_shape_of(dataset)
    features = independent_features(shape) if shape[0] in (1, 3) else None
    method = get_method(
        "flow", autoencoder=model, width=width, held_out=held_out, lr=lr, seed=seed, image_shape=shape,
        num_classes=len(dataset.classes) if conditional else 0,
    )  # fmt: skip
    trainer = GANTrainer(
        method, best_by="held_out_loss", features=features, out=out, seed=seed, device=device, **settings
    )
    say(data=f"{data}: {len(dataset)} images {shape}", autoencoder=f"{name} ({model.name})", verdict=verdict,
        conditional=conditional, prior=describe(method.generator.flow, brief=True), held_out=held_out, lr=lr,
        features=None if features is None else features.name, device=device, out=out, seed=seed,
        **settings)  # fmt: skip
    trainer.fit(dataset)
    best = trainer.best
    click.echo(f"best: {scores_text(best if features is None else named_scores(best, features.name))}")
    click.echo(f"wrote {out}/prior.safetensors and {out}/generator.safetensors; look at {out}/samples")
    again = data if reading["size"] is None else f"{data} --size {reading['size']}"
    click.echo(f"next: augmentor preview {again} --autoencoder {name} --policy \"denoise('{out}')\"")
