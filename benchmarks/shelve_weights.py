"""Put trained weights on the shelf: ``python benchmarks/shelve_weights.py NAME WEIGHTS DATA [SPLIT]``.

Copies the weights, measures reconstructions, and writes the card and the entry in index.json. What cannot be measured
(data, licence, command) stands in RECIPES.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from augmentor._files import sha256_file, write_bytes, write_json
from augmentor._registry import describe
from augmentor._weights import load_network
from augmentor.autoencoders import autoencoders
from augmentor.data import load_source
from augmentor.items import fetch
from augmentor.metrics import reconstruction_psnr
from augmentor.pictures import grid, png

SHELF = Path(__file__).resolve().parent.parent / "pretrained"
RECIPES = {
    "digits": {
        "summary": "VAE of 8x8 grey digits",
        "data": "The 1,797 digits of scikit-learn's load_digits (test part of UCI's Optical Recognition of Digits)",
        "licence": "CC BY 4.0 (data), Apache-2.0 (weights)",
        "command": "augmentor train-autoencoder digits --autoencoder 'vae(latent_dim=16, width=32, beta=0.25)' "
        "--epochs 100 --out runs/digits",
        "measured_on": "the same digits, which it was trained on but for the tenth held out to choose the weights",
    },
    "mnist": {
        "summary": "VAE of 28x28 grey digits",
        "data": "The 60,000 training digits of MNIST (LeCun, Cortes and Burges)",
        "licence": "CC BY-SA 3.0 (data), Apache-2.0 (weights)",
        "command": "augmentor train-autoencoder mnist:ROOT --autoencoder 'vae(latent_dim=16, width=16, beta=0.5)' "
        "--geometric --epochs 8 --lr 0.003 --out runs/mnist",
        "measured_on": "the 10,000 test digits",
    },
}


def main(name: str, weights: str, test_data: str, split: str = "train") -> None:
    model = load_network(weights, autoencoders)
    test = load_source(test_data, split=split)
    folder = SHELF / name
    folder.mkdir(exist_ok=True)
    shutil.copyfile(weights, folder / "model.safetensors")
    images, _ = fetch(test, range(12))
    write_bytes(folder / "reconstructions.png", png(grid([images, model(images).detach()])))
    entry = {
        **RECIPES[name],
        "autoencoder": describe(model),
        "image_shape": list(model.image_shape),
        "psnr_db": round(reconstruction_psnr(model, test), 2),
        "bytes": (folder / "model.safetensors").stat().st_size,
        "sha256": sha256_file(folder / "model.safetensors"),
    }
    index = SHELF / "index.json"
    write_json(index, dict(sorted({**json.loads(index.read_text()), name: entry}.items())))
    write_bytes(folder / "card.md", card(name, entry).encode())


def card(name: str, entry: dict[str, object]) -> str:
    return f"""# {name}: {entry["summary"]}

| | |
|---|---|
| network | `{entry["autoencoder"]}` |
| data | {entry["data"]} |
| licence | {entry["licence"]} |
| trained by | `{entry["command"]}` |
| reconstruction | {entry["psnr_db"]} dB PSNR on {entry["measured_on"]} |
| size | {entry["bytes"]} bytes, sha256 `{entry["sha256"]}` |

![Originals above, reconstructions below](reconstructions.png)
"""


if __name__ == "__main__":
    main(*sys.argv[1:])
