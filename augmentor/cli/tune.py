"""``augmentor tune``"""

from __future__ import annotations

from typing import Any

import click

from ._options import Seconds, common, data_options, image_shape_of, resolve_autoencoder, say, some_images
from ._verdict import verdict_on


def _is_trained(name: str) -> bool:
    """Whether this names a family of autoencoders, of which one is trained for each fold."""
    from ..autoencoders import autoencoders

    return name.partition("(")[0].strip() in autoencoders.names()


def _verdict(name: str, dataset: Any, device: str) -> Any:
    """The verdict on an autoencoder that is there, or why there is none yet."""
    if _is_trained(name):
        return "none yet: one is trained for each fold"
    model, name = resolve_autoencoder(name, dataset, device)
    return verdict_on(model, name, dataset, device)


@click.command()
@click.argument("data")
@data_options
@click.option(
    "--autoencoder",
    default="auto",
    help="A pretrained name, a .safetensors file, the folder of a run, auto (the pretrained one that fits the "
    "images), or such as 'vae(latent_dim=16)' to train one for each fold on its training part alone.",
)
@click.option(
    "--task",
    type=click.Choice(["accuracy", "macro_recall", "fid", "kid"]),
    default="accuracy",
    help="Of a classifier by cross-validation, or of a small GAN.",
)
@click.option("--budget", type=Seconds(), default="10m", help="Seconds, or such as 10m or 1h.")
@click.option("--folds", type=click.IntRange(2), default=3, help="Of the cross-validation.")
@click.option("--steps", type=click.IntRange(2), default=300, help="Of each training.")
@click.option("--batch-size", type=click.IntRange(1), default=64)
@click.option("--labels-per-class", type=click.IntRange(2), help="Take only so many images of each class.")
@click.option(
    "--unlabelled",
    metavar="DATA",
    help="More images of the same kind, without labels: reference samples for latents of a classifier's images.",
)
@click.option(
    "--denoiser",
    metavar="NAME",
    help="Race the policy denoise too, with this denoiser: a prior (augmentor train-prior) or diffusers:PLACE.",
)
@click.option(
    "--control",
    "controls",
    multiple=True,
    metavar="NAME",
    help="A usual augmentation to race, such as 'TrivialAugmentWide, affine' or none; the option can be repeated. The "
    "default is all of torchvision's that fit the images.",
)
@common("runs/tune", "Folder for policy.json, table.md, tune.png and the journal.")
def tune(
    data: str, reading: dict[str, Any], autoencoder: str, labels_per_class: int | None, unlabelled: str | None,
    controls: tuple[str, ...], device: str, **settings: Any,
) -> None:  # fmt: skip
    """Find the best augmentation for DATA: a usual one, or latents on top of it.

    The usual augmentations race first. Latent settings are then tried on top of the best of them; one wins only if it
    is better beyond the spread, otherwise the answer is "none" and names the best usual augmentation. The last lines
    are Python to paste. Stopped, it goes on when called again; all runs together take the budget.
    """
    from ..autoencoders.pretrained import fitting_autoencoder
    from ..data import load_source
    from ..quality import assess
    from ..tuning import tune as race
    from ..tuning.datasets import few_of_each

    dataset: Any = load_source(data, **reading)
    if labels_per_class is not None:
        dataset = few_of_each(dataset, labels_per_class, settings["seed"])
    shape = image_shape_of(dataset)
    chosen = fitting_autoencoder(some_images(dataset)) if autoencoder == "auto" else autoencoder
    more = None if unlabelled is None else load_source(unlabelled, **reading)
    say(data=f"{data}: {len(dataset)} images {shape}", autoencoder=chosen, verdict=_verdict(chosen, dataset, device),
        unlabelled="none" if more is None else f"{unlabelled}: {len(more)} images", device=device,
        controls="; ".join(controls) or "all", **settings)  # fmt: skip
    try:
        result = race(dataset, chosen, unlabelled=more, controls=controls or None, device=device, **settings)
    except KeyboardInterrupt:
        click.echo(f"\nstopped; the same command goes on from {settings['out']}", err=True)
        raise
    click.echo(result.markdown(), nl=False)
    if result.autoencoder is not None and _is_trained(chosen):
        found = assess(result.autoencoder.to(device), dataset)
        click.echo(f"verdict on the autoencoder, on images that it was trained on, which flatters it: {found}")
    click.echo(f"\n{result.code}\n")
    click.echo(f"wrote {', '.join(map(str, result.paths.values()))}")
