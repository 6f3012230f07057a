"""``augmentor train-prior DATA``"""

from __future__ import annotations

from typing import Any

import click

from ._options import autoencoder_option, command_line, common, data_options, image_shape_of, resolve_autoencoder
from ._output import finish, say, scores_text, tell
from ._verdict import anyway_option, stop_if_poor, verdict_on


@click.command("train-prior")
@click.argument("data")
@data_options
@autoencoder_option("The flow is trained on its latents.")
@click.option(
    "--width",
    type=click.IntRange(1),
    help="Width of the hidden layers. Default: 256 for latent vectors, 32 for feature maps.",
)
@click.option("--steps", type=click.IntRange(1), default=20000, help="Largest number of training steps.")
@click.option(
    "--patience", type=click.IntRange(1), default=3,
    help="Number of rounds without a lower loss on held-out latents after which training ends.",
)  # fmt: skip
@click.option("--held-out", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.1,
              help="Fraction of the images, at most 1,000 images, that are held out.")  # fmt: skip
@click.option(
    "--conditional/--unconditional", default=None,
    help="Whether the flow is conditional on the class. Default: conditional if there are several classes.",
)  # fmt: skip
@click.option("--batch-size", type=click.IntRange(1), default=128, help="Number of latents per step.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=1e-3, help="Learning rate of AdamW.")
@click.option(
    "--round-steps",
    type=click.IntRange(1),
    default=500,
    help="Number of steps per round. Each round ends with a measurement and a grid of samples.",
)
@anyway_option
@common("runs/prior", "Folder for the prior, the generator, sample grids, history and checkpoint.")
def train_prior(
    data: str, reading: dict[str, Any], autoencoder: str, width: int | None, held_out: float,
    conditional: bool | None, lr: float, anyway: bool, seed: int, device: str, out: str, **settings: Any,
) -> None:  # fmt: skip
    """Train a latent flow on the latents of DATA by flow matching; write OUT/prior.safetensors.

    The policy denoise('OUT') uses it. OUT/generator.safetensors is the flow together with the decoder, in the format of
    train-gan. Training ends when the loss on held-out latents stops decreasing, before the flow memorises the other
    latents. The same command resumes a stopped run.
    """
    from .._internal.registry import describe
    from ..data import load_source
    from ..exceptions import InputError
    from ..gan import GANTrainer, get_method
    from ..quality import independent_features, named_scores

    dataset = load_source(data, **reading)
    if conditional and len(dataset.classes) < 2:
        raise InputError(f"got --conditional, and {data} has no labels or one class; omit --conditional")
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
    say(data=f"{data}: {len(dataset)} images {shape}", autoencoder=f"{name} ({model.name})", verdict=str(verdict),
        conditional=conditional, prior=describe(method.generator.flow, brief=True), held_out=held_out, lr=lr,
        features=None if features is None else features.name, device=device, out=out, seed=seed,
        **settings)  # fmt: skip
    trainer.fit(dataset)
    best = trainer.best
    scores = best if features is None else named_scores(best, features.name)
    tell(f"best: {scores_text(scores)}")
    finish(
        f"{out}/prior.safetensors, {out}/generator.safetensors and sample grids in {out}/samples",
        command_line("preview", data, reading=reading, autoencoder=name, policy=f"denoise('{out}')"), best=scores,
    )  # fmt: skip
