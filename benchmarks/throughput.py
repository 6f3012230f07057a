"""Images per second of latent augmentation, against its bare network and other packages, and as sizes grow.

    python benchmarks/throughput.py                    one thread of the CPU, about five minutes
    python benchmarks/throughput.py --device cuda      on a GPU, also with the compiled network

The network is `vae` at 32x32 in RGB with initial weights, which are as fast as trained ones. "bare" is its
``decode(encode(images))`` in float32. Images are squares of two photographs that come with scikit-learn. All rows of a
section are measured in turn, round after round, in this process. A figure is the median over rounds, with the lowest
and the highest; a ratio is the median of the ratios per round.

By default glibc returns large blocks of memory when they are freed, and new blocks cost a fifth of the time of a
forward pass, depending on what else the program holds. All rows therefore run with this switched off (KEPT_MEMORY).
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from common import HERE, KEPT_MEMORY, Bench, Seconds, draw_table, keep_memory, record
from sklearn.datasets import load_sample_images
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import v2

from augmentor import (
    AugmentedLoader,
    LatentAugment,
    LatentCache,
    MixedDataset,
    generate_shards,
    list_policies,
)
from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.autoencoders import Autoencoder, ConvVAE, InferencePlan
from augmentor.autoencoders.inference import psnr
from augmentor.data import ArrayDataset
from augmentor.exceptions import AugmentorWarning
from augmentor.latents import Latents, ReferenceSet, encode_all
from augmentor.quality import QualityGate

SHAPE, LATENT, WIDTH, BATCH, SEED = (3, 32, 32), 64, 14, 256, 0
IMAGES, TO_DISK, TO_ENCODE = 1024, 4096, 8192  # images in the data set, written to a folder, encoded at once


def network(shape: tuple[int, int, int] = SHAPE, latent: int = LATENT) -> Autoencoder:
    """Return the autoencoder with fitted latent statistics."""
    torch.manual_seed(SEED)
    model = ConvVAE(shape, latent_dim=latent, width=WIDTH).eval().requires_grad_(False)
    model.stats.fit([torch.randn(1000, latent)])
    return model


def photographs(count: int = IMAGES) -> ArrayDataset:
    """Return squares of 32 pixels; class 0 is a temple, class 1 a flower."""
    squares, labels = [], []
    for label, photograph in enumerate(load_sample_images().images):
        cut = torch.from_numpy(photograph.copy()).unfold(0, 32, 16).unfold(1, 32, 16).flatten(0, 1)
        squares.append(cut)
        labels.append(torch.full((len(cut),), label))
    order = torch.from_numpy(np.random.Generator(np.random.Philox(SEED)).permutation(sum(map(len, squares))))[:count]
    return ArrayDataset(torch.cat(squares)[order], torch.cat(labels)[order], ["temple", "flower"])


def ratio(above: list[float], below: list[float]) -> float:
    """Return the median of the ratios per round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def rates(seconds: Seconds, images: int | dict[str, int]) -> dict[str, dict[str, float]]:
    """Return images per second: median, lowest, highest."""
    found = {}
    for name, times in seconds.items():
        count = images[name] if isinstance(images, dict) else images
        found[name] = {
            "images per second": count / statistics.median(times),
            "lowest": count / max(times),
            "highest": count / min(times),
        }
    return found


# ---------------------------------------------------------------------------- the transform


