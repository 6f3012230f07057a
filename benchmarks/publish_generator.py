"""Add a trained generator to the pretrained models: ``publish_generator.py NAME RUN DATA``.

Copies the generator of the run, draws samples, compares them with the test images of DATA, and writes the cards. What
cannot be measured (data, licence, command) stands in RECIPES.
"""

from __future__ import annotations

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
from augmentor.gan import Generator, load_generator
from augmentor.gan.evaluation import sample
from augmentor.quality import evaluate, independent_features, named_scores

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"
RECIPES = {
    "mnist-gan": {
        "summary": "28x28 grey digits of ten classes",
        "data": "The 60,000 training digits of MNIST (LeCun, Cortes and Burges)",
        "licence": "CC BY-SA 3.0 (data), Apache-2.0 (weights)",
        "command": "augmentor train-gan mnist:ROOT --autoencoder mnist --steps 4500 --out runs/mnist-gan",
        "measured_on": "the 10,000 test digits",
    },
}
SAMPLES = 10_000  # that are compared with as many test images
ROWS = 10


def main(name: str, run: str, test_data: str) -> None:
    folder = PRETRAINED / name
    folder.mkdir(exist_ok=True)
    shutil.copyfile(Path(run) / "generator.safetensors", folder / "generator.safetensors")
    generator = load_generator(folder / "generator.safetensors")
    drawn = sample(generator, 10 * ROWS, 0, torch.device("cpu"), "samples")
    write_bytes(folder / "samples.png", png(grid(drawn.split(10))))
    write_bytes(folder / "progress.png", progress(Path(run) / "samples"))
    entry = {
        **RECIPES[name],
        "generator": describe(generator),
        "image_shape": list(generator.image_shape),
        "num_classes": generator.num_classes,
        "scores": scores(generator, test_data),
        "bytes": (folder / "generator.safetensors").stat().st_size,
        "sha256": sha256_file(folder / "generator.safetensors"),
    }
    write_json(folder / "card.json", entry)
    write_bytes(folder / "card.md", card(name, entry).encode())


def progress(samples: Path) -> bytes:
    """A PNG picture: the first row of the sample grids of a run (6 rows of 10), at four of its steps."""
    pictures = [np.asarray(Image.open(path)) for path in sorted(samples.glob("*.png"))]
    chosen = [pictures[at] for at in sorted({0, 1, len(pictures) // 2, len(pictures) - 1})]
    rows = [picture[: (len(picture) - 2) // 6] for picture in chosen]
    return png(torch.from_numpy(np.concatenate(rows)).permute(2, 0, 1))


def scores(generator: Generator, test_data: str) -> dict[str, float]:
    """Against test images, on features that no autoencoder has a part in; and of two halves of the test images."""
    test, extractor = load_source(test_data, split="test"), independent_features(generator.image_shape)
    made = sample(generator, min(SAMPLES, len(test)), 0, torch.device("cpu"), "measured")
    found = evaluate(made, test.images, extractor)
    floor: Any = named_scores(found.pop("floor"), extractor.name)
    distance = f"fd-{extractor.name}"
    measured = named_scores(found, extractor.name)
    rounded = {key: round(measured[key], 3) for key in (distance, "precision", "recall")}
    return {**rounded, f"{distance} of real images": round(floor[distance], 3)}


def card(name: str, entry: dict[str, Any]) -> str:
    figures = ", ".join(f"{key} {value}" for key, value in entry["scores"].items())
    return f"""# {name}: {entry["summary"]}

| | |
|---|---|
| network | `{entry["generator"]}` |
| data | {entry["data"]} |
| licence | {entry["licence"]} |
| trained by | `{entry["command"]}` |
| scores | {figures}; on {entry["measured_on"]} |
| size | {entry["bytes"]} bytes, sha256 `{entry["sha256"]}` |

`augmentor.gan.load_generator("{name}")` loads it.

![Samples, a column per class](samples.png)

The same samples during training, from top to bottom:

![Samples over training](progress.png)
"""


if __name__ == "__main__":
    main(*sys.argv[1:])
