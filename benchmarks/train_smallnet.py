"""Train the bundled feature extractor: ``python benchmarks/train_smallnet.py DATA_ROOT [STEPS]``.

The network is trained on the classes of five sets of images, with one head per set, and to predict from the features
of its first and last stage which corruption an image has and how strong it is. All images of a batch have one size and
come from all sets. Writes pretrained/smallnet: weights in half precision, card.json and card.md. Test images are those
that benchmarks/natural_images.py holds out, the test parts of MNIST and CIFAR-10, and a tenth of the digits.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from natural_images import HELD_OUT, SHRUNK, TRAINED_ON, photograph, resized
from torch import nn
from torchvision.io import decode_jpeg, encode_jpeg

from augmentor._internal.files import sha256_file, write_bytes, write_json
from augmentor._internal.pretrained import pretrained_folder
from augmentor._internal.weights import save_network
from augmentor.data import load_source
from augmentor.quality.smallnet import SmallNet, fitted

STEPS = 3000
BATCH = 128  # images of 32 px; fewer if larger
# Side in pixels => fraction of the batches.
SIDES = {8: 0.04, 16: 0.13, 24: 0.15, 32: 0.38, 48: 0.12, 64: 0.12, 96: 0.06}
PIECE, PIECES = 96, 200  # side and number of the pieces of a photograph
CORRUPTIONS = ("none", "blur", "noise", "jpeg")
STRONGEST_BLUR, STRONGEST_NOISE = 2.0, 0.25  # standard deviations, in pixels at 32 px a side and in grey levels
MIRRORED = ("cifar10", "clothing64", "photographs")


@dataclass(frozen=True)
class Set:
    """Images uint8 (N,C,H,W), labels (N,), fraction of a batch, and whether images may be enlarged."""

    images: torch.Tensor
    labels: torch.Tensor
    share: float
    enlarged: bool


def sets(root: str, split: str) -> dict[str, Set]:
    """Return the images to train on, or those that are held out."""
    train = split == "train"
    digits, clothes = load_source("digits"), load_source(f"{root}/clothing64/train", size=64)
    mnist, cifar = load_source(f"mnist:{root}", split=split), load_source(f"{root}/cifar10/{split}")

    def tenths(data) -> tuple[torch.Tensor, torch.Tensor]:
        rows = (torch.arange(len(data)) % 10 != 9) == train
        return data.images[rows], data.targets[rows]

    return {
        "mnist": Set(mnist.images, mnist.targets, 0.1, True),
        "digits": Set(*tenths(digits), 0.06, True),
        "cifar10": Set(cifar.images, cifar.targets, 0.46, False),
        "clothing64": Set(*tenths(clothes), 0.22, False),
        "photographs": Set(*pieces(TRAINED_ON if train else HELD_OUT), 0.16, False),
    }


def pieces(names) -> tuple[torch.Tensor, torch.Tensor]:
    """Return square pieces of photographs at several scales, and the number of the photograph of each."""
    random, found, labels = np.random.default_rng(0), [], []
    for label, image in enumerate(map(photograph, names)):
        for times in SHRUNK:
            height, width = (max(PIECE, side // times) for side in image.shape[:2])
            whole = torch.from_numpy(resized(image, height, width).copy()).permute(2, 0, 1)
            for _ in range(PIECES // times):
                top, left = random.integers(0, height - PIECE + 1), random.integers(0, width - PIECE + 1)
                found.append(whole[:, top : top + PIECE, left : left + PIECE])
                labels.append(label)
    return torch.stack(found), torch.tensor(labels)


def windows(data: Set, rows: torch.Tensor, side: int, random: np.random.Generator, mirrored: bool) -> torch.Tensor:
    """Cut the rows at one random place, resize to side x side, RGB in [0, 1]; mirror half of them if `mirrored`."""
    images = data.images[rows].float() / 255
    whole = images.shape[-1]
    cut = round(whole * random.uniform(0.75, 1))
    top, left = random.integers(0, whole - cut + 1, 2)
    images = images[..., top : top + cut, left : left + cut]
    images = F.interpolate(images, (side, side), mode="bilinear", antialias=True).clamp(0, 1)
    if mirrored:
        images[::2] = images[::2].flip(-1)
    return images.expand(-1, 3, -1, -1)


def corrupted(images: torch.Tensor, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Apply each of CORRUPTIONS to a quarter of the images; return images, kind and strength in [0, 1]."""
    kind = torch.arange(len(images)) % len(CORRUPTIONS)
    strength = torch.from_numpy(random.random(len(images))).float() * (kind > 0)
    images = images.clone()
    blurry, noisy = kind == 1, kind == 2
    sigma = strength[blurry] * STRONGEST_BLUR * max(1.0, images.shape[-1] / 32) + 0.25
    images[blurry] = blurred(images[blurry], sigma)
    noise = torch.from_numpy(random.standard_normal(images[noisy].shape, dtype=np.float32))
    level = STRONGEST_NOISE * strength[noisy] + 0.01
    images[noisy] = (images[noisy] + level[:, None, None, None] * noise).clamp(0, 1)
    for row in (kind == 3).nonzero()[:, 0].tolist():
        quality = round(85 - 80 * float(strength[row]))
        images[row] = decode_jpeg(encode_jpeg((images[row] * 255).round().byte(), quality)).float() / 255
    return images, kind, strength


