"""Measurements of the GPU benchmark: images per second, against the bare network and other packages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from gpu_place import Found, Place
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from augmentor import AugmentedLoader, LatentAugment, LatentCache, generate_shards, load_autoencoder
from augmentor._internal.engine import get_engine
from augmentor._internal.files import write_bytes
from augmentor.autoencoders import Autoencoder, ConvVAE
from augmentor.gan import get_augmentation, get_method
from augmentor.gan.feed import Feed
from augmentor.training import AutoencoderTrainer

SHAPE = (3, 64, 64)
BATCHES = (64, 256, 1024)


def network(place: Place, shape: tuple[int, int, int] = SHAPE) -> Autoencoder:
    """Return `vae` with random weights, which are as fast as trained ones, and fitted latent statistics."""
    torch.manual_seed(0)
    model = ConvVAE(shape, latent_dim=128, width=place.size(64, 8)).eval().requires_grad_(False)
    model.stats.fit([torch.randn(1000, 128)])
    return model.to(place.device)


def batches(place: Place) -> dict[int, torch.Tensor]:
    """Return float images of each batch size."""
    sizes = BATCHES if not place.quick else (4,)
    images = place.images(max(sizes), SHAPE).images.to(place.device).float() / 255
    return {size: images[:size] for size in sizes}


def transform(place: Place, found: Found) -> None:
    """Measure `LatentAugment` on a batch, not compiled, against its network and other packages' pixel transforms."""
    model = network(place)
    augment, auto = LatentAugment(model, p=1.0), LatentAugment(model, p=1.0, precision="auto")
    half = LatentAugment(model, p=0.5)
    pixels = pixel_pipelines()
    found.figure("plan of 'auto'", str(auto.plan))
    for size, images in batches(place).items():
        contenders = {
            "bare": partial(bare, model, images),
            "p=1": partial(augment, images),
            "p=1, precision='auto'": partial(auto, images),
            "p=0.5": partial(half, images),
            **{name: partial(pipeline, images) for name, pipeline in pixels.items()},
        }
        with torch.no_grad():
            seconds = place.seconds(contenders)
        for name, value in seconds.items():
            found.figure(f"batch {size}, {name}, images per second", size / value)
        found.figure(f"batch {size}, p=1 / bare, images per second", seconds["bare"] / seconds["p=1"])


def bare(model: Autoencoder, images: torch.Tensor) -> torch.Tensor:
    """Encode and decode."""
    return model.decode(model.encode(images).mean)