def transform(bench: Bench, compiled: bool) -> tuple[dict[str, Any], dict[str, float]]:
    """Measure the transform on batches, against the bare network."""
    data, model = photographs(), network().to(bench.device)
    images = data.images[:BATCH].to(bench.device).float() / 255
    cache = LatentCache(data, model)
    raw = type(cache[[0]])(*(part.to(bench.device) for part in cache[range(BATCH)]))
    augment, half = LatentAugment(model, p=1.0), LatentAugment(model, p=0.5)
    best = LatentAugment(model, p=1.0, precision="auto")

    def bare(batch: torch.Tensor) -> Callable[[], Any]:
        return lambda: model.decode(model.encode(batch).mean)

    contenders = {
        "bare network": bare(images),
        "bare decoder": lambda: model.decode(raw.mean),
        "LatentAugment, p=1": lambda: augment(images),
        "LatentAugment, p=0.5": lambda: half(images),
        "LatentAugment, p=1, precision='auto'": lambda: best(images),
        "synthesize from a cache": lambda: augment.synthesize(images, raw=raw),
        "synthesize from a cache, precision='auto'": lambda: best.synthesize(images, raw=raw),
    }
    if compiled:
        fast = torch.compile(network().to(bench.device).to(torch.bfloat16).to(memory_format=torch.channels_last))
        ready = images.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        with_compile = LatentAugment(model, p=1.0, precision="auto", compile=True)
        contenders["bare network, bfloat16, compiled"] = lambda: fast(ready)
        contenders["LatentAugment, p=1, precision='auto', compile=True"] = lambda: with_compile(images)
    with torch.no_grad():
        for _ in range(100):  # batches have many sizes, and oneDNN prepares once for each size
            half(images)
        seconds = bench.in_turn(contenders)
        few = images[:16]
        seconds |= bench.in_turn(
            {"bare network, 16": bare(few), "LatentAugment, p=1, 16": lambda: augment(few)}, calls=5
        )
        singles = single_images(bench, model, images)
        noise = bench.in_turn(
            {"noise": lambda: SampleRandom(sample_keys(0, 0, range(BATCH))).normal(128)}, 15, calls=20
        )
    counts = {name: 16 if name.endswith(" 16") else BATCH for name in seconds}
    plain = seconds["bare network"]
    ratios = {
        "p=1 / bare, images per second": ratio(plain, seconds["LatentAugment, p=1"]),
        "p=0.5 / bare, time": ratio(seconds["LatentAugment, p=0.5"], plain),
        "p=0.5 / p=1, time": ratio(seconds["LatentAugment, p=0.5"], seconds["LatentAugment, p=1"]),
        "best plan with cache / bare, images per second": ratio(
            plain, seconds["synthesize from a cache, precision='auto'"]
        ),
        "batch of 1, ms over bare": difference(singles, "LatentAugment, p=1, 1", "bare network, 1"),
        "batch of 1, ms over bare, with a network that computes nothing": difference(
            singles, "LatentAugment, p=1, 1, nothing computed", "bare network, 1, nothing computed"
        ),
        "noise of 128, microseconds per sample": 1e6 * statistics.median(noise["noise"]) / BATCH,
    }
    if compiled:
        ratios["auto, compiled / bare compiled in bfloat16"] = ratio(
            seconds["bare network, bfloat16, compiled"], seconds["LatentAugment, p=1, precision='auto', compile=True"]
        )
    rows = rates(seconds, counts) | rates(singles, 1)
    rows["plan"] = {"auto": str(best.plan), "psnr of bf16": psnr(model, InferencePlan("bf16"))}
    return rows, ratios


def single_images(bench: Bench, model: Autoencoder, images: torch.Tensor) -> Seconds:
    """Measure pipelines on one image, as in a worker of a loader, also with a network that computes nothing.

    Between other code, a network takes longer than in a loop of its own, because it is no longer in the caches of the
    processor. The pipelines without computation exclude this and measure the code of the transform alone.
    """
    pipelines, one = {}, images[:1]
    for name in ("", ", nothing computed"):
        network = copy.deepcopy(model)
        augment = LatentAugment(network, p=1.0)
        augment(images)  # assesses the network on the first images
        if name:
            moments = network._encode(one)
            decoded = network._decode(moments[0])
            network._encode = lambda _, moments=moments: moments  # type: ignore[method-assign]
            network._decode = lambda _, decoded=decoded: decoded  # type: ignore[method-assign]
        bare = v2.Lambda(lambda image, network=network: network.decode(network.encode(image[None]).mean)[0])
        pipelines |= {
            f"bare network, 1{name}": v2.Compose([bare]),
            f"LatentAugment, p=1, 1{name}": v2.Compose([augment]),
        }
    calls = {name: lambda pipeline=pipeline: pipeline(one[0]) for name, pipeline in pipelines.items()}
    return bench.in_turn(calls, rounds=15, calls=100)  # many calls, as in a loader's worker


def difference(seconds: Seconds, more: str, less: str) -> float:
    """Return the median difference per round in milliseconds."""
    return 1e3 * statistics.median(a - b for a, b in zip(seconds[more], seconds[less], strict=True))


