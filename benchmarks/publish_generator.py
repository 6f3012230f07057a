"""Add a generator or a prior to the pretrained models: ``publish_generator.py NAME RUN DATA``.

Copies the weights of the run, draws samples, compares them with the images of DATA (its test images, if it has some),
and writes the cards. Data, licence and command are in RECIPES.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from augmentor._internal.files import sha256_file, write_bytes, write_json
from augmentor._internal.pictures import grid, png
from augmentor._internal.registry import describe
from augmentor.data import load_source
from augmentor.denoisers import load_prior
from augmentor.denoisers.prior import PRETRAINED_PRIORS
from augmentor.gan import Generator, load_generator
from augmentor.gan.evaluation import sample
from augmentor.gan.pretrained import PRETRAINED_GENERATORS
from augmentor.quality import evaluate, independent_features, named_scores

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"
RECIPES = {
    "mnist-gan": {
        "models": PRETRAINED_GENERATORS,
        "summary": "28x28 grey digits of ten classes",
        "data": "The 60,000 training digits of MNIST (LeCun, Cortes and Burges)",
        "licence": "CC BY-SA 3.0 (data), Apache-2.0 (weights)",
        "command": "augmentor train-gan mnist:ROOT --autoencoder mnist --steps 4500 --out runs/mnist-gan",
        "measured_on": "the 10,000 test digits",
    },
    "clothing-gan": {
        "models": PRETRAINED_GENERATORS,
        "summary": "64x64 photographs of clothes of ten classes",
        "data": "3,068 photographs of clothes, cropped to 64x64 (A. Grigorev, clothing-dataset-small)",
        "licence": "CC0 (data), Apache-2.0 (weights)",
        "command": "augmentor train-gan clothing64/train --size 64 --steps 4000 --out runs/clothing-gan",
        "measured_on": "the same photographs",
    },
    "mnist-prior": {
        "models": PRETRAINED_PRIORS,
        "summary": "a latent flow on the latents of `mnist`, without classes",
        "data": "The 60,000 training digits of MNIST (LeCun, Cortes and Burges), without their labels",
        "licence": "CC BY-SA 3.0 (data), Apache-2.0 (weights)",
        "command": "augmentor train-prior mnist:ROOT --autoencoder mnist --unconditional --out runs/mnist-prior",
        "measured_on": "the 10,000 test digits; reconstructions by the autoencoder have a distance of about 68",
    },
    "digits-prior": {
        "models": PRETRAINED_PRIORS,
        "summary": "a latent flow on the latents of `digits`",
        "data": "The 1,797 digits of scikit-learn (Alpaydin and Kaynak)",
        "licence": "CC BY 4.0 (data), Apache-2.0 (weights)",
        "command": "augmentor train-prior digits --autoencoder digits --out runs/digits-prior",
        "measured_on": "the same digits, of which 10 % were held out",
    },
}
SAMPLES = 10_000  # at most; as many as test images
ROWS = 10


def main(name: str, run: str, test_data: str) -> None:
    folder, recipe = PRETRAINED / name, dict(RECIPES[name])
    folder.mkdir(exist_ok=True)
    models = recipe.pop("models")
    weights = folder / models.file
    shutil.copyfile(Path(run) / models.file, weights)
    generator = load_generator(run)
    drawn = sample(generator, 10 * ROWS, 0, torch.device("cpu"), "samples")
    write_bytes(folder / "samples.png", png(grid(drawn.split(10))))
    write_bytes(folder / "progress.png", progress(Path(run) / "samples"))
    network: Any = generator if models is PRETRAINED_GENERATORS else load_prior(run)
    entry = {
        **recipe,
        "network": describe(network),
        "num_classes": generator.num_classes,
        "scores": {**scores(generator, test_data), **held_out(run)},
        "bytes": weights.stat().st_size,
        "sha256": sha256_file(weights),
    }
    write_json(folder / "card.json", entry)
    loaded = {
        PRETRAINED_GENERATORS: "augmentor.gan.load_generator",
        PRETRAINED_PRIORS: "augmentor.denoisers.load_prior",
    }[models]
    write_bytes(folder / "card.md", card(name, entry, loaded).encode())


def progress(samples: Path) -> bytes:
    """Return a PNG with the first row of the sample grids of a run (6 rows of 10), at up to four of its steps."""
    pictures = [np.asarray(Image.open(path)) for path in sorted(samples.glob("*.png"))]
    chosen = [pictures[at] for at in sorted({0, 1, len(pictures) // 2, len(pictures) - 1})]
    rows = [picture[: (len(picture) - 2) // 6] for picture in chosen]
    return png(torch.from_numpy(np.concatenate(rows)).permute(2, 0, 1))


def scores(generator: Generator, test_data: str) -> dict[str, float]:
    """Compare samples, and one half of the test images, with test images on features independent of autoencoders."""
    split = "test" if ":" in test_data else "train"
    test, extractor = load_source(test_data, split=split), independent_features(generator.image_shape)
    made = sample(generator, min(SAMPLES, len(test)), 0, torch.device("cpu"), "measured")
    found = evaluate(made, test.images, extractor)
    floor: Any = named_scores(found.pop("floor"), extractor.name)
    distance = f"fd-{extractor.name}"
    measured = named_scores(found, extractor.name)
    rounded = {key: round(measured[key], 3) for key in (distance, "precision", "recall")}
    return {**rounded, f"{distance} of real images": round(floor[distance], 3)}


def held_out(run: str) -> dict[str, float]:
    """Return the held-out scores of a flow in the round whose weights were kept."""
    rows = [json.loads(line) for line in (Path(run) / "history.jsonl").read_text().splitlines()]
    if "held_out_loss" not in rows[0]:
        return {}
    best = min(rows, key=lambda row: row["held_out_loss"])
    return {name: round(best[name], 3) for name in ("held_out_loss", "nearest")}


def card(name: str, entry: dict[str, Any], loaded_by: str) -> str:
    figures = ", ".join(f"{key} {value}" for key, value in entry["scores"].items())
    return f"""# {name}: {entry["summary"]}

| | |
|---|---|
| network | `{entry["network"]}` |
| data | {entry["data"]} |
| licence | {entry["licence"]} |
| trained by | `{entry["command"]}` |
| scores | {figures}; on {entry["measured_on"]} |
| size | {entry["bytes"]} bytes, sha256 `{entry["sha256"]}` |

Load it with `{loaded_by}("{name}")`.

![Samples{", one column per class" if entry["num_classes"] else ""}](samples.png)

The same samples during training, from top to bottom:

![Samples over training](progress.png)
"""


if __name__ == "__main__":
    main(*sys.argv[1:])
