"""Add an autoencoder to the pretrained models: ``publish_weights.py NAME WEIGHTS DATA [SPLIT [LABELLED]]``.

Copies the weights, measures reconstructions, and writes the card and the entry in index.json. Data, licence and command
are in RECIPES. DATA are images that the weights were not trained on; for `natural` those of
benchmarks/natural_images.py. LABELLED are such images with labels, for the verdict, if DATA has no labels; for
`natural` CIFAR-10's test images.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from augmentor import LatentAugment
from augmentor._internal.datasets import fetch
from augmentor._internal.files import sha256_file, write_bytes, write_json
from augmentor._internal.pictures import grid, png
from augmentor._internal.registry import describe
from augmentor._internal.weights import load_network
from augmentor.autoencoders import Autoencoder, autoencoders
from augmentor.data import load_source
from augmentor.quality import (
    AutoencoderFeatures,
    SmallNetFeatures,
    Verdict,
    assess,
    evaluate,
    reconstruction_psnr,
)

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"
RECIPES = {
    "digits": {
        "summary": "VAE of 8x8 grey digits",
        "data": "The 1,797 digits of scikit-learn's load_digits (test part of UCI's Optical Recognition of Digits)",
        "licence": "CC BY 4.0 (data), Apache-2.0 (weights)",
        "command": "augmentor train-autoencoder digits --autoencoder 'vae(latent_dim=16, width=32, beta=0.25)' "
        "--batch-size 128 --steps 1300 --no-geometric --out runs/digits",
        "schedule": "cosine",
        "measured_on": "all 1,797 digits; 90 % of them were used for training, and 10 % to choose the weights",
    },
    "mnist": {
        "summary": "VAE of 28x28 grey digits",
        "data": "The 60,000 training digits of MNIST (LeCun, Cortes and Burges)",
        "licence": "CC BY-SA 3.0 (data), Apache-2.0 (weights)",
        "command": "augmentor train-autoencoder mnist:ROOT --autoencoder 'vae(latent_dim=16, width=16, beta=0.5)' "
        "--geometric --batch-size 128 --steps 3376 --lr 0.003 --out runs/mnist",
        "schedule": "cosine",
        "measured_on": "the 10,000 test digits",
    },
    "natural": {
        "summary": "spatial VAE of photographs of any size, RGB or grey, stride 4",
        "data": "32x32 pieces of CIFAR-10 (15,000 training images), of nine tenths of clothing64 (A. Grigorev, "
        "clothing-dataset-small) and of ten photographs of scikit-image: astronaut, brick, clock, coffee, coins, "
        "grass, gravel, hubble_deep_field, moon, rocket; `python benchmarks/natural_images.py ROOT data` makes them",
        "licence": "CIFAR-10 and moon (part of scikit-image) state none; 'can be freely used for any purpose' "
        "(clothing); CC0 (brick, coffee, grass, gravel); public domain (astronaut, clock, hubble_deep_field, "
        "rocket); no known restrictions (coins); Apache-2.0 (weights)",
        "command": 'augmentor train-autoencoder data/natural.npz --autoencoder "spatial_kl(latent_channels=12, '
        "width=24, beta=0.1, likelihood='edges', norm='none')\" --steps 7494 --batch-size 16 --lr 0.002 "
        "--val-fraction 0.02 --precision bf16 --out runs/natural",
        "schedule": "cosine",
        "measured_on": "1,991 pieces, 32x32, of images that it was not trained on: CIFAR-10's test images, a tenth of "
        "clothing64, and chelsea, camera (scikit-image), china and flower (scikit-learn)",
        "features": "cifar10",
    },
    "cifar10": {
        "summary": "VAE of 32x32 RGB images of ten classes",
        "data": "15,000 training images of CIFAR-10 (Krizhevsky), 1,500 per class",
        "licence": "CIFAR-10 states none; Apache-2.0 (weights)",
        "command": 'augmentor train-autoencoder ROOT/cifar10/train --size 32 --autoencoder "vae(latent_dim=128, '
        "width=24, beta=0.3, likelihood='gaussian')\" --batch-size 128 --steps 1680 --lr 0.003 --precision bf16 "
        "--out runs/cifar10",
        "schedule": "cosine",
        "measured_on": "the 10,000 test images",
        "features": "natural",
    },
}
SAMPLES = 1000  # number of images for the FID


def main(name: str, weights: str, test_data: str, split: str = "train", labelled: str | None = None) -> None:
    model = load_network(weights, "autoencoder", autoencoders.members)
    test = load_source(test_data, split=split)
    folder = PRETRAINED / name
    folder.mkdir(exist_ok=True)
    shutil.copyfile(weights, folder / "model.safetensors")
    some = torch.linspace(0, len(test) - 1, min(len(test), SAMPLES)).round().long().tolist()
    images, _ = fetch(test, some[:: max(1, len(some) // 12)][:12])
    samples = LatentAugment(model, seed=0).synthesize(images)
    write_bytes(folder / "reconstructions.png", png(grid([images, model(images).detach(), samples])))
    entry = {
        **RECIPES[name],
        **reconstruction_fid(name, model, fetch(test, some)[0]),
        "autoencoder": describe(model),
        "image_shape": list(model.image_shape),
        "psnr_db": round(reconstruction_psnr(model, test), 2),
        "verdict": rounded(assess(model, load_source(labelled or test_data, split=split), features=SmallNetFeatures())),
        "bytes": (folder / "model.safetensors").stat().st_size,
        "sha256": sha256_file(folder / "model.safetensors"),
    }
    index = PRETRAINED / "index.json"
    write_json(index, dict(sorted({**json.loads(index.read_text()), name: entry}.items())))
    write_bytes(folder / "card.md", card(name, entry).encode())


def rounded(verdict: Verdict) -> dict[str, object]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in verdict.figures().items()}


def reconstruction_fid(name: str, model: Autoencoder, images: torch.Tensor) -> dict[str, object]:
    """Return the FID on the latents of another pretrained model, if the recipe names one."""
    if "features" not in RECIPES[name]:
        return {}
    with torch.no_grad():
        made = torch.cat([model(part) for part in images.split(100)])
    weights = PRETRAINED / str(RECIPES[name]["features"]) / "model.safetensors"
    other = load_network(weights, "autoencoder", autoencoders.members)
    found = evaluate(made, images, AutoencoderFeatures(other))
    floor: Any = found["floor"]
    return {"fid": round(found["fid"], 2), "fid_of_real": round(floor["fid"], 2), "fid_images": len(images)}


def card(name: str, entry: dict[str, object]) -> str:
    fid = ""
    if "fid" in entry:
        fid = (
            f"| FID of reconstructions | {entry['fid']} on the latents of `{entry['features']}`, {entry['fid_images']} "
            f"images; between the two halves of the real images: {entry['fid_of_real']} |\n"
        )
    schedule = ""
    if "schedule" in entry:  # weights from before trainings were counted in steps
        schedule = (
            f"; the published weights were trained for the same number of steps, but with a {entry['schedule']} "
            "learning-rate schedule, so this command gives other weights"
        )
    return f"""# {name}: {entry["summary"]}

| | |
|---|---|
| network | `{entry["autoencoder"]}` |
| data | {entry["data"]} |
| licence | {entry["licence"]} |
| trained by | `{entry["command"]}`{schedule} |
| reconstruction | {entry["psnr_db"]} dB PSNR on {entry["measured_on"]} |
{fid}| size | {entry["bytes"]} bytes, sha256 `{entry["sha256"]}` |

![Originals, reconstructions, samples](reconstructions.png)
"""


if __name__ == "__main__":
    main(*sys.argv[1:])