def encoding(bench: Bench) -> tuple[dict[str, Any], dict[str, float]]:
    """Measure `encode_all` and `fit`, against the bare encoder on the same images in batches of the same size."""
    some, model = photographs(), network().to(bench.device)
    data = ArrayDataset(some.images.repeat(TO_ENCODE // IMAGES, 1, 1, 1), some.targets.repeat(TO_ENCODE // IMAGES))

    def bare() -> None:
        with torch.no_grad():
            for images in data.images.split(BATCH):
                model.encode(images.to(bench.device).float() / 255)

    seconds = bench.in_turn({
        "bare encoder": bare,
        "encode_all": lambda: encode_all(model, data),
        "fit": lambda: LatentAugment(model, "smote").fit(data),
    }, rounds=5)  # fmt: skip
    ratios = {
        f"{name} / bare encoder, images per second": ratio(seconds["bare encoder"], seconds[name])
        for name in ("encode_all", "fit")
    }
    return rates(seconds, len(data)), ratios


def bare_rate(bench: Bench) -> float:
    """Return the images per second of the bare network."""
    images, model = photographs().images[:BATCH].to(bench.device).float() / 255, network().to(bench.device)
    with torch.no_grad():
        (times,) = bench.in_turn({"bare": lambda: model.decode(model.encode(images).mean)}).values()
    return BATCH / statistics.median(times)


def bare_rate_giving_memory_back(bench: Bench) -> float:
    """Return the same in a process whose glibc returns freed memory, which is its default."""
    environment = {name: value for name, value in os.environ.items() if name not in KEPT_MEMORY}
    command = [sys.executable, __file__, "--only-bare", "--device", str(bench.device), "--rounds", str(bench.rounds)]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def by_policy(bench: Bench) -> dict[str, Any]:
    """Measure every policy on a batch with given latents, so that encoding does not hide the policy."""
    data, model = photographs(), network().to(bench.device)
    images, labels = data.images[:BATCH].to(bench.device), data.targets[:BATCH].to(bench.device)
    cache = LatentCache(data, model)
    raw = type(cache[[0]])(*(part.to(bench.device) for part in cache[range(BATCH)]))
    contenders: dict[str, Callable[[], Any]] = {}
    for name in list_policies():
        augment = LatentAugment(model, example(name), p=1.0)
        augment.fit_latents(cache.mean, cache.labels, 2)
        contenders[name] = lambda augment=augment: augment.synthesize(images, labels, raw=raw)
    gated = LatentAugment(model, p=1.0, gate=QualityGate()).fit_latents(cache.mean, cache.labels, 2, images=data.images)
    contenders["gaussian, with a gate"] = lambda: gated.synthesize(images, labels, raw=raw)
    return rates(bench.in_turn(contenders), BATCH)


def example(name: str) -> str:
    """Return the string form of the policy."""
    inner = "(gaussian(std=0.3), interpolate(strength=0.5))"
    return name + inner if name in ("compose", "one_of") else name


# ---------------------------------------------------------------------------- loaders and training


class InPipeline(Dataset[Any]):
    """Data set that applies the transform to one image at a time."""

    def __init__(self, data: ArrayDataset, pipeline: Callable[[Any], Any]):
        self.data, self.pipeline = data, pipeline

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        image, label = self.data[index]
        return self.pipeline(image), label


def loaders(bench: Bench) -> dict[str, Any]:
    """Measure images per second of loaders over an epoch, on the CPU, where loader workers run."""
    data, model = photographs(512), network()
    cache, augment = LatentCache(data, model), LatentAugment(model, p=0.5)
    everything = LatentAugment(model, p=1.0)
    best = LatentAugment(model, p=1.0, precision="auto")
    made = {
        "transform in the data set, p=0.5, {} workers": InPipeline(data, augment),
        "MixedDataset, {} workers": MixedDataset(data, everything),
        "MixedDataset with a cache, {} workers": MixedDataset(data, everything, cache=cache),
        "MixedDataset with a cache, precision='auto', {} workers": MixedDataset(data, best, cache=cache),
    }
    contenders, counts = {}, {}
    for workers in (0, 2):
        for text, dataset in made.items():
            name = text.format(workers)
            loader = DataLoader(dataset, BATCH, num_workers=workers, persistent_workers=workers > 0)
            contenders[name] = lambda loader=loader: sum(len(images) for images, _ in loader)
            counts[name] = len(dataset)
    return rates(bench.in_turn(contenders, rounds=2), counts)


def training(bench: Bench) -> tuple[dict[str, Any], dict[str, float]]:
    """Measure a training step on 256 real and 128 synthetic images, against one on 384 real images."""
    data, model = photographs(), network().to(bench.device)
    cache, more = LatentCache(data, model), BATCH + BATCH // 2
    indices = torch.arange(IMAGES).split(BATCH)
    floats = data.images.float() / 255
    with_index = [(floats[rows], data.targets[rows], {"index": rows}) for rows in indices]
    real = [(floats[:more], data.targets[:more]) for _ in indices]
    raw = cache.mean[: BATCH // 2].to(bench.device)
    classifier = nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4096, 2)
    ).to(bench.device)
    optimizer = torch.optim.SGD(classifier.parameters(), 1e-3)

    def train(loader: Any) -> None:
        for images, labels in loader:
            images, labels = (part.to(bench.device, non_blocking=True) for part in (images, labels))
            optimizer.zero_grad()
            F.cross_entropy(classifier(images), labels).backward()
            optimizer.step()

    def decode() -> None:
        with torch.no_grad():
            for _ in indices:
                model.decode(raw)

    plain, best = LatentAugment(model), LatentAugment(model, precision="auto")
    encoding = AugmentedLoader([batch[:2] for batch in with_index], plain)
    decoding, fastest = (AugmentedLoader(with_index, augment, cache=cache) for augment in (plain, best))
    seconds = bench.in_turn({
        "steps on 384 real images": lambda: train(real),
        "bare decoder, 128 images per step": decode,
        "steps on 256 + 128, AugmentedLoader": lambda: train(encoding),
        "steps on 256 + 128, with a cache": lambda: train(decoding),
        "steps on 256 + 128, with a cache, precision='auto'": lambda: train(fastest),
    })  # fmt: skip
    above = [
        (a - b) / c
        for a, b, c in zip(
            seconds["steps on 256 + 128, with a cache"],
            seconds["steps on 384 real images"],
            seconds["bare decoder, 128 images per step"],
            strict=True,
        )
    ]
    counts = {name: len(indices) * (BATCH // 2 if "decoder" in name else more) for name in seconds}
    return rates(seconds, counts), {"step over real images / bare decode, with a cache": statistics.median(above)}


# ---------------------------------------------------------------------------- other packages


def peers(bench: Bench) -> tuple[dict[str, Any], dict[str, float]]:
    """Measure other packages on the same images; pythae with the same networks."""
    data, model = photographs(), network().to(bench.device)
    images = data.images[:BATCH].to(bench.device).float() / 255
    cache, best = LatentCache(data, model), LatentAugment(model, p=1.0, precision="auto")
    rows = [np.arange(start, start + BATCH) for start in range(0, IMAGES, BATCH)]
    uint8 = data.images

    def ours() -> None:
        with torch.no_grad():
            for part in rows:
                best.synthesize(uint8[part], raw=cache[part])

    def shards() -> None:
        with tempfile.TemporaryDirectory() as folder:
            generate_shards(
                data,
                best,
                Path(folder) / "shards",
                num_samples=TO_DISK,
                shard_size=1024,
                micro_batch=BATCH,
                cache=cache,
            )

    contenders: dict[str, Callable[[], Any]] = {"ours, from a cache, precision='auto'": ours, "ours, to shards": shards}
    counts = {"ours, to shards": TO_DISK, "pythae's sampler, to PNG files": TO_DISK}
    if (sampler := _pythae(model, bench.device)) is not None:
        contenders["pythae's sampler, in memory"] = lambda: sampler.sample(IMAGES, BATCH)
        contenders["pythae's sampler, to PNG files"] = lambda: _to_folder(sampler)
        contenders["pythae, reconstruct"] = lambda: sampler.model.reconstruct(images)
        counts["pythae, reconstruct"] = BATCH
    contenders |= _pixel_pipelines(data, images, counts)
    seconds = bench.in_turn(contenders, rounds=3)
    ratios = {}
    if sampler is not None:
        ratios["best plan / pythae in memory"] = ratio(
            seconds["pythae's sampler, in memory"], seconds["ours, from a cache, precision='auto'"]
        )
        ratios["shards / pythae to PNG"] = ratio(seconds["pythae's sampler, to PNG files"], seconds["ours, to shards"])
    return rates(seconds, {name: counts.get(name, IMAGES) for name in seconds}), ratios


def _pythae(model: Any, device: torch.device) -> Any:
    """Return pythae's sampler around the same encoder and decoder, or None if pythae is not installed."""
    try:
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.samplers import NormalSampler
    except ImportError:
        print("pythae is not installed; its rows are left out")
        return None

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = model.encoder

        def forward(self, x: torch.Tensor) -> Any:
            mean, log_variance = self.layers(2 * x - 1).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = model.decoder

        def forward(self, z: torch.Tensor) -> Any:
            return ModelOutput(reconstruction=self.layers(z).sigmoid())

    vae = VAE(VAEConfig(input_dim=SHAPE, latent_dim=LATENT), Encoder(), Decoder()).to(device).eval()
    return NormalSampler(vae)


def _to_folder(sampler: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sampler.sample(TO_DISK, BATCH, output_dir=folder, return_gen=False)


def _pixel_pipelines(data: ArrayDataset, images: torch.Tensor, counts: dict[str, int]) -> dict[str, Callable[[], Any]]:
    """Return standard geometry and colour of three packages, and SMOTE on pixels."""
    import albumentations as A
    from imblearn.over_sampling import SMOTE

    arrays = [image.permute(1, 2, 0).numpy() for image in data.images[:BATCH]]
    usual = v2.Compose([
        v2.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1)), v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.2, 0.2, 0.2), v2.RandomErasing(),
    ])  # fmt: skip
    album = A.Compose([
        A.Affine(rotate=(-10, 10), translate_percent=0.1, scale=(0.9, 1.1), p=1), A.HorizontalFlip(),
        A.ColorJitter(0.2, 0.2, 0.2, 0), A.Erasing(),
    ])  # fmt: skip
    pixels, labels = data.images.flatten(1).numpy(), data.targets.numpy()
    largest = int(np.bincount(labels).max())
    wanted = {0: largest + BATCH // 2, 1: largest + BATCH // 2}
    found: dict[str, Callable[[], Any]] = {
        "torchvision, an image at a time": lambda: [usual(image) for image in data.images[:BATCH]],
        "albumentations, an image at a time": lambda: [album(image=array)["image"] for array in arrays],
        "imbalanced-learn, SMOTE on pixels": lambda: SMOTE(sampling_strategy=wanted).fit_resample(pixels, labels),
    }
    counts |= dict.fromkeys(found, BATCH)
    counts["imbalanced-learn, SMOTE on pixels"] = sum(wanted.values()) - len(labels)
    try:
        import kornia.augmentation as K
    except ImportError:
        print("kornia is not installed; its row is left out")
        return found
    batch = K.AugmentationSequential(
        K.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), p=1.0), K.RandomHorizontalFlip(),
        K.ColorJitter(0.2, 0.2, 0.2, p=1.0), K.RandomErasing(),
    )  # fmt: skip
    counts["kornia, a batch at a time"] = BATCH
    return {**found, "kornia, a batch at a time": lambda: batch(images)}


