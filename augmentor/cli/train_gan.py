"""``augmentor train-gan DATA``"""

from __future__ import annotations

import functools
import inspect
import os
from typing import TYPE_CHECKING, Any

import click

from ._options import (
    autoencoder_option,
    command_line,
    common,
    data_options,
    image_shape_of,
    policy_option,
    residual_option,
    resolve_autoencoder,
)
from ._output import finish, say, scores_text, tell
from ._verdict import anyway_option, stop_if_poor, verdict_on

if TYPE_CHECKING:
    from ..gan import GANTrainer

# Options of the training method; the others are those of the trainer.
_OF_METHOD = ("network", "loss", "lr", "r1_gamma", "discriminator_steps")


@click.command("train-gan")
@click.argument("data")
@data_options
@click.option("--method", default="ae-init", help="Training method, such as gan; augmentor info lists them.")
@click.option(
    "--network",
    help="Generator and discriminator, for training methods that do not build them from an autoencoder: conv, dcgan or "
    "resnet, with arguments as in 'resnet(width=48)'. Default: conv.",
)
@click.option("--loss", default="nonsaturating", help="Adversarial loss: nonsaturating, hinge, lsgan or wgan_gp.")
@click.option(
    "--conditional/--unconditional", default=None,
    help="Whether the networks are conditional on the class. Default: conditional if there are several classes.",
)  # fmt: skip
@click.option(
    "--augment",
    default="none",
    help="Augmentation of the discriminator's images: none, real (decoded samples are added to the real images), both "
    "(latent augmentation of real and generated images), diffaugment, ada, or several such as both+diffaugment.",
)
@autoencoder_option("With a training method that starts from an autoencoder, auto trains one on DATA first.")
@policy_option
@residual_option
@click.option(
    "--p",
    help="Probability of augmenting an image: a number from 0 to 1, adaptive or annealed. Default: 0.5 with --augment "
    "both, adaptive with --augment ada.",
)
@click.option(
    "--ratio",
    type=click.FloatRange(0),
    help="Number of decoded samples per real image, with --augment real. Default: 1.",
)
@click.option("--steps", type=click.IntRange(1), default=5000, help="Number of generator steps.")
@click.option("--epochs", type=click.IntRange(1), help="Number of epochs, in place of --steps.")
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=64,
    help="Number of real images per step, in all processes together.",
)
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=5e-4, help="Learning rate of both networks.")
@click.option(
    "--r1-gamma", type=click.FloatRange(0), help="Weight of the R1 penalty. Default: 0 for wgan_gp, 1 for other losses."
)
@click.option(
    "--discriminator-steps", type=click.IntRange(1), default=1, help="Number of discriminator steps per generator step."
)
@click.option(
    "--round-steps",
    type=click.IntRange(1),
    default=500,
    help="Number of steps per round. Each round ends with a measurement and a grid of samples.",
)
@click.option(
    "--best-by",
    type=click.Choice(["fid", "kid"]),
    default="fid",
    help="Score that selects the best round, whose generator is kept.",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    help="Number of rounds without a better score after which training ends. Default: all --steps are taken.",
)
@click.option(
    "--stop-on",
    multiple=True,
    type=click.Choice(["collapse", "saturation", "divergence"]),
    help="Problem that ends the run; can be repeated. Default: problems are only reported.",
)
@click.option("--devices", type=click.IntRange(1), default=1, help="Number of processes on this machine, one per GPU.")
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", help="Number format of forward passes."
)
@anyway_option
@common("runs/gan", "Folder for the generator, sample grids, history and checkpoint.")
def train_gan(
    data: str, reading: dict[str, Any], method: str, conditional: bool | None, autoencoder: str,
    policy: str, residual: float | str, p: str | None, ratio: float | None, epochs: int | None, augment: str,
    anyway: bool, device: str, out: str, seed: int, **settings: Any,
) -> None:  # fmt: skip
    """Train a GAN on DATA; write the best snapshot to OUT/generator.safetensors, and sample grids to OUT/samples.

    The default training method, ae-init, and some others need an autoencoder; with --autoencoder auto, the autoencoder
    is first trained on DATA, in OUT-autoencoder. Augmentation in latent space uses the same autoencoder; with other
    training methods, auto is the pretrained one that fits the images. FID is measured on the features of a classifier
    that is independent of the autoencoder (see augmentor evaluate). The same command resumes a stopped run.
    """
    from .._internal.registry import describe
    from ..data import load_source
    from ..exceptions import InputError
    from ..gan import method_class, needs_autoencoder
    from ..gan.start import untrained
    from ..policies import get_policy
    from ..quality import independent_features, named_scores

    parts = {name: settings.pop(name) for name in _OF_METHOD}
    in_latents, starts = needs_autoencoder(augment), method_class(method).needs_autoencoder
    arguments = inspect.signature(method_class(method)).parameters
    latent = {"policy": policy, "residual": residual}
    if not in_latents:
        unused = latent if "autoencoder" in arguments else latent | {"autoencoder": autoencoder}
        for name in (name for name, value in unused.items() if value != "auto"):
            raise InputError(
                f"got --{name} {unused[name]}, which --method {method} with --augment {augment} does not use; omit "
                f"--{name}, or use --augment both or --augment real"
            )
    if parts["network"] and "network" not in arguments:
        raise InputError(
            f"got --network {parts['network']}, and --method {method} uses the networks of its autoencoder; "
            "omit --network"
        )
    dataset = load_source(data, **reading)
    if conditional and len(dataset.classes) < 2:
        raise InputError(f"got --conditional, and {data} has no labels or one class; omit --conditional")
    conditional = len(dataset.classes) > 1 if conditional is None else conditional
    if policy != "auto":
        latent["policy"] = str(get_policy(policy, dataset.classes))
    shape = image_shape_of(dataset)
    features = independent_features(shape) if shape[0] in (1, 3) else None
    if epochs is not None:
        images_per_step = min(settings["batch_size"], len(dataset)) * parts["discriminator_steps"]
        settings["steps"] = max(1, round(epochs * len(dataset) / images_per_step))
    build = functools.partial(
        _trainer, method, augment, latent=latent, p=p, ratio=ratio, seed=seed,
        of_method={**parts, "image_shape": shape, "num_classes": len(dataset.classes) if conditional else 0},
        of_trainer={**settings, "features": features, "out": out, "device": device},
    )  # fmt: skip

    model: Any = None
    looked_at: dict[str, Any] = {}
    given = autoencoder != "auto"
    if starts and autoencoder == "auto":
        _refuse_several_processes(settings["devices"])
        fresh = untrained(dataset)
        build(fresh, start=fresh)[0].check(dataset)  # raises on bad arguments and data before anything is trained
        autoencoder = _trained_first(dataset, out, device, seed)
        anyway = anyway or not in_latents  # it is trained further, so its reconstructions are not used
    if starts or in_latents or given:
        model, looked_at = _looked_at(autoencoder, dataset, anyway=anyway or not (starts or in_latents))
    trainer, how = build(model, start=model if starts or given else None)
    shown = {name: value for name, value in (parts | settings).items() if value is not None}
    say(data=f"{data}: {len(dataset)} images {shape}", method=method, conditional=conditional, augment=augment, **how,
        **looked_at, generator=describe(trainer.method.generator, brief=True),
        features=None if features is None else features.name, device=device, out=out, seed=seed, **shown)  # fmt: skip
    trainer.fit(dataset)
    best = trainer.best
    scores = best if features is None else named_scores(best, features.name)
    tell(f"best: {scores_text(scores)}")
    finish(
        f"{out}/generator.safetensors and sample grids in {out}/samples",
        command_line("evaluate", out, data, reading=reading), best=scores,
    )  # fmt: skip


