"""``augmentor demo``"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from ._options import common, say, scores_text

AUTOENCODER = "vae(latent_dim=16, beta=0.25)"
POLICY = "gaussian(std=0.5)"
NETWORK = "dcgan(latent_dim=32)"

_History = list[dict[str, Any]]


@click.command()
@click.option("--epochs", type=click.IntRange(1), default=40, help="Of the autoencoder.")
@click.option("--gan-steps", type=click.IntRange(1), default=2000, help="Of each of the two GANs.")
@common("augmentor-demo", "Folder for everything; open OUT/report.html in a browser.")
def demo(epochs: int, gan_steps: int, seed: int, device: str, out: str) -> None:
    """The whole product on the 1,797 digits that come with scikit-learn: no download, two or three minutes.

    Trains a VAE, draws what each policy does, writes shards, trains one GAN on the real images and one on real and
    synthetic images, measures both, and writes OUT/report.html and OUT/metrics.json. Stopped, it goes on when called
    again.
    """
    from .._internal.files import write_bytes, write_json
    from .._internal.run import Run
    from .._internal.version import __version__
    from ..data import load_source

    folder, started = Path(out), time.monotonic()
    settings = {"what": "demo", "epochs": epochs, "gan_steps": gan_steps, "seed": seed, "version": __version__}
    Run(folder, settings)
    names, how = {"autoencoder": AUTOENCODER, "policy": POLICY, "network": NETWORK}, {"seed": seed, "device": device}
    say(data="digits", **names, epochs=epochs, gan_steps=gan_steps, **how, out=out)
    digits = load_source("digits")
    model, losses = _train_autoencoder(digits, folder / "autoencoder", epochs=epochs, **how)
    preview = _draw_policies(digits, model, folder / "preview.png", seed)
    synthetic = _write_shards(digits, model, folder / "shards", seed)
    gans = _train_gans(digits, synthetic, model, folder, gan_steps, **how)
    metrics = {
        "settings": {**settings, **names, "device": device},
        **_measure(digits, synthetic, gans, model, losses, **how),
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(folder / "metrics.json", metrics)
    write_bytes(folder / "report.html", _page(folder, metrics, preview, losses, gans).encode())
    for name, row in metrics["gan"].items():
        click.echo(f"GAN on {name:<6} {scores_text(row)}")
    click.echo(f"wrote {folder}/report.html in {metrics['seconds']} s")


def _train_autoencoder(digits: Any, out: Path, **settings: Any) -> tuple[Any, _History]:
    """The autoencoder and its losses."""
    from .._internal.random import seeded
    from ..autoencoders import autoencoders
    from ..autoencoders.trainer import AutoencoderTrainer

    click.echo("1/5  training a variational autoencoder")
    with seeded(settings["seed"], "init"):
        model = autoencoders.build(AUTOENCODER, image_shape=(1, 8, 8))
    trainer = AutoencoderTrainer(model, out=out, **settings)
    return trainer.fit(digits), trainer.history


def _draw_policies(digits: Any, model: Any, out: Path, seed: int) -> bytes:
    """A picture of every policy, written and returned."""
    from .._internal.files import write_bytes
    from ..views.preview import preview_png

    click.echo("2/5  drawing what each policy makes of it")
    picture = preview_png(digits, model, seed=seed)
    write_bytes(out, picture)
    return picture


def _write_shards(digits: Any, model: Any, out: Path, seed: int) -> Any:
    """As many synthetic samples as there are digits."""
    from ..shards import ShardDataset, generate_shards
    from ..transform import LatentAugment

    click.echo("3/5  writing augmented shards")
    augment = LatentAugment(model, POLICY, p=1.0)
    generate_shards(digits, augment, out, num_samples=len(digits), seed=seed, class_names=digits.classes)
    return ShardDataset(out)


def _train_gans(
    digits: Any, synthetic: Any, model: Any, folder: Path, steps: int, **how: Any
) -> dict[str, tuple[_History, Any]]:
    """Of each GAN its history, and as many samples as there are digits."""
    from ..gan import get_method
    from ..gan.trainer import GANTrainer
    from ..quality import AutoencoderFeatures

    click.echo("4/5  training a GAN on real images, and one on real and synthetic images")
    gans = {}
    for name, data in {"real": digits, "mixed": digits + synthetic}.items():
        method = get_method("gan", network=NETWORK, image_shape=(1, 8, 8), num_classes=10, lr=5e-4, seed=how["seed"])
        trainer = GANTrainer(method, steps=steps, round_steps=max(1, steps // 3), out=folder / f"gan-{name}",
                             features=AutoencoderFeatures(model), **how)  # fmt: skip
        averaged = trainer.fit(data, reference=digits)
        gans[name] = trainer.history, trainer.sample(averaged, len(digits), "evaluation")
    return gans


def _measure(
    digits: Any, synthetic: Any, gans: dict[str, tuple[_History, Any]], model: Any, losses: _History, **how: Any
) -> dict[str, Any]:
    """Figures of the autoencoder, of its decoded samples, and of the samples of each GAN."""
    from ..quality import AutoencoderFeatures, evaluate, reconstruction_psnr

    click.echo("5/5  measuring")
    features = AutoencoderFeatures(model)
    val_loss = min(row["val_loss"] for row in losses)
    return {
        "autoencoder": {"val_loss": val_loss, "psnr_db": reconstruction_psnr(model, digits)},
        "decoded": evaluate(synthetic, digits, features, **how),
        "gan": {name: evaluate(samples, digits, features, **how) for name, (_, samples) in gans.items()},
    }


def _page(
    folder: Path, metrics: dict[str, Any], preview: bytes, losses: _History, gans: dict[str, tuple[_History, Any]]
) -> str:
    """report.html."""
    from ..views.curves import curves_png
    from ..views.pages import page

    curves = {
        "training": [(row["epoch"], row["reconstruction"] + row["kl"]) for row in losses],
        "validation": [(row["epoch"], row["val_loss"]) for row in losses],
    }
    distances = {name: [(row["step"], row["fid"]) for row in history] for name, (history, _) in gans.items()}
    return page(
        "demo.html",
        title="augmentor demo: digits",
        **metrics,
        preview=preview,
        reconstructions=(folder / "autoencoder/reconstructions.png").read_bytes(),
        losses=curves_png(curves, "epoch", "nats a pixel"),
        samples={name: max((folder / f"gan-{name}/samples").glob("step-*.png")).read_bytes() for name in gans},
        distances=curves_png(distances, "step", "FID"),
    )