# ---------------------------------------------------------------------------- neighbours, and growth


def reference_of(size: int, classes: int, device: torch.device, latent: int = LATENT) -> ReferenceSet:
    random = SampleRandom(sample_keys(SEED, 0, range(size)))
    return ReferenceSet(random.normal(latent), torch.arange(size) % classes, classes).to(device)


def neighbours(bench: Bench, size: int = 100_000, classes: int = 10) -> tuple[dict[str, Any], dict[str, float]]:
    """Measure `smote` and the gate with a large reference set, against decoding a batch."""
    model, reference = network().to(bench.device), reference_of(size, classes, bench.device)
    rows = torch.arange(0, size, size // BATCH, device=bench.device)[:BATCH]
    batch = Latents(reference.z[rows], None, reference.labels[rows])
    gate = QualityGate().fit(reference)
    keys = sample_keys(0, 0, range(BATCH))
    moved = Latents(batch.z + 0.5 * SampleRandom(keys, bench.device).normal(LATENT), None, batch.labels)

    def look_up() -> None:
        reference.neighbours(batch, SampleRandom(keys, bench.device), 5)

    def forget() -> None:
        reference._known.clear()
        look_up()

    with torch.no_grad():
        seconds = bench.in_turn({
            "bare decoder": lambda: model.decode(batch.z),
            "smote, neighbours looked up before": look_up,
            "smote, seen for the first time": forget,
            "gate, one judgement": lambda: gate.score(moved, batch),
        }, rounds=5)  # fmt: skip
    decode = seconds["bare decoder"]
    ratios = {f"{name} / bare decode": ratio(seconds[name], decode) for name in list(seconds)[1:]}
    return rates(seconds, BATCH), ratios


def growth(bench: Bench) -> dict[str, dict[str, list[float]]]:
    """Measure images per second as one size grows: curve => [[value, images per second], ...]."""
    curves: dict[str, dict[str, Any]] = {}

    def measure(curve: str, value: int, contenders: dict[str, Callable[[], Any]], images: int, calls: int = 1) -> None:
        with torch.no_grad():
            seconds = bench.in_turn(contenders, rounds=2, calls=calls)
        for name, times in seconds.items():
            curves.setdefault(curve, {}).setdefault(name, []).append([value, images / statistics.median(times)])

    def pair(model: Autoencoder, images: torch.Tensor) -> dict[str, Callable[[], Any]]:
        augment, best = LatentAugment(model, p=1.0), LatentAugment(model, p=1.0, precision="auto")
        return {
            "bare": lambda: model.decode(model.encode(images).mean),
            "fp32": lambda: augment(images),
            "auto": lambda: best(images),
        }

    model = network().to(bench.device)
    for size in (1, 4, 16, 64, 256):
        images = torch.rand(size, *SHAPE, device=bench.device)
        measure("batch", size, pair(model, images), size, calls=max(1, 16 // size))
    for side in (16, 32, 64):
        shape = (3, side, side)
        measure(
            "side of the images",
            side,
            pair(network(shape).to(bench.device), torch.rand(32, *shape).to(bench.device)),
            32,
        )
    for latent in (8, 64, 512):
        images = torch.rand(64, *SHAPE, device=bench.device)
        measure("latent dimensions", latent, pair(network(latent=latent).to(bench.device), images), 64)
    for curve, settings in {
        "samples in the reference set": [(size, 10) for size in (1000, 10_000, 100_000)],
        "classes": [(10_000, classes) for classes in (2, 10, 100, 1000)],
    }.items():
        for size, classes in settings:
            measure(curve, classes if curve == "classes" else size, on_reference(model, size, classes, bench), BATCH)
    return curves


def on_reference(model: Autoencoder, size: int, classes: int, bench: Bench) -> dict[str, Callable[[], Any]]:
    """Return calls of policies with a reference set, and of the gate, from latents to images."""
    reference = reference_of(size, classes, bench.device)
    reference.__dict__["classifier"] = None
    raw = reference.z[torch.arange(BATCH, device=bench.device) * (size // BATCH)]
    labels = reference.labels[torch.arange(BATCH, device=bench.device) * (size // BATCH)]
    images, found = torch.zeros(BATCH, *SHAPE, device=bench.device), {}
    posterior = type(model.encode(images[:1]))
    for name, gate in (("interpolate", None), ("smote", None), ("gaussian, with a gate", QualityGate())):
        augment = LatentAugment(model, name.split(",")[0], p=1.0, gate=gate)
        augment.reference = reference
        if gate is not None:
            gate.fit(reference)
        found[name] = lambda augment=augment: augment.synthesize(
            images, labels, raw=posterior(model.stats.unstandardise(raw))
        )
    return found


def draw_curves(curves: dict[str, Any], path: Path) -> None:
    """Draw one panel per curve."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(curves), figsize=(3.2 * len(curves), 3), layout="constrained")
    for panel, (curve, lines) in zip(panels, curves.items(), strict=True):
        for name, points in lines.items():
            panel.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
        panel.set(xscale="log", yscale="log", xlabel=curve)
        panel.grid(alpha=0.3, which="both", linewidth=0.4)
        panel.legend(fontsize=7)
    panels[0].set_ylabel("images per second")
    figure.savefig(path, dpi=110)


# ---------------------------------------------------------------------------- tables

ASKED = {
    "p=1 / bare, images per second": "≥ 0.95",
    "p=0.5 / bare, time": "≤ 0.6",
    "best plan with cache / bare, images per second": "≥ 2.3",
    "p=0.5 / p=1, time": "≤ 0.53",
    "batch of 1, ms over bare": "≤ 0.15",
    "batch of 1, ms over bare, with a network that computes nothing": "≤ 0.15",
    "encode_all / bare encoder, images per second": "≥ 0.97",
    "fit / bare encoder, images per second": "≥ 0.97",
    "noise of 128, microseconds per sample": "< 2",
    "step over real images / bare decode, with a cache": "≤ 1.1",
    "best plan / pythae in memory": "≥ 1.6",
    "shards / pythae to PNG": "≥ 5",
    "smote, neighbours looked up before / bare decode": "< 0.05",
    "gate, one judgement / bare decode": "< 0.05",
    "auto, compiled / bare compiled in bfloat16": "≥ 0.9",
}


def table(rows: dict[str, dict[str, Any]], ratios: dict[str, float]) -> list[str]:
    """Return the ratios, then one line per row."""
    lines = ["| | found | asked for |", "|---|---|---|"]
    lines += [f"| {name} | {value:.3g} | {ASKED.get(name, '')} |" for name, value in ratios.items()]
    lines += ["", "| | images per second | lowest to highest |", "|---|---|---|"]
    for section, found in rows.items():
        lines.append(f"| **{section}** | | |")
        lines += [
            f"| {name} | {row['images per second']:,.0f} | {row['lowest']:,.0f} to {row['highest']:,.0f} |"
            for name, row in found.items()
            if "images per second" in row
        ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="also measure the compiled network; always on CUDA")
    parser.add_argument("--only-bare", action="store_true", help="only print the bare network's images per second")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", AugmentorWarning)
    bench, began = Bench(arguments.device, arguments.rounds), time.monotonic()
    if arguments.only_bare:
        print(bare_rate(bench))
        return
    rows: dict[str, Any] = {}
    ratios: dict[str, float] = {}
    sections = {
        "transform, batches of 256": lambda: transform(bench, arguments.compile or bench.device.type == "cuda"),
        "encoding of a data set": lambda: encoding(bench),
        "policies, from latents": lambda: by_policy(bench),
        "loaders": lambda: loaders(bench),
        "training steps": lambda: training(bench),
        "other packages": lambda: peers(bench),
        "100,000 latents in the reference set": lambda: neighbours(bench),
    }
    for name, section in sections.items():
        found = section()
        rows[name], more = found if isinstance(found, tuple) else (found, {})
        ratios |= more
        print(f"{name}: after {time.monotonic() - began:.0f} s", flush=True)
    ratios["memory kept / given back, images per second, bare"] = bare_rate(bench) / bare_rate_giving_memory_back(bench)
    curves = growth(bench)
    with FlopCounterMode(display=False) as counter:
        network()(torch.rand(1, *SHAPE))
    settings = {
        "device": arguments.device, "rounds": arguments.rounds, "batch": BATCH, "images": list(SHAPE), "latent": LATENT,
        "network": f"vae(width={WIDTH})", "MFLOP an image": counter.get_total_flops() / 1e6, "seed": SEED,
        "environment": KEPT_MEMORY,
        "packages": {name: _version(name) for name in ("pythae", "kornia", "albumentations")},
    }  # fmt: skip
    name = "throughput" if arguments.device == "cpu" else f"throughput-{bench.device.type}"
    record(name, settings, {**rows, "ratios": ratios, "curves": curves})
    lines = table(rows, ratios)
    print("\n".join(lines))
    draw_table(name, lines)
    draw_curves(curves, HERE / "results" / f"{name}.png")
    print(f"{time.monotonic() - began:.0f} s")


def _version(package: str) -> str:
    try:
        return version(package)
    except ImportError:
        return "absent"


if __name__ == "__main__":
    if "--only-bare" not in sys.argv:
        keep_memory()
    main()
