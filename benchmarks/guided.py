"""Distance to real latents and fraction of kept labels of `guided` and `gaussian`, on scikit-learn's digits.

    python benchmarks/guided.py

Half of the digits are the reference set and the source images. The evaluation classifier is a support vector machine
that is trained on the other half.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import torch
from common import draw_table, record, spread
from sklearn.svm import SVC

from augmentor import LatentAugment
from augmentor._internal.random import torch_generator
from augmentor.data import load_source

SEEDS = (0, 1, 2)
POLICIES = (
    "gaussian(std=0)",
    *(f"{name}={size})" for size in (0.5, 0.75, 1.0) for name in ("gaussian(std", "guided(radius")),
)


def one_seed(policy: str, seed: int) -> dict[str, float]:
    """Make one sample per reference image; return the distance to the 5 nearest and the fraction of kept labels."""
    digits = load_source("digits")
    order = torch.randperm(len(digits), generator=torch_generator("cpu", seed, "halves"))
    reference, others = digits.subset(order[:900]), digits.subset(order[900:])
    classifier = SVC().fit(others.images.flatten(1).numpy(), others.targets.numpy())
    augment = LatentAugment("digits", policy).fit(reference)
    started = time.perf_counter()
    made, labels = augment.synthesize(reference.images, reference.targets, indices=range(len(reference)), seed=seed)
    seconds = time.perf_counter() - started
    with torch.no_grad():
        z = augment.autoencoder.stats.standardise(augment.autoencoder.encode(made).mean)
    distance, _ = augment.reference.nearest(z, 5)
    kept = classifier.predict(made.flatten(1).numpy()) == labels.numpy()
    return {"distance": float(distance.mean()), "kept": 100 * float(kept.mean()), "ms_an_image": 1000 * seconds / 900}


def main() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="LatentAugment with policy gaussian")  # std=0 gives reconstructions
    rows: dict[str, Any] = {}
    for policy in POLICIES:
        found = [one_seed(policy, seed) for seed in SEEDS]
        name = "reconstructions" if policy == "gaussian(std=0)" else policy
        rows[name] = {key: spread([seed[key] for seed in found]) for key in found[0]}
    lines = [
        "| | mean distance to the 5 nearest real | labels that the classifier recognises, % | ms per image |",
        "|---|---|---|---|",
    ]
    for name, row in rows.items():
        distance, kept = row["distance"], row["kept"]
        lines.append(
            f"| `{name}` | {distance['mean']:.2f} ± {distance['std']:.2f} | {kept['mean']:.1f} ± {kept['std']:.1f} "
            f"| {row['ms_an_image']['mean']:.2f} |"
        )
    print("\n".join(lines))
    record("guided", {"data": "digits", "pool": 900, "seeds": list(SEEDS)}, rows)
    draw_table("guided", lines)


if __name__ == "__main__":
    main()
