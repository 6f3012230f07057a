"""Cost that each augmentation adds to a GAN step, measured in turn in one process.

    python benchmarks/gan_steps.py

Random images of 28x28 in batches of 64, the default network, the pretrained `mnist`. A round has 8 steps of each
augmentation.
"""

from __future__ import annotations

import statistics
import time

import torch
from common import draw_table, record, spread

from augmentor import LatentAugment
from augmentor._internal.engine import get_engine
from augmentor.data import ArrayDataset
from augmentor.gan import TrainingMethod, get_augmentation, get_method, needs_autoencoder
from augmentor.gan.feed import Feed

AUGMENTATIONS = ("none", "both(p=0.5)", "both(p=1.0)", "real", "diffaugment", "ada(p=0.5)", "both(p=0.5)+diffaugment")
ROUNDS, STEPS, BATCH = 9, 8, 64


def prepared(augment: str) -> TrainingMethod:
    """Return a training method after its first steps."""
    images = torch.randint(0, 256, (1000, 1, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    data = ArrayDataset(images, torch.arange(1000) % 10)
    latent_augment = LatentAugment("mnist") if needs_autoencoder(augment) else None
    augmentation = get_augmentation(augment, latent_augment)
    method = get_method("gan", image_shape=(1, 28, 28), num_classes=10, augmentation=augmentation)
    method.prepare(Feed(data, BATCH, 0, get_engine("cpu"), labelled=True))
    for number in range(4):  # R1 is applied every fourth step
        method.step(number)
    return method


def main() -> None:
    torch.set_num_threads(1)
    methods = {augment: prepared(augment) for augment in AUGMENTATIONS}
    seconds: dict[str, list[float]] = {augment: [] for augment in AUGMENTATIONS}
    for turn in range(ROUNDS):
        for augment, method in methods.items():
            started = time.perf_counter()
            for number in range(STEPS):
                method.step(4 + turn * STEPS + number)
            seconds[augment].append((time.perf_counter() - started) / STEPS)
    plain = seconds["none"]
    rows = {
        augment: {
            "ms": spread([1000 * value for value in values]),
            "median_ms": 1000 * statistics.median(values),
            "of_none": statistics.median(ours / theirs for ours, theirs in zip(values, plain, strict=True)),
        }
        for augment, values in seconds.items()
    }
    lines = ["| augmentation | ms per step, median | of none |", "|---|---|---|"]
    lines += [f"| {name} | {row['median_ms']:.0f} | {row['of_none']:.2f} |" for name, row in rows.items()]
    print("\n".join(lines))
    record("gan-steps", {"rounds": ROUNDS, "steps": STEPS, "batch_size": BATCH}, rows)
    draw_table("gan-steps", lines)


if __name__ == "__main__":
    main()
