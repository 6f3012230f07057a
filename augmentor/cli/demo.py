"""``augmentor demo``"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from ._options import common, resolve_device, say, scores_text

AUTOENCODER = "vae(latent_dim=16, beta=0.25)"
POLICY = "gaussian(std=0.5)"
NETWORK = "dcgan(latent_dim=32)"


@click.command()
@click.option("--epochs", type=click.IntRange(1), default=40, show_default=True, help="Of the autoencoder.")
@click.option("--gan-steps", type=click.IntRange(1), default=2000, show_default=True, help="Of each of the two GANs.")
@common("augmentor-demo", "Folder for everything; open OUT/report.html in a browser.")
def demo(epochs: int, gan_steps: int, seed: int, device: str, out: str) -> None:
    """The whole product on the 1,797 digits that come with scikit-learn: no download, two or three minutes.

    Trains a VAE, draws what each policy does, writes shards, trains one GAN on the real images and one on real and
    synthetic images, measures both, and writes OUT/report.html and OUT/metrics.json. Stopped, it goes on when called
    again.
    """
    from torch.utils.data import ConcatDataset

    from .._internal.files import write_bytes, write_json
    from .._internal.random import seeded
    from .._internal.run import Run
    from .._internal.version import __version__
    from ..autoencoders import autoencoders
    from ..autoencoders.trainer import AutoencoderTrainer
    from ..data import load_source
    from ..quality import AutoencoderFeatures, evaluate, reconstruction_psnr
    from ..shards import ShardDataset, generate_shards
    from ..transform import LatentAugment
    from ..views.preview import preview_png

    device = resolve_device(device)
    folder, started = Path(out), time.monotonic()
    settings = {"what": "demo", "epochs": epochs, "gan_steps": gan_steps, "seed": seed, "version": __version__}
    Run(folder, settings)
    say(data="digits", autoencoder=AUTOENCODER, policy=POLICY, network=NETWORK, epochs=epochs, gan_steps=gan_steps,
        seed=seed, device=device, out=out)  # fmt: skip
    digits = load_source("digits")

    click.echo("1/5  training a variational autoencoder")
    with seeded(seed, "init"):
        model = autoencoders.build(AUTOENCODER, image_shape=(1, 8, 8))
    trainer = AutoencoderTrainer(model, out=folder / "autoencoder", epochs=epochs, seed=seed, device=device)
    model = trainer.fit(digits)

    click.echo("2/5  drawing what each policy makes of it")
    picture = preview_png(digits, model, seed=seed)
    write_bytes(folder / "preview.png", picture)

    click.echo("3/5  writing augmented shards")
    augment = LatentAugment(model, POLICY, p=1.0)
    shards = generate_shards(
        digits, augment, folder / "shards", num_samples=len(digits), seed=seed, class_names=digits.classes
    )
    synthetic = ShardDataset(shards)

    click.echo("4/5  training a GAN on real images, and one on real and synthetic images")
    features = AutoencoderFeatures(model)
    mixed: Any = ConcatDataset([digits, synthetic])
    runs = {
        name: _train_gan(data, features, folder / f"gan-{name}", gan_steps, seed, device)
        for name, data in (("real", digits), ("mixed", mixed))
    }

    click.echo("5/5  measuring")
    scores = {name: evaluate(images, digits, features, seed=seed, device=device) for name, (_, images) in runs.items()}
    decoded = evaluate(synthetic, digits, features, seed=seed, device=device)
    metrics = {
        "settings": {**settings, "autoencoder": AUTOENCODER, "policy": POLICY, "network": NETWORK, "device": device},
        "autoencoder": {
            "val_loss": min(row["val_loss"] for row in trainer.history),
            "psnr_db": reconstruction_psnr(model, digits),
        },
        "decoded": decoded,
        "gan": scores,
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(folder / "metrics.json", metrics)
    page = _report(folder, metrics, picture, trainer.history, {name: history for name, (history, _) in runs.items()})
    write_bytes(folder / "report.html", page.encode())
    for name, row in scores.items():
        click.echo(f"GAN on {name:<6} {scores_text(row)}")
    click.echo(f"wrote {folder}/report.html in {metrics['seconds']} s")


def _train_gan(
    data: Any, features: Any, out: Path, steps: int, seed: int, device: str
) -> tuple[list[dict[str, Any]], Any]:
    """Train one GAN; its history, and as many of its samples as there are digits."""
    from ..data import load_source
    from ..gan import get_method
    from ..gan.trainer import GANTrainer

    method = get_method("gan", network=NETWORK, image_shape=(1, 8, 8), num_classes=10, lr=5e-4, seed=seed)
    trainer = GANTrainer(
        method, steps=steps, features=features, round_steps=max(1, steps // 3), out=out, seed=seed, device=device
    )
    averaged = trainer.fit(data, reference=load_source("digits"))
    return trainer.history, trainer.sample(averaged, 1797, "evaluation")


def _report(
    folder: Path, metrics: dict[str, Any], picture: bytes, losses: list[dict[str, Any]], gans: dict[str, Any]
) -> str:
    from ..views.report import Report, curves_png

    report = Report("augmentor demo: digits")
    report.text(
        "A variational autoencoder was trained on the 1,797 digits of scikit-learn (8x8 pixels). Its latents were "
        "perturbed and decoded to synthetic digits, and a GAN was trained on the real digits alone and on real and "
        "synthetic digits together."
    )
    report.heading("What each policy makes of some digits")
    report.pictures(("Originals and reconstructions, then each policy, mild to strong", picture))
    report.heading("The autoencoder")
    report.text(
        f"Validation loss {metrics['autoencoder']['val_loss']:.4f} nats a pixel; reconstructions reach "
        f"{metrics['autoencoder']['psnr_db']:.1f} dB. Originals above, reconstructions below."
    )
    report.pictures(
        ("Held-out digits and their reconstructions", (folder / "autoencoder/reconstructions.png").read_bytes()),
        (
            "Loss while training",
            curves_png(
                {
                    "training": [(row["epoch"], row["reconstruction"] + row["kl"]) for row in losses],
                    "validation": [(row["epoch"], row["val_loss"]) for row in losses],
                },
                "epoch",
                "nats a pixel",
            ),
        ),
    )
    report.heading("The GANs")
    report.pictures(*((f"Samples after training on {name} images", _last_grid(folder, name)) for name in gans))
    report.pictures(
        ("Distance to the real digits while training",
         curves_png({n: [(r["step"], r["fid"]) for r in history] for n, history in gans.items()}, "step", "FID")),
    )  # fmt: skip
    names = ("fid", "kid", "precision", "recall")
    rows = {f"GAN trained on {name}": row for name, row in metrics["gan"].items()}
    rows["the decoded samples themselves"] = metrics["decoded"]
    rows["floor: real against real"] = metrics["gan"]["real"]["floor"]
    report.table({title: {name: row[name] for name in names} for title, row in rows.items()})
    report.text(
        "Measured on the latents of the autoencoder above, so the figures compare only with each other; the floor is "
        "half of the real digits against the other half, which is a smaller sample and so a higher FID. A GAN that is "
        "fed decoded samples learns their blur as well. To augment real and generated images alike, use --augment both."
    )
    report.heading("Settings")
    report.table({name: {"value": value} for name, value in metrics["settings"].items()})
    report.heading("What to try next")
    report.code(
        "augmentor preview digits --policy 'compose(gaussian(std=0.3), smote(k=3))'\n"
        "augmentor train-gan digits --augment both --steps 3000 --out runs/gan-both\n"
        "augmentor evaluate runs/gan-both/generator.safetensors digits\n"
        "augmentor train-autoencoder FOLDER_OF_CLASS_FOLDERS --size 32 --out runs/mine\n"
        "augmentor generate FOLDER_OF_CLASS_FOLDERS --size 32 --autoencoder runs/mine/model.safetensors"
    )
    return report.html()


def _last_grid(folder: Path, name: str) -> bytes:
    return sorted((folder / f"gan-{name}" / "samples").glob("step-*.png"))[-1].read_bytes()
