"""``augmentor tune``"""

from __future__ import annotations

from typing import Any

import click

from ._options import (
    Seconds,
    autoencoder_option,
    common,
    data_options,
    image_shape_of,
    resolve_autoencoder,
)
from ._output import finish, say, tell
from ._verdict import verdict_on


def _is_trained(name: str) -> bool:
    """Return whether this names an architecture, which is trained for each fold."""
    from ..autoencoders import autoencoders

    return name.partition("(")[0].strip() in autoencoders.names()


def _verdict(name: str, dataset: Any, device: str) -> Any:
    """Return the verdict on a trained autoencoder, or a text if it is trained later."""
    if _is_trained(name):
        return "not known yet: one is trained for each fold"
    model, name = resolve_autoencoder(name, dataset, device)
    return verdict_on(model, name, dataset, device)


@click.command()
@click.argument("data")
@data_options
@autoencoder_option("An architecture such as 'vae(latent_dim=16)' is trained for each fold on its training part only.")
@click.option(
    "--task",
    type=click.Choice(["accuracy", "macro_recall", "fid", "kid"]),
    default="accuracy",
    help="Score to improve: accuracy or mean recall of a classifier, by cross-validation; FID or KID of a small GAN.",
)
@click.option(
    "--budget",
    type=Seconds(),
    default="10m",
    help="Time limit of all runs with this --out together, such as 600 (seconds), 90s, 10m or 1h.",
)
@click.option("--folds", type=click.IntRange(2), default=3, help="Number of folds of the cross-validation.")
@click.option("--steps", type=click.IntRange(2), default=300, help="Number of steps of each training.")
@click.option("--batch-size", type=click.IntRange(1), default=64, help="Number of images per step.")
@click.option("--labels-per-class", type=click.IntRange(2), help="Number of images per class to use. Default: all.")
@click.option(
    "--unlabelled",
    metavar="DATA",
    help="Images of the same kind without labels, used as reference samples and for pseudo-labels. Default: none.",
)
@click.option(
    "--denoiser",
    metavar="NAME",
    help="Denoiser with which the policy denoise is also tried: a prior (augmentor train-prior) or diffusers:PLACE. "
    "Default: none.",
)
@click.option(
    "--control",
    "controls",
    multiple=True,
    metavar="NAME",
    help="Standard augmentation to try, such as 'TrivialAugmentWide, affine', or none; can be repeated. Default: all "
    "those of torchvision that fit the images.",
)
@common("runs/tune", "Folder for policy.json, table.md, tune.png and the journal.")
def tune(
    data: str, reading: dict[str, Any], autoencoder: str, labels_per_class: int | None, unlabelled: str | None,
    controls: tuple[str, ...], device: str, **settings: Any,
) -> None:  # fmt: skip
    """Find the best augmentation for DATA: a standard one, alone or after latent augmentation.

    Standard augmentations are compared first. Then latent augmentation, followed by the best of them, is tested. It is
    recommended only if it is better than every control (p < 0.05); otherwise the answer is "none", with the best
    standard augmentation. The output ends with Python code for the recommended augmentation. The same command resumes
    a stopped run; --budget counts all runs together.
    """
    from .._internal.datasets import some_images
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
        click.echo(f"\nstopped; the same command resumes from {settings['out']}", err=True)
        raise
    tell(result.markdown().rstrip("\n"))
    if result.autoencoder is not None and _is_trained(chosen):
        found = assess(result.autoencoder.to(device), dataset)
        tell(f"verdict on the autoencoder, too optimistic because it was trained on these images: {found}")
    tell(f"\n{result.code}\n")
    finish(
        ", ".join(map(str, result.paths.values())), "paste the Python above into your training script",
        answer=result.answer, sentence=result.sentence, code=result.code,
    )  # fmt: skip
