"""``augmentor demo``"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import click

from ._few_labels import LABELS, POLICY, accuracies, augment_of, conclusion, labelled
from ._options import common
from ._output import finish, say, scores_text, tell

AUTOENCODER = "vae(latent_dim=16, beta=0.25)"
BATCH_SIZE = 64
HELD_OUT = 0.45  # fraction of the digits that are used only for measurements
CLASSIFIER_STEPS = 300


@click.command()
@click.option("--steps", type=click.IntRange(1), default=300, help="Number of training steps of the autoencoder.")
@common("augmentor-demo", "Folder for all files; open OUT/report.html in a browser.")
def demo(steps: int, seed: int, device: str, out: str) -> None:
    """Run all steps on the 1,797 digits of scikit-learn: one to two minutes, without a download.

    Trains a VAE on a part of the digits, draws samples of each policy, writes shards, and compares classifiers that are
    trained on 5 labelled digits per class with and without latent augmentation, on held-out digits. The last lines say
    whether latent augmentation is worth using. Writes OUT/report.html and OUT/metrics.json. The same command resumes a
    stopped run.
    """
    from .._internal.files import write_bytes, write_json
    from .._internal.run import Run
    from .._internal.version import __version__

    folder, started = Path(out), time.monotonic()
    settings = {"what": "demo", "steps": steps, "seed": seed, "version": __version__}
    Run(folder, settings)
    names = {"autoencoder": AUTOENCODER, "policy": POLICY}
    how: dict[str, Any] = {"seed": seed, "device": device}
    say(data="digits", **names, steps=steps, **how, out=out)
    images, test = _split(seed)
    model, history = _train_autoencoder(images, folder / "autoencoder", steps=steps, **how)
    verdict = _verdict(model, test)
    preview = _draw_policies(images, model, folder / "preview.png", seed)
    shards = _shards(images, test, model, folder / "shards", **how)
    tell(f"5/5  training classifiers on {LABELS} labelled digits per class")
    found = accuracies(images, test, model, folder / "accuracies.json", steps=CLASSIFIER_STEPS, **how)
    metrics = {
        "settings": {**settings, **names, "classifier steps": CLASSIFIER_STEPS, "device": device},
        "digits": {"training": len(images), "held_out": len(test)},
        "autoencoder": verdict.figures(),
        "shards": shards,
        "accuracies": {name: _mean_and_spread(figures) for name, figures in found.items()},
        "conclusion": conclusion(found),
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(folder / "metrics.json", metrics)
    write_bytes(folder / "report.html", _page(folder, metrics, str(verdict), preview, history).encode())
    for name, row in metrics["accuracies"].items():
        tell(f"{name:<50} {row['mean']:.1f} ± {row['spread']:.1f} %")
    tell(metrics["conclusion"])
    finish(
        f"{folder}/report.html in {metrics['seconds']} s",
        "augmentor train-autoencoder FOLDER_OF_YOUR_IMAGES",
        **metrics,
    )


def _split(seed: int) -> tuple[Any, Any]:
    """Return digits for training, and held-out digits."""
    import torch

    from .._internal.random import torch_generator
    from ..data import load_source

    digits = load_source("digits")
    order = torch.randperm(len(digits), generator=torch_generator("cpu", seed, "held out"))
    count = round(HELD_OUT * len(digits))
    return digits.subset(order[count:]), digits.subset(order[:count])


def _train_autoencoder(images: Any, out: Path, **settings: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Train the autoencoder; return it and its history."""
    from .._internal.random import seeded
    from ..autoencoders import autoencoders
    from ..autoencoders.trainer import AutoencoderTrainer

    tell("1/5  training a variational autoencoder")
    with seeded(settings["seed"], "init"):
        model = autoencoders.build(AUTOENCODER, image_shape=(1, 8, 8))
    trainer = AutoencoderTrainer(model, out=out, batch_size=BATCH_SIZE, transform=None, **settings)
    return trainer.fit(images), trainer.history


def _verdict(model: Any, test: Any) -> Any:
    """Return how well the autoencoder reconstructs held-out digits."""
    from ..quality import assess

    tell("2/5  reconstructing held-out digits")
    verdict = assess(model, test)
    tell(f"     {verdict}")
    return verdict


def _draw_policies(images: Any, model: Any, out: Path, seed: int) -> bytes:
    """Write and return a picture of every policy."""
    from .._internal.files import write_bytes
    from ..views.preview import preview_png

    tell("3/5  drawing samples of each policy")
    picture = preview_png(images, model, seed=seed)
    write_bytes(out, picture)
    return picture


def _shards(images: Any, test: Any, model: Any, out: Path, *, seed: int, device: str) -> dict[str, Any]:
    """Write as many synthetic digits as were held out; return the distance between the two."""
    from ..quality import evaluate, independent_features, named_scores
    from ..shards import ShardDataset, generate_shards

    tell("4/5  writing shards and comparing them with held-out digits")
    few = labelled(images, seed, draw=0)
    generate_shards(few, augment_of(model, few, images), out, num_samples=len(test), seed=seed)
    extractor = independent_features(test.image_shape)
    scores = evaluate(ShardDataset(out), test, extractor, seed=seed, device=device)
    floor = named_scores(scores.pop("floor"), extractor.name)
    scores = {**named_scores(scores, extractor.name), "floor": floor}
    tell(f"     synthetic to real {scores_text(scores)}\n     real to real      {scores_text(floor)}")
    return scores


def _mean_and_spread(figures: list[float]) -> dict[str, Any]:
    mean, spread = statistics.fmean(figures), statistics.stdev(figures)
    return {"mean": round(mean, 2), "spread": round(spread, 2), "draws": figures}


def _page(folder: Path, metrics: dict[str, Any], verdict: str, preview: bytes, history: list[dict[str, Any]]) -> str:
    """Return the text of report.html."""
    from ..views.curves import curves_png
    from ..views.pages import page

    rising = {"held out from training": [(row["step"], row["psnr_db"]) for row in history]}
    return page(
        "demo.html",
        title="augmentor demo: digits",
        **metrics,
        verdict=verdict,
        labels=LABELS,
        preview=preview,
        reconstructions=(folder / "autoencoder/reconstructions.png").read_bytes(),
        psnr=curves_png(rising, "step", "PSNR in dB"),
    )