def pixel_pipelines() -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Return standard geometry and colour: torchvision draws once per batch, kornia (if installed) per image."""
    pipelines: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "torchvision v2": v2.Compose([
            v2.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1)), v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.2, 0.2, 0.2), v2.RandomErasing(),
        ])
    }  # fmt: skip
    try:
        import kornia.augmentation as K
    except ImportError:
        return pipelines
    pipelines["kornia"] = K.AugmentationSequential(
        K.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), p=1.0), K.RandomHorizontalFlip(),
        K.ColorJitter(0.2, 0.2, 0.2, p=1.0), K.RandomErasing(),
    )  # fmt: skip
    return pipelines


def compiled(place: Place, found: Found) -> None:
    """Measure `LatentAugment`, compiled in bfloat16, against its bare network, compiled in bfloat16."""
    # --quick runs the same calls without compiling, which takes minutes on a CPU.
    with torch.no_grad(), torch.compiler.set_stance("force_eager" if place.quick else "default"):
        model = network(place)
        fast = torch.compile(partial(bare, network(place).to(torch.bfloat16).to(memory_format=torch.channels_last)))
        augment = LatentAugment(model, p=1.0, precision="bf16+channels_last+compile")
        found.figure("plan", str(augment.plan))
        for size, images in batches(place).items():
            ready = images.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
            seconds = place.seconds({"bare": partial(fast, ready), "ours": partial(augment, images)})
            for name, value in seconds.items():
                found.figure(f"batch {size}, {name}, images per second", size / value)
            found.figure(f"batch {size}, ours / bare, images per second", seconds["bare"] / seconds["ours"])


def loader(place: Place, found: Found) -> None:
    """Measure a training step on images from an `AugmentedLoader`, against one on real images only."""
    data, model = place.images(place.size(4096, 64), SHAPE), network(place)
    size = place.size(256, 16)
    classifier = torch.nn.Sequential(
        torch.nn.Conv2d(3, 64, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(64, 128, 3, 2, 1), torch.nn.ReLU(),
        torch.nn.Conv2d(128, 256, 3, 2, 1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(256, 10),
    ).to(place.device)  # fmt: skip
    optimizer = torch.optim.SGD(classifier.parameters(), 1e-3)

    def epoch(batches: Any) -> None:
        for images, labels in batches:
            images = images.to(place.device, non_blocking=True).float() / 255
            labels = labels.to(place.device, non_blocking=True)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(classifier(images), labels).backward()
            optimizer.step()

    inner = DataLoader(data, size, pin_memory=place.on_cuda)
    real = [(data.images[rows], data.targets[rows]) for rows in torch.arange(len(data)).split(size)]
    decoded = data.images[: size // 2].to(place.device).float() / 255

    def decode() -> None:
        with torch.no_grad():
            for _ in real:
                bare(model, decoded)

    augment = LatentAugment(model, precision="auto")
    seconds = place.seconds({
        "real": partial(epoch, inner), "real and synthetic": partial(epoch, AugmentedLoader(inner, augment)),
        "encode and decode alone": decode, "AugmentedLoader over lists": partial(epoch, AugmentedLoader(real, augment)),
    }, calls=1)  # fmt: skip
    for name, value in seconds.items():
        found.figure(f"{name}, ms per step", 1000 * value / len(real))


def shards(place: Place, found: Found) -> None:
    """Measure shards in images per second, and their time relative to the longer of decoding and writing alone."""
    data, model = place.images(place.size(1024, 64), SHAPE), network(place)
    augment, count = LatentAugment(model, "gaussian(std=0.5)", precision="bf16"), place.size(32_768, 64)
    micro_batch = min(256, count // 8)
    settings: dict[str, Any] = {
        "num_samples": count,
        "shard_size": count // 8,
        "micro_batch": micro_batch,
        "progress": False,
    }
    cache, folders = LatentCache(data, model), iter(range(1000))

    def generate(cache: LatentCache | None) -> None:
        generate_shards(data, augment, place.folder / str(next(folders)), cache=cache, **settings)

    images = data.images[torch.arange(micro_batch) % len(data)]

    def decode() -> None:
        with torch.no_grad():
            for start in range(0, count, micro_batch):
                rows = np.arange(start, start + micro_batch) % len(data)
                augment.synthesize(images.to(place.device), indices=rows, seed=0).cpu()

    generate(None)
    written = [path.read_bytes() for path in sorted((place.folder / "0").glob("*.h5"))]

    def write() -> None:
        folder = place.folder / f"write-{next(folders)}"
        for number, content in enumerate(written):
            write_bytes(folder / f"{number}.h5", content)

    contenders = {"decode": decode, "write": write, "generate": partial(generate, None)}
    contenders["generate from a cache"] = partial(generate, cache)
    seconds = place.seconds(contenders, calls=1, rounds=3)
    for name, value in seconds.items():
        found.figure(f"{name}, images per second", count / value)
    found.figure("bytes per image", sum(map(len, written)) / count)
    found.figure(
        "generate / longer of decode and write", seconds["generate"] / max(seconds["decode"], seconds["write"])
    )


def gan(place: Place, found: Found) -> None:
    """Measure a step of each way to train a GAN, against the plain one."""
    size, shape = place.size(64, 8), (3, 32, 32)
    data, autoencoder = place.images(1000, shape), load_autoencoder("cifar10").to(place.device)
    network = f"conv(width={place.size(32, 8)})"

    def steps(method: str, augment: str) -> Callable[[], Any]:
        latent = LatentAugment(autoencoder) if augment in ("real", "both") else None
        of_images = augment != "none"
        made = get_method(
            method, network=network, autoencoder=autoencoder, image_shape=shape, num_classes=10, seed=0,
            augmentation=get_augmentation(augment, latent) if of_images else None,
        )  # fmt: skip
        made.prepare(Feed(data, size, 0, get_engine(place.device), labelled=True))
        numbers = iter(range(1_000_000))
        return lambda: made.step(next(numbers))

    ways = {"plain": ("gan", "none"), **{name: ("gan", name) for name in ("real", "both", "diffaugment")}}
    ways |= {name: (name, "none") for name in ("ae-init", "latent-gan", "vae-gan")}
    seconds = place.seconds({name: steps(*way) for name, way in ways.items()}, calls=16)
    for name, value in seconds.items():
        found.figure(f"{name}, ms per step", 1000 * value)
        found.figure(f"{name} / plain", value / seconds["plain"])


def autoencoder(place: Place, found: Found) -> None:
    """Measure images per second of training an autoencoder, against a plain loop of the same network."""
    data, size = place.images(place.size(4096, 64), SHAPE), place.size(128, 8)
    steps = place.size(300, 2)

    def ours(precision: str) -> None:
        model = ConvVAE(SHAPE, latent_dim=128, width=place.size(64, 8))
        AutoencoderTrainer(
            model, steps=steps, batch_size=size, val_fraction=0, transform=None, precision=precision,
            device=place.device, progress=False,
        ).fit(data)  # fmt: skip

    def plain() -> None:
        model = ConvVAE(SHAPE, latent_dim=128, width=place.size(64, 8)).to(place.device)
        optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
        for start in range(steps):
            rows = torch.arange(start * size, (start + 1) * size) % len(data)
            images = data.images[rows].to(place.device).float() / 255
            loss = (bare(model, images) - images).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    contenders = {"plain loop": plain, "fp32": partial(ours, "fp32"), "bf16": partial(ours, "bf16")}
    seconds = place.seconds(contenders, calls=1, rounds=2)
    for name, value in seconds.items():
        found.figure(f"{name}, images per second", steps * size / value)


MEASUREMENTS: dict[str, Callable[[Place, Found], None]] = {
    "transform": transform,
    "training-step": loader,
    "shards": shards,
    "gan": gan,
    "autoencoder": autoencoder,
    "compiled": compiled,
}
