"""Few labels: what augmentation does for a small classifier on MNIST.

    python benchmarks/classification.py --data-root ROOT

ROOT holds what torchvision's `MNIST(ROOT)` reads. For each seed another few labelled images of each class are drawn
from the training set; the small network below is trained on them, and tested on all 10,000 test images. Every row
takes the same number of steps, with the same real images in each batch. The latent rows add as many synthetic samples
to each batch, through `AugmentedLoader`. "own" is an autoencoder trained on just those labelled images; "own moved"
the same, its training images rotated, shifted and scaled mildly; "unlabelled" the pretrained `mnist` one, which has
seen the training images without their labels.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from common import draw_table, record, spread
from torch import nn
from torchvision.transforms import v2

from augmentor import AugmentedLoader, LatentAugment, load_autoencoder
from augmentor._random import seeded, torch_generator
from augmentor.autoencoders import Autoencoder, ConvVAE
from augmentor.data import ArrayDataset, load_source
from augmentor.training import AutoencoderTrainer, mild_geometry

# The few labelled images, a seed, and the training set they were drawn from => batches of images and labels.
Batches = Callable[[ArrayDataset, int, ArrayDataset], Iterator[tuple[torch.Tensor, torch.Tensor]]]
STEPS, BATCH, RATE = 1000, 50, 2e-3


def pooled_cnn() -> nn.Module:
    """Three blocks of convolution, batch norm, ReLU and pooling, then a global average: a residual net's shape."""
    layers: list[nn.Module] = []
    for before, after in pairwise((1, 16, 32, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def flat_cnn() -> nn.Module:
    """Two blocks of convolution, ReLU and pooling, then two dense layers that see where things are: LeNet's shape."""
    layers: list[nn.Module] = []
    for before, after in pairwise((1, 16, 32)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10))


NETWORKS = {"pooled": pooled_cnn, "flat": flat_cnn}


def plain(data: ArrayDataset, seed: int, train: ArrayDataset) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of real images, each image as often as any other."""
    for step in range(STEPS):
        chosen = torch.randperm(len(data), generator=torch_generator("cpu", seed, "batch", step))[:BATCH]
        yield data.images[chosen].float() / 255, data.targets[chosen]


def geometric(data: ArrayDataset, seed: int, train: ArrayDataset) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The usual mild rotation, shift and scale."""
    move = mild_geometry()
    for step, (images, labels) in enumerate(plain(data, seed, train)):
        with seeded(seed, "geometry", step):
            yield torch.stack([move(image) for image in images]), labels


def mixup(data: ArrayDataset, seed: int, train: ArrayDataset) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Zhang et al. 2018, as torchvision has it."""
    mix = v2.MixUp(num_classes=10)
    for step, (images, labels) in enumerate(plain(data, seed, train)):
        with seeded(seed, "mixup", step):
            yield mix(images, labels)


class _Again:
    """A generator function as a loader."""

    def __init__(self, batches: Batches, *arguments: Any):
        self.batches, self.arguments = batches, arguments

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self.batches(*self.arguments)


def latent(
    autoencoder: Callable[[ArrayDataset, int], Autoencoder], policy: str, base: Batches = plain, pool: Any = None
) -> Batches:
    """As many synthetic samples as real ones in each batch; partners from `pool` where the policy takes any."""

    def batches(data: ArrayDataset, seed: int, train: ArrayDataset) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        augment = LatentAugment(autoencoder(data, seed), policy)
        if pool is not None:
            augment.fit(pool(train))
        return iter(AugmentedLoader(_Again(base, data, seed, train), augment, ratio=1.0, seed=seed))

    return batches


_trained: dict[Any, Autoencoder] = {}


def own(data: ArrayDataset, seed: int, transform: Any = None) -> Autoencoder:
    """A VAE trained on the labelled images alone."""
    key = (data.fingerprint, seed, transform is None)
    if key not in _trained:
        with seeded(seed, "autoencoder"):
            model = ConvVAE((1, 28, 28), latent_dim=16, width=16, beta=0.5)
        trainer = AutoencoderTrainer(
            model, epochs=1200, batch_size=50, val_fraction=0, transform=transform, seed=seed, progress=False
        )
        _trained[key] = trainer.fit(data)
    return _trained[key]


def own_moved(data: ArrayDataset, seed: int) -> Autoencoder:
    """The same, its training images moved as for the geometric row."""
    return own(data, seed, mild_geometry())


def unlabelled(data: ArrayDataset, seed: int) -> Autoencoder:
    """The pretrained one, which saw the whole training set without labels."""
    return load_autoencoder("mnist")


def unlabelled_images(train: ArrayDataset) -> list[tuple[torch.Tensor, None]]:
    """The first 10,000 training images without their labels, as partners: a near neighbour is mostly of one class."""
    return [(train.images[:10_000], None)]


NEAR = "compose(smote(k=30), gaussian(std=0.5))"
ROWS: dict[str, Batches] = {
    "none": plain,
    "geometric": geometric,
    "mixup": mixup,
    "latent gaussian(0.5), own": latent(own, "gaussian(std=0.5)"),
    "latent posterior(2), own": latent(own, "posterior(factor=2)"),
    "latent gaussian(1), own moved": latent(own_moved, "gaussian(std=1.0)"),
    "latent gaussian(1), unlabelled": latent(unlabelled, "gaussian(std=1.0)"),
    "latent smote(30) + gaussian(0.5), unlabelled": latent(unlabelled, NEAR, pool=unlabelled_images),
    "geometric + latent gaussian(0.5), own moved": latent(own_moved, "gaussian(std=0.5)", geometric),
    "geometric + latent smote(30) + gaussian(0.5), unlabelled": latent(unlabelled, NEAR, geometric, unlabelled_images),
}


def accuracy(
    network: str, batches: Batches, data: ArrayDataset, seed: int, train: ArrayDataset, test: ArrayDataset
) -> float:
    """Per cent of the test images right, after training on these batches."""
    with seeded(seed, "classifier"):
        model = NETWORKS[network]()
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        for images, labels in batches(data, seed, train):
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(chunk.float() / 255).argmax(1) for chunk in test.images.split(1000)])
    return 100 * float((found == test.targets).float().mean())


def few(train: ArrayDataset, per_class: int, seed: int) -> ArrayDataset:
    """`per_class` images of each class."""
    order = torch.randperm(len(train), generator=torch_generator("cpu", seed, "labels"))
    rows = [order[train.targets[order] == label][:per_class] for label in range(10)]
    return train.subset(torch.cat(rows))


def one_seed(root: str, network: str, per_class: int, names: list[str], seed: int) -> dict[str, dict[str, float]]:
    """Accuracy and seconds of each row, for the labelled images that this seed draws."""
    torch.set_num_threads(1)
    train = load_source(f"mnist:{root}")
    data = few(train, per_class, seed)
    test = load_source(f"mnist:{root}", split="test")
    found = {}
    for name in names:
        started = time.perf_counter()
        found[name] = {"accuracy": accuracy(network, ROWS[name], data, seed, train, test)}
        found[name]["seconds"] = time.perf_counter() - started
        print(f"seed {seed}  {name:46} {found[name]['accuracy']:6.2f}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--network", choices=list(NETWORKS), default="pooled")
    parser.add_argument("--per-class", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="seeds run at the same time, a thread each")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), help="only these")
    options = parser.parse_args()
    work = partial(one_seed, options.data_root, options.network, options.per_class, options.rows)
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        found = pool.map(work, range(options.seeds), chunksize=1)
    results = {
        name: {
            **spread([seed[name]["accuracy"] for seed in found]),
            "seconds_a_run": statistics.mean(seed[name]["seconds"] for seed in found),
        }
        for name in options.rows
    }
    print("\n".join(table(results)))
    if options.seeds >= 5:
        name = f"classification-mnist-{options.per_class}-{options.network}"
        network = str(NETWORKS[options.network]())
        settings = {"data": "MNIST", "labels_a_class": options.per_class, "seeds": list(range(options.seeds)),
                    "steps": STEPS, "batch": BATCH, "lr": RATE, "network": network}  # fmt: skip
        record(name, settings, results)
        draw_table(name, table(results))


def table(results: dict[str, Any]) -> list[str]:
    lines = ["| augmentation | accuracy, % | above none | s a run |", "|---|---|---|---|"]
    base = results.get("none", {"mean": math.nan})["mean"]
    for name, row in results.items():
        gain = "" if name == "none" else f"{row['mean'] - base:+.1f}"
        lines.append(f"| {name} | {row['mean']:.1f} ± {row['std']:.1f} | {gain} | {row['seconds_a_run']:.0f} |")
    return lines


if __name__ == "__main__":
    main()
