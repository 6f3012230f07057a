"""Draw docs/residual.png: clothes, their reconstructions by the classification benchmark's autoencoder, and samples.

    python benchmarks/photographs.py --data-root ROOT

ROOT and --work are those of classification.py. An autoencoder that is already trained there is used again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from rows import Settings, Trial
from sets import SETS

from augmentor import LatentAugment
from augmentor._internal.checks import to_uint8
from augmentor._internal.datasets import spread_over_classes
from augmentor._internal.pictures import grid

COUNT = 14
PICTURE = Path(__file__).parents[1] / "docs" / "residual.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--out", type=Path, default=PICTURE)
    options = parser.parse_args()
    trial = Trial("clothing64", SETS["clothing64"], 0, options.data_root, options.work, Settings())
    data, model = trial.draw.labelled, trial.autoencoder("own")
    images = data.images[spread_over_classes(data.targets, len(data), COUNT)]
    with torch.no_grad():
        lines = {"originals": images, "reconstructions": to_uint8(model(images.float() / 255))}
    for residual in (0, 1):
        augment = LatentAugment(model, "gaussian(std=0.5)", residual=residual)
        lines[f"samples, residual={residual}"] = augment.synthesize(images, indices=np.arange(COUNT), seed=0)
    draw(lines, options.out)


def draw(lines: dict[str, torch.Tensor], out: Path) -> None:
    """Draw one row of images per name."""
    drawn = grid(list(lines.values())).permute(1, 2, 0).numpy()
    figure = Figure(figsize=(10, 2.75), dpi=110, layout="constrained")
    axis = figure.subplots()
    axis.imshow(drawn, interpolation="nearest")
    axis.set_yticks((np.arange(len(lines)) + 0.5) * len(drawn) / len(lines), list(lines))
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    figure.savefig(out)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
