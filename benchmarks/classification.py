"""Few labels: what augmentation does for a small classifier on MNIST.

    python benchmarks/classification.py --data-root ROOT

ROOT holds what torchvision's `MNIST(ROOT)` reads. For each seed another few labelled images of each class are drawn
from the training set; the small network below is trained on them, and tested on all 10,000 test images. Every row
takes the same number of steps, with the same real images in each batch. The latent rows add as many synthetic samples
to each batch, through `AugmentedLoader`; "own" is an autoencoder trained on just those labelled images, "unlabelled"
the pretrained `mnist` one, which has seen the training images without their labels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from common import draw_table, record, spread
from torch import nn
from torchvision.transforms import v2

from augmentor import AugmentedLoader, LatentAugment, load_autoencoder
from augmentor._random import seeded, torch_generator
from augmentor.autoencoders import Autoencoder, ConvVAE
from augmentor.cli.train_autoencoder import mild_geometry
from augmentor.data import ArrayDataset, load_source
from augmentor.training import AutoencoderTrainer

Batches = Callable[[ArrayDataset, int], Iterator[tuple[torch.Tensor, torch.Tensor]]]
STEPS, BATCH = 600, 50


def small_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def plain(data: ArrayDataset, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of real images, each image as often as any other."""
    for step in range(STEPS):
        chosen = torch.randperm(len(data), generator=torch_generator("cpu", seed, "batch", step))[:BATCH]
        yield data.images[chosen].float() / 255, data.targets[chosen]


def geometric(data: ArrayDataset, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The usual mild rotation, shift and scale."""
    move = mild_geometry()
    for step, (images, labels) in enumerate(plain(data, seed)):
        with seeded(seed, "geometry", step):
            yield torch.stack([move(image) for image in images]), labels


def mixup(data: ArrayDataset, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Zhang et al. 2018, as torchvision has it."""
    mix = v2.MixUp(num_classes=10)
    for step, (images, labels) in enumerate(plain(data, seed)):
        with seeded(seed, "mixup", step):
            yield mix(images, labels)


class _Again:
    """A generator function as a loader."""

    def __init__(self, batches: Batches, data: ArrayDataset, seed: int):
        self.arguments = (batches, data, seed)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        batches, data, seed = self.arguments
        return batches(data, seed)


def latent(autoencoder: Callable[[ArrayDataset, int], Autoencoder], policy: str, base: Batches = plain) -> Batches:
    """As many synthetic samples as real ones in each batch."""

    def batches(data: ArrayDataset, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        augment = LatentAugment(autoencoder(data, seed), policy)
        if augment.policy.needs_partners:
            augment.fit(data)
        return iter(AugmentedLoader(_Again(base, data, seed), augment, ratio=1.0, seed=seed))

    return batches


_trained: dict[Any, Autoencoder] = {}


def own(data: ArrayDataset, seed: int, transform: Any = None) -> Autoencoder:
    """A VAE trained on the labelled images alone."""
    key = (data.fingerprint, seed, transform is None)
    if key not in _trained:
        with seeded(seed, "autoencoder"):
            model = ConvVAE((1, 28, 28), latent_dim=16, width=16, beta=0.5)
        trainer = AutoencoderTrainer(
            model, epochs=1500, batch_size=50, val_fraction=0, transform=transform, seed=seed, progress=False
        )
        _trained[key] = trainer.fit(data)
    return _trained[key]


def own_geometric(data: ArrayDataset, seed: int) -> Autoencoder:
    """The same, its training images moved as for the geometric row."""
    return own(data, seed, mild_geometry())


def unlabelled(data: ArrayDataset, seed: int) -> Autoencoder:
    """The pretrained one, which saw the whole training set without labels."""
    return load_autoencoder("mnist")


ROWS: dict[str, Batches] = {
    "none": plain,
    "geometric": geometric,
    "mixup": mixup,
    "latent gaussian(0.5), own": latent(own, "gaussian(std=0.5)"),
    "latent posterior(2), own": latent(own, "posterior(factor=2)"),
    "latent smote, own": latent(own, "smote(k=3)"),
    "latent gaussian(0.5), unlabelled": latent(unlabelled, "gaussian(std=0.5)"),
    "latent extrapolate(0.5), unlabelled": latent(unlabelled, "extrapolate(strength=0.5)"),
    "geometric + latent gaussian(0.5), own": latent(own_geometric, "gaussian(std=0.5)", geometric),
    "geometric + latent gaussian(0.5), unlabelled": latent(unlabelled, "gaussian(std=0.5)", geometric),
}


def accuracy(batches: Batches, data: ArrayDataset, test: ArrayDataset, seed: int) -> float:
    """Per cent of the test images right, after training on these batches."""
    with seeded(seed, "classifier"):
        model = small_cnn()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for images, labels in batches(data, seed):
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(chunk.float() / 255).argmax(1) for chunk in test.images.split(1000)])
    return 100 * float((found == test.targets).float().mean())


def few(train: ArrayDataset, per_class: int, seed: int) -> ArrayDataset:
    """`per_class` images of each class."""
    order = torch.randperm(len(train), generator=torch_generator("cpu", seed, "labels"))
    rows = [order[train.targets[order] == label][:per_class] for label in range(10)]
    return train.subset(torch.cat(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--per-class", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), help="only these; nothing is recorded then")
    options = parser.parse_args()
    train = load_source(f"mnist:{options.data_root}")
    test = load_source(f"mnist:{options.data_root}", split="test")
    results: dict[str, Any] = {}
    for name in options.rows:
        started, values = time.perf_counter(), []
        for seed in range(options.seeds):
            values.append(accuracy(ROWS[name], few(train, options.per_class, seed), test, seed))
        results[name] = {**spread(values), "seconds_a_seed": (time.perf_counter() - started) / options.seeds}
        print(f"{name:46} {results[name]['mean']:6.2f} +- {results[name]['std']:.2f}", flush=True)
    if options.rows == list(ROWS):
        settings = {"data": "MNIST", "labels_a_class": options.per_class, "seeds": list(range(options.seeds)),
                    "steps": STEPS, "batch": BATCH}  # fmt: skip
        record(f"classification-mnist-{options.per_class}", settings, results)
        draw_table(f"classification-mnist-{options.per_class}", table(results))


def table(results: dict[str, Any]) -> list[str]:
    lines = ["| augmentation | accuracy, % | above none | s a run |", "|---|---|---|---|"]
    base = results["none"]["mean"]
    for name, row in results.items():
        gain = "" if name == "none" else f"{row['mean'] - base:+.1f}"
        lines.append(f"| {name} | {row['mean']:.1f} ± {row['std']:.1f} | {gain} | {row['seconds_a_seed']:.0f} |")
    return lines


if __name__ == "__main__":
    main()