def _trainer(
    method: str, augment: str, model: Any, *, start: Any, latent: dict[str, Any], p: str | None, ratio: float | None,
    seed: int, of_method: dict[str, Any], of_trainer: dict[str, Any],
) -> tuple[GANTrainer, dict[str, Any]]:  # fmt: skip
    """Return the trainer for the arguments, and the settings of the augmentation.

    model: the autoencoder of the augmentation, or None. start: that of the training method, or None.
    """
    from ..gan import GANTrainer, get_augmentation, get_method, needs_autoencoder
    from ..transform import LatentAugment

    latent_augment = LatentAugment(model, **latent) if needs_autoencoder(augment) and model is not None else None
    made = get_augmentation(augment, latent_augment, p=p, ratio=ratio)
    how: dict[str, Any] = {} if made.p is None else {"p": made.p}
    if latent_augment is not None:
        how |= {"policy": latent_augment.policy, "residual": latent_augment.residual}
    augmentation = None if augment == "none" else made
    trained = get_method(method, autoencoder=start, augmentation=augmentation, seed=seed, **of_method)
    return GANTrainer(trained, seed=seed, **of_trainer), how


def _refuse_several_processes(devices: int) -> None:
    """Raise `InputError` if there are several processes, because the autoencoder is trained in one."""
    from ..exceptions import InputError

    if devices > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            "got several processes and --autoencoder auto, which is trained in one process; first run augmentor "
            "train-autoencoder, then give its folder with --autoencoder"
        )


def _trained_first(dataset: Any, out: str, device: str, seed: int) -> str:
    """Train the autoencoder that the training method starts from; return the folder of that run."""
    from .._internal.files import claim_folder
    from ..gan import starting_autoencoder

    out = str(claim_folder(out, "run.json"))  # raises before training if the folder cannot be used
    folder = f"{out}-autoencoder"
    starting_autoencoder(dataset, out=folder, seed=seed, device=device)
    return folder


def _looked_at(name: str, dataset: Any, *, anyway: bool) -> tuple[Any, dict[str, Any]]:
    """Return the autoencoder, and its name and verdict for `say`. Raise `InputError` for a poor one unless `anyway`."""
    model, name = resolve_autoencoder(name, dataset)
    verdict = verdict_on(model, name, dataset)
    stop_if_poor(verdict, name, anyway=anyway)
    return model, {"autoencoder": f"{name} ({model.name})", "verdict": verdict}