def blurred(images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Blur images (B,C,H,W) with one standard deviation per image, in pixels."""
    radius = min(int(3 * float(sigma.max()) + 1), images.shape[-1] - 1)
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma[:, None]) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(images.shape[1], 0)
    x = F.pad(images, (radius,) * 4, mode="reflect").reshape(1, -1, *(n + 2 * radius for n in images.shape[-2:]))
    x = F.conv2d(x, weights[:, None, None, :], groups=len(weights))
    return F.conv2d(x, weights[:, None, :, None], groups=len(weights)).reshape(images.shape)


class Heads(nn.Module):
    """Linear layers: classes from the last stage, corruption and strength from all features."""

    def __init__(self, network: SmallNet, classes: dict[str, int]):
        super().__init__()
        self.last = network.channels[-1]
        self.classes = nn.ModuleDict({name: nn.Linear(self.last, count) for name, count in classes.items()})
        self.corruption = nn.Linear(len(network.scale), len(CORRUPTIONS) + 1)

    def losses(self, features, parts, labels, kind, strength) -> torch.Tensor:
        found = self.corruption(features)
        loss = F.cross_entropy(found[:, :-1], kind) + 4 * F.mse_loss(found[:, -1], strength)
        for name, rows in parts.items():
            logits = self.classes[name](features[rows, -self.last :])
            loss = loss + F.cross_entropy(logits, labels[rows], reduction="sum", label_smoothing=0.05) / len(labels)
        return loss


def main(root: str, steps: str = str(STEPS)) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random, begun = np.random.default_rng(0), time.process_time()
    known, count = sets(root, "train"), int(steps)
    network = SmallNet().to(memory_format=torch.channels_last)
    heads = Heads(network, {name: int(data.labels.max()) + 1 for name, data in known.items()})
    parameters = [*network.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=count, pct_start=0.2)
    for step in range(count):
        images, labels, parts = batch(known, random)
        images, kind, strength = corrupted(images, random)
        with torch.autocast("cpu", torch.bfloat16):
            features = network(fitted(images).contiguous(memory_format=torch.channels_last))
        loss = heads.losses(features.float(), parts, labels, kind, strength)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}  loss {loss.item():.3f}  {time.process_time() - begun:.0f} s", flush=True)
    seconds = time.process_time() - begun
    network.eval()
    heads.eval()
    accuracy = measured(network, heads, sets(root, "test"))
    set_scale(network, known)
    publish(network.half(), {"steps": count, "cpu_seconds": round(seconds), "held_out": accuracy})


def batch(known: dict[str, Set], random: np.random.Generator):
    """Return images of one size from all sets, their labels, and the rows of each set."""
    side = int(random.choice(list(SIDES), p=list(SIDES.values())))
    fit = {name: data for name, data in known.items() if data.enlarged or data.images.shape[-1] >= side}
    total, whole = sum(data.share for data in fit.values()), BATCH * min(1.0, (32 / side) ** 2 * 1.3)
    images, labels, parts, begin = [], [], {}, 0
    for name, data in fit.items():
        rows = torch.from_numpy(random.integers(0, len(data.labels), max(1, round(whole * data.share / total))))
        images.append(windows(data, rows, side, random, name in MIRRORED))
        labels.append(data.labels[rows])
        parts[name] = slice(begin, begin := begin + len(rows))
    order = torch.from_numpy(random.permutation(begin))  # shuffled, so that each set has all corruptions
    place = order.argsort()
    return torch.cat(images)[order], torch.cat(labels)[order], {name: place[part] for name, part in parts.items()}


@torch.no_grad()
def measured(network: SmallNet, heads: Heads, held_out: dict[str, Set]) -> dict[str, float]:
    """Return the accuracy of each head in % on held-out images of up to 64 pixels; classes without corruption."""
    random, found, kinds, right = np.random.default_rng(1), {}, [], []
    for name, data in held_out.items():
        rows = torch.linspace(0, len(data.labels) - 1, min(len(data.labels), 2000)).long()
        side = min(64, data.images.shape[-1])
        images = F.interpolate(data.images[rows].float() / 255, (side, side), mode="bilinear", antialias=True)
        images = images.clamp(0, 1).expand(-1, 3, -1, -1)
        if name != "photographs":  # the held-out photographs are other classes
            logits = heads.classes[name](features_of(network, images)[:, -heads.last :])
            found[name] = percent(logits.argmax(1) == data.labels[rows])
        images, kind, _ = corrupted(images, random)
        right.append(heads.corruption(features_of(network, images))[:, :-1].argmax(1) == kind)
        kinds.append(kind)
    return {**found, "corruption": percent(torch.cat(right))}


def percent(right: torch.Tensor) -> float:
    return round(100 * float(right.float().mean()), 1)


def features_of(network: SmallNet, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([network(fitted(part)) for part in images.split(200)])


@torch.no_grad()
def set_scale(network: SmallNet, known: dict[str, Set]) -> None:
    """Scale features to a standard deviation of 1, on average over the sets."""
    deviations = []
    for data in known.values():
        rows = torch.linspace(0, len(data.labels) - 1, 500).long()
        images = (data.images[rows].float() / 255).expand(-1, 3, -1, -1)
        deviations.append(features_of(network, images).std(0))
    network.scale.copy_(1 / torch.stack(deviations).square().mean(0).sqrt().clamp_min(1e-2))


def publish(network: SmallNet, found: dict[str, object]) -> None:
    folder = pretrained_folder() / SmallNet.name
    folder.mkdir(exist_ok=True)
    path = folder / "model.safetensors"
    save_network(network, path)
    entry = {**found, "features": len(network.scale), "bytes": path.stat().st_size, "sha256": sha256_file(path)}
    write_json(folder / "card.json", entry)
    write_bytes(folder / "card.md", card(entry).encode())
    print(entry)


def card(entry: dict[str, Any]) -> str:
    licences = "; ".join(f"{name}: {licence}" for name, licence in TRAINED_ON.items())
    accuracy = ", ".join(f"{name} {percent} %" for name, percent in entry["held_out"].items())
    return f"""# smallnet: features of grey and RGB images, tested with 8 to 128 pixels per side

| | |
|---|---|
| network | residual, three stages; the {entry["features"]} features are channel means of the first and the last stage |
| data | MNIST (60,000 training digits), nine tenths of scikit-learn's digits and of clothing64 (A. Grigorev, \
clothing-dataset-small), CIFAR-10 (15,000 training images), pieces of ten photographs of scikit-image; \
at 8 to 96 pixels per side |
| licence | CC BY-SA 3.0 (MNIST), CC BY 4.0 (digits), 'can be freely used for any purpose' (clothing), none stated \
(CIFAR-10); {licences}; Apache-2.0 (weights) |
| targets | the classes of each set; the corruption of an image ({", ".join(CORRUPTIONS)}) and its strength |
| trained by | `python benchmarks/train_smallnet.py ROOT`, {entry["steps"]} steps, seed 0, {entry["cpu_seconds"]} s \
of one core |
| accuracy on held-out images | {accuracy} (four kinds) |
| size | {entry["bytes"]} bytes, sha256 `{entry["sha256"]}` |
"""


if __name__ == "__main__":
    main(*sys.argv[1:])
