"""Visible noise of `smooth` and `gaussian` on feature-map latents: ``python benchmarks/defaults.py ROOT``.

ROOT/cifar10/test contains one folder per class. With `natural`, it measures the PSNR of samples to their originals,
their grain (power of second differences of pixels, relative to the originals) and their FID on the latents of
`cifar10`. The result is the reason why `smooth` is the default policy for feature maps.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import torch
from common import draw_table, record

from augmentor import LatentAugment, load_autoencoder
from augmentor._internal.checks import to_unit_float
from augmentor.data import load_source
from augmentor.quality import AutoencoderFeatures, evaluate

COUNT = 1000
POLICIES = (
    "gaussian(std=0)", "gaussian(std=0.25)", "smooth(std=0.25)", "gaussian(std=0.5)", "smooth(std=0.5)",
)  # fmt: skip


def likeness(policy: str, images: torch.Tensor) -> dict[str, float]:
    """Return PSNR to the originals, grain and FID of one sample per image."""
    augment, rows = LatentAugment("natural", policy), torch.arange(len(images)).split(200)
    made = torch.cat([augment.synthesize(images[part], seed=0, indices=part.numpy()) for part in rows])
    error = (to_unit_float(made) - to_unit_float(images)).square().flatten(1).mean(1).clamp_min(1e-10)
    grain = float((roughness(to_unit_float(made)) / roughness(to_unit_float(images))).median())
    found: Any = evaluate(made, images, AutoencoderFeatures(load_autoencoder("cifar10")))
    psnr = float((-10 * error.log10()).mean())
    return {"psnr": psnr, "grain": grain, "fid": found["fid"], "fid_of_real": found["floor"]["fid"]}


def roughness(images: torch.Tensor) -> torch.Tensor:
    """Return the mean square of second differences along rows and columns, (B,)."""
    return sum(images.diff(n=2, dim=axis).square().flatten(1).mean(1) for axis in (-1, -2))


def main(root: str) -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="LatentAugment with policy gaussian")  # std=0 gives reconstructions
    images = load_source(f"{root}/cifar10/test").images
    images = images[:: len(images) // COUNT][:COUNT]
    rows = {policy: likeness(policy, images) for policy in POLICIES}
    lines = ["| policy | PSNR to the original | grain | FID |", "|---|---|---|---|"]
    lines += [
        f"| `{policy}` | {row['psnr']:.1f} dB | {row['grain']:.2f} | {row['fid']:.1f} |" for policy, row in rows.items()
    ]
    print("\n".join(lines))
    record("defaults", {"autoencoder": "natural", "features": "cifar10", "images": COUNT}, rows)
    draw_table("defaults", lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
